// SPDX-License-Identifier: Apache-2.0

package unconfirmed

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
	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// Replacing returns the ops that replace one stored list by another. They depend
// on what is stored, as another process may have confirmed some of it.
func Replacing(old, next List, k seal.Key) (ops []kv.Op) {
	for _, u := range old {
		if v, ok := next.Find(u.Rev); ok && u == v {
			continue
		}
		ops = append(ops, kv.Must(stored.RevKey(stored.ConfirmKeys, u.Rev), u.Raw))
		for i := range u.Chunks {
			ops = append(ops, kv.Del(confirmKey(u.Rev, i)))
		}
	}
	for _, v := range next {
		if u, ok := old.Find(v.Rev); ok && u == v {
			continue
		}
		body := v.encode(k)
		v.Chunks = 1 + len(body)/stored.MaxPart
		for i := range v.Chunks {
			n := min(len(body), stored.MaxPart)
			value := body[:n:n]
			if body = body[n:]; i == 0 {
				value = append(v.head(), value...)
				v.Raw = value
			}
			ops = append(ops, kv.Put(confirmKey(v.Rev, i), value))
		}
	}
	return ops
}

func confirmKey(rev item.Rev, chunk int) []byte {
	k := stored.RevKey(stored.ConfirmKeys, rev)
	if chunk == 0 {
		return k
	}
	return binary.BigEndian.AppendUint32(k, uint32(chunk))
}

// The flags of a part as stored.
const (
	partNeeded = 1
	partWas    = 2
)

// Load reads the list that is stored in db. An earlier version stored only the
// deadline of a revision; guess then fills in the rest.
func Load(ctx context.Context, db kv.DB, k seal.Key, guess func(*Revision) error) (out List, err error) {
	var bodies [][]byte
	for pair, err := range db.Scan(ctx, []byte{stored.ConfirmKeys}) {
		if err != nil {
			return nil, err
		}
		rev, err := stored.KeyRev(pair.Key[:min(9, len(pair.Key))])
		last := len(out) - 1
		switch {
		case err != nil:
			return nil, err
		case last >= 0 && out[last].Rev == rev:
			bodies[last] = append(bodies[last], pair.Value...)
		default:
			out = append(out, &Revision{Rev: rev, Raw: slices.Clone(pair.Value)})
			bodies = append(bodies, slices.Clone(pair.Value))
		}
		out[len(out)-1].Chunks++
	}
	for i, u := range out {
		r := stored.NewReader(bodies[i], k)
		u.Until = time.Unix(0, r.Int())
		if len(r.Rest()) == 0 && r.Err() == nil {
			err = guess(u)
		} else if _, chunks := r.Num(), r.Num(); int(chunks) != u.Chunks {
			r.Bad()
			err = r.End()
		} else {
			err = u.decode(&r)
		}
		if err != nil {
			return nil, fmt.Errorf("what is not confirmed of revision %d: %w", u.Rev, err)
		}
	}
	return out, nil
}

// head begins the first chunk. A number tells two records with one deadline apart.
func (u *Revision) head() []byte {
	b := binary.AppendVarint(nil, u.Until.UnixNano())
	b = binary.AppendUvarint(b, rand.Uint64())
	return binary.AppendUvarint(b, uint64(u.Chunks))
}

func (u *Revision) encode(k seal.Key) []byte {
	b := binary.AppendUvarint(nil, uint64(len(u.Parts)))
	for _, p := range u.Parts {
		b = record.AppendText(b, string(p.Path))
		b = binary.AppendUvarint(b, uint64(p.ID))
		b = record.AppendText(b, p.Name)
		var flags byte
		if p.Need {
			flags |= partNeeded
		}
		if p.Was != nil {
			flags |= partWas
		}
		b = binary.AppendVarint(append(b, flags), p.Time)
		if p.Was != nil {
			b = stored.AppendSealed(b, *p.Was, k)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(u.Moves)))
	for _, m := range u.Moves {
		b = record.AppendText(record.AppendText(b, string(m.From)), string(m.To))
	}
	b = binary.AppendUvarint(b, uint64(len(u.TakenOver)))
	for _, p := range u.TakenOver {
		b = record.AppendText(b, string(p.Path))
		b = binary.AppendUvarint(b, uint64(p.ID))
		b = binary.AppendUvarint(b, uint64(p.By))
	}
	return b
}

// decode reads what encode returned.
func (u *Revision) decode(r *stored.Reader) error {
	u.Parts = map[PartName]Part{}
	for range r.Count() {
		p := Part{Path: key.Path(r.Text()), ID: item.ID(r.Num32()), Name: r.Text()}
		flags := r.Byte()
		p.Need, p.Time = flags&partNeeded != 0, r.Int()
		if flags&partWas != 0 {
			was := r.Property()
			p.Was = &was
		}
		if r.Err() != nil || p.Path.CheckStored() != nil {
			r.Bad()
			break
		}
		u.Parts[p.PartName()] = p
	}
	for range r.Count() {
		u.Moves = append(u.Moves, tree.Move{From: key.Path(r.Text()), To: key.Path(r.Text())})
	}
	for range r.Count() {
		u.TakenOver = append(u.TakenOver, TakenOver{key.Path(r.Text()), item.ID(r.Num32()), item.Rev(r.Num())})
	}
	return r.End()
}

// Same reports whether both are stored alike.
func (u *Revision) Same(v *Revision) bool {
	return u.Rev == v.Rev && u.Until.Equal(v.Until) && maps.EqualFunc(u.Parts, v.Parts, Part.same) &&
		slices.Equal(u.Moves, v.Moves) && slices.Equal(u.TakenOver, v.TakenOver)
}
