// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"encoding/binary"
	"time"

	"restante/internal/kv"
	"restante/internal/record"
	"restante/internal/seal"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// A Record is the history of one revision.
type Record struct {
	Rev     Rev
	Time    time.Time
	Actor   Principal
	Origin  Origin
	Comment string
	Reverts Rev       // the revision that this one reverts, or 0
	Until   time.Time // the deadline of its confirmation; zero: none
	Kept    []string  // changes of Reverts that could not be reverted: "path: property: why", or "path: other path: property: why"
	Changes []DiffLine
}

// ChangeKind says what happened to a key.
type ChangeKind string

// The kinds of changes.
const (
	KeyAdded      ChangeKind = "key added"
	KeyRemoved    ChangeKind = "key removed"
	KeyMoved      ChangeKind = "key moved"   // in addition to the keys added and removed
	KeyRenamed    ChangeKind = "key renamed" // another spelling of the same name
	PropertySet   ChangeKind = "property set"
	PropertyUnset ChangeKind = "property unset"
)

// A DiffLine is one line of a difference. A secure property has no value in it.
type DiffLine struct {
	Path     Path
	Kind     ChangeKind
	ID       ID        // of a property
	Old, New *Property // nil if there was none, or is none now
	To       Path      // of a key moved or renamed
}

// writes returns the ops that a plan makes of the keys.
func (s *Store) writes(p *plan) (ops []kv.Op) {
	for _, d := range p.deltas {
		if d.Removed {
			ops = append(ops, kv.Del(stored.NodeKey(d.Path)))
		} else {
			ops = append(ops, kv.Put(stored.NodeKey(d.Path), stored.AppendNode(make([]byte, 0, roomy), d.Node, s.key)))
		}
	}
	return ops
}

// record encodes the history of a plan.
func (s *Store) record(p *plan, r *request) []byte {
	h := entry{
		Record: Record{
			Rev: p.next.rev, Time: p.next.time, Actor: r.batch.Actor, Origin: r.batch.Origin,
			Comment: r.batch.Comment, Reverts: r.reverts, Until: r.deadline(p.next.time), Kept: r.kept,
		},
		moves: p.edit.moves, deltas: p.deltas,
	}
	return h.encode(s.key)
}

// roomy holds most records without growing.
const roomy = 256

// An entry is a record as stored.
type entry struct {
	Record // Changes are empty
	moves  []move
	deltas []tree.KeyDelta
}

func (h *entry) encode(k seal.Key) []byte {
	b := append(make([]byte, 0, roomy), stored.EntryForm)
	b = binary.AppendUvarint(b, uint64(h.Rev))
	b = binary.AppendVarint(b, h.Time.UnixNano())
	b = record.AppendText(b, string(h.Actor))
	b = record.AppendText(b, string(h.Origin))
	b = record.AppendText(b, h.Comment)
	b = binary.AppendUvarint(b, uint64(h.Reverts))
	until := int64(0)
	if !h.Until.IsZero() {
		until = h.Until.UnixNano()
	}
	b = binary.AppendVarint(b, until)
	b = binary.AppendUvarint(b, uint64(len(h.Kept)))
	for _, line := range h.Kept {
		b = record.AppendText(b, line)
	}
	b = binary.AppendUvarint(b, uint64(len(h.moves)))
	for _, m := range h.moves {
		b = record.AppendText(record.AppendText(b, string(m.from)), string(m.to))
	}
	b = binary.AppendUvarint(b, uint64(len(h.deltas)))
	for _, d := range h.deltas {
		b = stored.AppendDelta(b, d, k)
	}
	return b
}

func decodeEntry(raw []byte, k seal.Key) (*entry, error) {
	r := stored.NewReader(raw, k)
	r.Form(stored.EntryForm)
	h := &entry{}
	h.Rev, h.Time = Rev(r.Num()), time.Unix(0, r.Int()).UTC()
	h.Actor, h.Origin, h.Comment = Principal(r.Text()), Origin(r.Text()), r.Text()
	h.Reverts = Rev(r.Num())
	if until := r.Int(); until != 0 {
		h.Until = time.Unix(0, until).UTC()
	}
	for range r.Count() {
		h.Kept = append(h.Kept, r.Text())
	}
	for range r.Count() {
		h.moves = append(h.moves, move{Path(r.Text()), Path(r.Text())})
	}
	for range r.Count() {
		h.deltas = append(h.deltas, r.Delta())
		if r.Err() != nil {
			break
		}
	}
	return h, r.End()
}

// entry reads revision rev. The error is NotFound if there is no such revision, or
// it was dropped.
func (s *Store) entry(ctx context.Context, rev Rev) (*entry, error) {
	var at historyReader
	return at.entry(ctx, s, rev)
}

