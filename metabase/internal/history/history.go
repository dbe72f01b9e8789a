// SPDX-License-Identifier: Apache-2.0

// Package history defines the records of revisions: what each changed, and
// their form as stored.
package history

import (
	"encoding/binary"
	"slices"
	"time"

	"restante/internal/record"
	"restante/internal/seal"
	"restante/metabase/acl"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// Origin says by which way a batch came in.
type Origin string

// ChangesLists reports whether the revision changed an access list.
func (r Record) ChangesLists() bool {
	return slices.ContainsFunc(r.Changes, func(l DiffLine) bool { return l.ID == item.AccessList })
}

// A Record is the history of one revision.
type Record struct {
	Rev     item.Rev
	Time    time.Time
	Actor   acl.Principal
	Origin  Origin
	Comment string
	Reverts item.Rev  // the revision that this one reverts, or 0
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
	Path     key.Path
	Kind     ChangeKind
	ID       item.ID        // of a property
	Old, New *item.Property // nil if there was none, or is none now
	To       key.Path       // of a key moved or renamed
}

// Roomy holds most records without growing.
const Roomy = 256

// An Entry is a record as stored.
type Entry struct {
	Record // Changes are empty
	Moves  []tree.Move
	Deltas []tree.KeyDelta
}

// Encode returns the form of h as stored; Decode reads it.
func (h *Entry) Encode(k seal.Key) []byte {
	b := append(make([]byte, 0, Roomy), stored.EntryForm)
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
	b = binary.AppendUvarint(b, uint64(len(h.Moves)))
	for _, m := range h.Moves {
		b = record.AppendText(record.AppendText(b, string(m.From)), string(m.To))
	}
	b = binary.AppendUvarint(b, uint64(len(h.Deltas)))
	for _, d := range h.Deltas {
		b = stored.AppendDelta(b, d, k)
	}
	return b
}

// Decode reads what Encode returned.
func Decode(raw []byte, k seal.Key) (*Entry, error) {
	r := stored.NewReader(raw, k)
	r.Form(stored.EntryForm)
	h := &Entry{}
	h.Rev, h.Time = item.Rev(r.Num()), time.Unix(0, r.Int()).UTC()
	h.Actor, h.Origin, h.Comment = acl.Principal(r.Text()), Origin(r.Text()), r.Text()
	h.Reverts = item.Rev(r.Num())
	if until := r.Int(); until != 0 {
		h.Until = time.Unix(0, until).UTC()
	}
	for range r.Count() {
		h.Kept = append(h.Kept, r.Text())
	}
	for range r.Count() {
		h.Moves = append(h.Moves, tree.Move{From: key.Path(r.Text()), To: key.Path(r.Text())})
	}
	for range r.Count() {
		h.Deltas = append(h.Deltas, r.Delta())
		if r.Err() != nil {
			break
		}
	}
	return h, r.End()
}

// Below returns the record with the changes at and below p.
func (h *Entry) Below(p key.Path) Record {
	out := h.Record
	for _, m := range h.Moves {
		if m.From.Within(p) || m.To.Within(p) {
			out.Changes = append(out.Changes, DiffLine{Path: m.From, Kind: KeyMoved, To: m.To})
		}
	}
	for _, d := range h.Deltas {
		if d.Path.Within(p) {
			out.Changes = AppendLines(out.Changes, d)
		}
	}
	return out
}

// AppendLines appends the changes of d.
func AppendLines(out []DiffLine, d tree.KeyDelta) []DiffLine {
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

func shown(p *item.Property) *item.Property {
	if p == nil {
		return nil
	}
	out := p.Redacted()
	return &out
}
