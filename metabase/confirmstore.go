// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"restante/internal/kv"
	"restante/internal/record"
	"restante/internal/seal"
	"restante/metabase/internal/stored"
)

// unconfirmedOps returns the ops that replace one stored list by another. They depend
// on what is stored, as another process may have confirmed some of it.
func (s *Store) unconfirmedOps(old, next unconfirmedList) (ops []kv.Op) {
	for _, u := range old {
		if v, ok := next.find(u.rev); ok && u == v {
			continue
		}
		ops = append(ops, kv.Must(stored.RevKey(stored.ConfirmKeys, u.rev), u.raw))
		for i := range u.chunks {
			ops = append(ops, kv.Del(confirmKey(u.rev, i)))
		}
	}
	for _, v := range next {
		if u, ok := old.find(v.rev); ok && u == v {
			continue
		}
		body := v.encode(s.key)
		v.chunks = 1 + len(body)/stored.MaxPart
		for i := range v.chunks {
			n := min(len(body), stored.MaxPart)
			value := body[:n:n]
			if body = body[n:]; i == 0 {
				value = append(v.head(), value...)
				v.raw = value
			}
			ops = append(ops, kv.Put(confirmKey(v.rev, i), value))
		}
	}
	return ops
}

func confirmKey(rev Rev, chunk int) []byte {
	k := stored.RevKey(stored.ConfirmKeys, rev)
	if chunk == 0 {
		return k
	}
	return binary.BigEndian.AppendUint32(k, uint32(chunk))
}

// head begins the first chunk. A number tells two records with one deadline apart.
func (u *unconfirmed) head() []byte {
	b := binary.AppendVarint(nil, u.until.UnixNano())
	b = binary.AppendUvarint(b, rand.Uint64())
	return binary.AppendUvarint(b, uint64(u.chunks))
}

func (u *unconfirmed) encode(k seal.Key) []byte {
	b := binary.AppendUvarint(nil, uint64(len(u.parts)))
	for _, p := range u.parts {
		b = record.AppendText(b, string(p.path))
		b = binary.AppendUvarint(b, uint64(p.id))
		b = record.AppendText(b, p.name)
		var flags byte
		if p.need {
			flags |= partNeeded
		}
		if p.was != nil {
			flags |= partWas
		}
		b = binary.AppendVarint(append(b, flags), p.time)
		if p.was != nil {
			b = stored.AppendSealed(b, *p.was, k)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(u.moves)))
	for _, m := range u.moves {
		b = record.AppendText(record.AppendText(b, string(m.from)), string(m.to))
	}
	b = binary.AppendUvarint(b, uint64(len(u.kept)))
	for _, p := range u.kept {
		b = record.AppendText(b, string(p.path))
		b = binary.AppendUvarint(b, uint64(p.id))
		b = binary.AppendUvarint(b, uint64(p.by))
	}
	return b
}

// The flags of a part as stored.
const (
	partNeeded = 1
	partWas    = 2
)

// decode reads what encode returned.
func (u *unconfirmed) decode(r *stored.Reader) error {
	u.parts = map[partName]part{}
	for range r.Count() {
		p := part{path: Path(r.Text()), id: ID(r.Num32()), name: r.Text()}
		flags := r.Byte()
		p.need, p.time = flags&partNeeded != 0, r.Int()
		if flags&partWas != 0 {
			was := r.Property()
			p.was = &was
		}
		if r.Err() != nil || p.path.CheckStored() != nil {
			r.Bad()
			break
		}
		u.parts[p.partName()] = p
	}
	for range r.Count() {
		u.moves = append(u.moves, move{Path(r.Text()), Path(r.Text())})
	}
	for range r.Count() {
		u.kept = append(u.kept, settledPart{Path(r.Text()), ID(r.Num32()), Rev(r.Num())})
	}
	return r.End()
}

// same reports whether both are stored alike.
func (u *unconfirmed) same(v *unconfirmed) bool {
	return u.rev == v.rev && u.until.Equal(v.until) && maps.EqualFunc(u.parts, v.parts, part.same) &&
		slices.Equal(u.moves, v.moves) && slices.Equal(u.kept, v.kept)
}

// loadUnconfirmed reads the revisions that are not confirmed.
func (s *Store) loadUnconfirmed(ctx context.Context) (out unconfirmedList, err error) {
	var bodies [][]byte
	for pair, err := range s.db.Scan(ctx, []byte{stored.ConfirmKeys}) {
		if err != nil {
			return nil, err
		}
		rev, err := stored.KeyRev(pair.Key[:min(9, len(pair.Key))])
		last := len(out) - 1
		switch {
		case err != nil:
			return nil, err
		case last >= 0 && out[last].rev == rev:
			bodies[last] = append(bodies[last], pair.Value...)
		default:
			out = append(out, &unconfirmed{rev: rev, raw: slices.Clone(pair.Value)})
			bodies = append(bodies, slices.Clone(pair.Value))
		}
		out[len(out)-1].chunks++
	}
	for i, u := range out {
		r := stored.NewReader(bodies[i], s.key)
		u.until = time.Unix(0, r.Int())
		if len(r.Rest()) == 0 && r.Err() == nil {
			err = s.guess(ctx, u)
		} else if _, chunks := r.Num(), r.Num(); int(chunks) != u.chunks {
			r.Bad()
			err = r.End()
		} else {
			err = u.decode(&r)
		}
		if err != nil {
			return nil, fmt.Errorf("what is not confirmed of revision %d: %w", u.rev, err)
		}
	}
	return out, nil
}

// guess fills in u, which an earlier version has stored: that had only the deadline.
// It takes what the revision changed and still stands.
func (s *Store) guess(ctx context.Context, u *unconfirmed) error {
	h, err := s.entry(ctx, u.rev)
	if err != nil {
		return err
	}
	a := await{parts: map[partName]part{}}
	a.write(h.deltas, &edit{})
	u.parts = a.parts
	root := s.cur.Load().root
	for _, d := range h.deltas {
		for _, p := range d.Props {
			now := part{path: d.Path, id: p.ID}.in(root).was
			if n := (part{path: d.Path, id: p.ID}).partName(); !samePointed(now, p.New) || now != nil && now.Rev != u.rev {
				if now != nil && u.parts[n].path != "" {
					u.kept = append(u.kept, settledPart{d.Path, p.ID, now.Rev})
				}
				delete(u.parts, n)
			}
		}
	}
	return nil
}