// below returns the record with the changes at and below p.
func (h *entry) below(p Path) Record {
	out := h.Record
	for _, m := range h.moves {
		if m.from.Within(p) || m.to.Within(p) {
			out.Changes = append(out.Changes, DiffLine{Path: m.from, Kind: KeyMoved, To: m.to})
		}
	}
	for _, d := range h.deltas {
		if d.Path.Within(p) {
			out.Changes = appendLines(out.Changes, d)
		}
	}
	return out
}

// appendLines appends the changes of d.
func appendLines(out []DiffLine, d tree.KeyDelta) []DiffLine {
	switch {
	case d.Added:
		out = append(out, DiffLine{Path: d.Path, Kind: KeyAdded})
	case d.Removed:
		out = append(out, DiffLine{Path: d.Path, Kind: KeyRemoved})
	case d.OldName != d.NewName:
		out = append(out, DiffLine{Path: d.Path.Parent().Join(d.OldName), Kind: KeyRenamed, To: d.Path})
	}
	for _, p := range d.Props {
		if p.Quiet() {
			continue
		}
		c := DiffLine{Path: d.Path, Kind: PropertySet, ID: p.ID, Old: shown(p.Old), New: shown(p.New)}
		if p.New == nil {
			c.Kind = PropertyUnset
		}
		out = append(out, c)
	}
	return out
}

func shown(p *Property) *Property {
	if p == nil {
		return nil
	}
	out := p.Redacted()
	return &out
}

// compare lists the changes that lead from one state to another, without secure
// values and volatile properties.
func compare(from, to Snapshot) []DiffLine {
	var a, b *tree.Node
	if from.img != nil {
		a = from.img.root
	}
	if to.img != nil {
		b = to.img.root
	}
	var out []DiffLine
	for _, d := range tree.Diff(a, b) {
		out = appendLines(out, d)
	}
	return out
}

// Log lists the newest n revisions with changes at or below p, the newest first,
// with those changes; 0 means all. For the root it includes revisions without
// changes.
func (s *Store) Log(ctx context.Context, p Path, n int) ([]Record, error) {
	var out []Record
	var at historyReader
	first := s.pages.oldest()
	for rev := s.Snapshot().Rev(); rev >= first && rev > 0 && (n == 0 || len(out) < n); rev-- {
		h, err := at.entry(ctx, s, rev)
		if key.KindOf(err) == NotFound {
			break // compacted meanwhile
		}
		if key.KindOf(err) == Damaged {
			h, err = &entry{Record: Record{Rev: rev, Comment: err.Error()}}, nil
		}
		if err != nil {
			return out, err
		}
		if r := h.below(p); len(r.Changes) > 0 || p == Root {
			out = append(out, r)
		}
	}
	return out, nil
}

// Record returns the record of revision rev. With the Rev of a Property it tells
// where the value comes from. Of a revision whose page was dropped the changes
// are gone, and the rest stays as long as a property that it stored is in place.
// After that the error is NotFound.
func (s *Store) Record(ctx context.Context, rev Rev) (Record, error) {
	h, err := s.entry(ctx, rev)
	if key.KindOf(err) == NotFound {
		if head, ok, err := s.head(rev); ok || err != nil {
			return head, err
		}
	}
	if err != nil {
		return Record{}, err
	}
	return h.below(Root), nil
}

// Oldest is the earliest revision that At can go back to.
func (s *Store) Oldest() Rev { return s.pages.oldest() - 1 }

// At returns the state at revision rev, without volatile properties. The cost
// grows with the number of revisions since. The error is NotFound if the history
// does not reach back so far.
func (s *Store) At(ctx context.Context, rev Rev) (Snapshot, error) {
	now := s.Snapshot()
	img := *now.img
	img.vol = nil
	if rev > img.rev {
		_, err := s.entry(ctx, rev)
		return Snapshot{}, err
	}
	var at historyReader
	for img.rev > rev {
		h, err := at.entry(ctx, s, img.rev)
		if err != nil {
			return Snapshot{}, err
		}
		img.root = tree.Undo(img.root, h.deltas)
		img.rev--
	}
	if rev < now.Rev() {
		img.time = time.Time{}
		if h, err := at.entry(ctx, s, rev); err == nil {
			img.time = h.Time
		} else if key.KindOf(err) != NotFound {
			return Snapshot{}, err
		}
	}
	return Snapshot{&img}, nil
}

// Diff lists the changes from one revision to another; 0 is the empty tree.
func (s *Store) Diff(ctx context.Context, from, to Rev) ([]DiffLine, error) {
	a, err := s.At(ctx, from)
	if err != nil {
		return nil, err
	}
	b, err := s.At(ctx, to)
	if err != nil {
		return nil, err
	}
	return compare(a, b), nil
}
