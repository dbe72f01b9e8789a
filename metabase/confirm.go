// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"cmp"
	"context"
	"slices"
	"time"

	"restante/metabase/internal/tree"
	"restante/metabase/internal/unconfirmed"
	"restante/metabase/item"
	"restante/metabase/key"
)

// A Pending is a revision that is taken back unless it is confirmed in time.
type Pending struct {
	Rev   Rev
	Until time.Time
}

// A PendingPart is a key, or with ID its property, that a revision changed which is
// not confirmed.
type PendingPart struct {
	Pending
	Path Path
	ID   ID
}

// PendingParts lists what of the state may yet be taken back, by path. A part that
// several revisions changed is listed with each.
func (s Snapshot) PendingParts() (out []PendingPart) {
	if s.img == nil {
		return nil
	}
	for _, u := range s.img.unconfirmed {
		of := Pending{u.Rev, u.Until.UTC().Round(0)} // as it reads again
		for _, p := range u.Parts {
			if p.Open() {
				out = append(out, PendingPart{of, p.Path, p.ID})
			}
		}
		for _, m := range u.Moves {
			out = append(out, PendingPart{of, m.To, 0})
		}
	}
	slices.SortFunc(out, func(a, b PendingPart) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Rev, b.Rev))
	})
	return out
}

// Waits reports whether a property, or with 0 the key, may yet be taken back.
func (s Snapshot) Waits(p Path, id ID) bool { return s.img != nil && s.img.unconfirmed.Rewrites(p, id) }

// Pending lists the revisions that may yet be taken back or confirmed, the newest
// first. One whose parts later revisions have all taken over is not among them.
func (s *Store) Pending() []Pending { return s.pending((*unconfirmed.Revision).Waits) }

// timed lists the revisions with a deadline to come, the newest first.
func (s *Store) timed() []Pending {
	return s.pending(func(*unconfirmed.Revision) bool { return true })
}

func (s *Store) pending(of func(*unconfirmed.Revision) bool) []Pending {
	list := s.cur.Load().unconfirmed
	out := make([]Pending, 0, len(list))
	for _, u := range slices.Backward(list) {
		if of(u) {
			out = append(out, Pending{u.Rev, u.Until})
		}
	}
	return out
}

// Confirm keeps the changes of revision rev; 0 is the newest of Pending. When it
// returns nil, that is on stable storage. The error is NotFound if the revision was
// confirmed or taken back already, or if later ones have taken over all its parts.
func (s *Store) Confirm(ctx context.Context, rev Rev) (Rev, error) {
	if err := ctx.Err(); err != nil {
		return 0, &Error{Op: "confirm", Err: context.Cause(ctx)}
	}
	p := &pending{op: "confirm"}
	p.validate = func(tip *image) error {
		u, err := tip.unconfirmed.ToConfirm(rev)
		if err != nil {
			return &Error{Op: "confirm", Kind: NotFound, Err: err}
		}
		p.rev, p.img = u.Rev, tip.with(tip.unconfirmed.Confirm(u))
		return nil
	}
	if err := s.do(ctx, p); err != nil {
		return 0, err
	}
	return p.rev, nil
}

// A withdrawal takes back a revision that is not confirmed.
type withdrawal struct {
	ops  []Op
	left unconfirmed.List
	kept []Problem
}

func (w withdrawal) ends(unconfirmed.List) unconfirmed.List { return w.left }

// A choice says which parts of a revision are meant.
type choice func(p Path, id ID) bool

func within(below Path) choice { return func(p Path, _ ID) bool { return p.Within(below) } }

// withdraw works out how the parts of u that are meant are taken back.
func (img *image) withdraw(u *unconfirmed.Revision, meant choice) (w withdrawal) {
	taken, rest := *u, *u
	taken.Parts, taken.TakenOver, taken.Moves = map[unconfirmed.PartName]unconfirmed.Part{}, nil, nil
	rest.Raw, rest.Chunks, rest.Parts, rest.TakenOver, rest.Moves = nil, 0, map[unconfirmed.PartName]unconfirmed.Part{}, nil, nil
	side := func(p Path, id ID) *unconfirmed.Revision {
		if meant(p, id) {
			return &taken
		}
		return &rest
	}
	for n, p := range u.Parts {
		side(p.Path, p.ID).Parts[n] = p
	}
	for _, k := range u.TakenOver {
		at := side(k.Path, k.ID)
		at.TakenOver = append(at.TakenOver, k)
	}
	for _, m := range u.Moves {
		at := side(m.From, 0)
		if at.Moves = append(at.Moves, m); at != side(m.To, 0) {
			w.kept = append(w.kept, Problem{Path: m.From, Other: m.To, Err: key.Errorf(Conflict,
				"was moved to %s, which is taken back as a whole only: revert from a key above both", m.To)})
		}
	}
	list, own, later := img.unconfirmed.PassOn(&taken)
	w.kept = append(w.kept, unconfirmed.KeptTexts(&taken, later)...)
	if w.left = list.Drop(u.Rev); !rest.Empty() {
		w.left = list.Edit(func(v *unconfirmed.Revision) bool {
			if v.Rev == rest.Rev {
				*v = rest
			}
			return v.Rev == rest.Rev
		})
	}
	for _, m := range slices.Backward(taken.Moves) {
		w.left = w.left.Moved(tree.Move{From: m.To, To: m.From})
	}
	w.undo(img.root, own, taken.Moves)
	return w
}

// undo adds the ops that put parts, which are sorted by path, and moves back.
func (w *withdrawal) undo(root *tree.Node, parts []unconfirmed.Part, moves []tree.Move) {
	gone := map[*tree.Node]bool{}
	var last []Op // removals of keys that hold what moves back
	for _, p := range slices.Backward(parts) {
		n := root.Lookup(p.Path)
		if p.ID != 0 || p.Name != "" || n == nil {
			continue
		}
		if !removable(p, n, parts, moves, gone) {
			w.kept = append(w.kept, Problem{Path: p.Path, Err: key.Errorf(Conflict, "cannot be removed again: something in it is newer")})
			continue
		}
		gone[n] = true
		if slices.ContainsFunc(moves, func(m tree.Move) bool { return m.To.Within(p.Path) }) {
			last = append(last, Remove{Path: p.Path})
		} else {
			w.ops = append(w.ops, Remove{Path: p.Path})
		}
	}
	for _, p := range parts {
		n := root.Lookup(p.Path)
		switch {
		case p.ID != 0 && !gone[n]:
			w.put(p, n)
		case p.ID != 0 || p.Name == "":
		case n == nil:
			w.ops = append(w.ops, putBack{AddKey{Path: p.Path.Parent().Join(p.Name)}})
		case n.Spelling != p.Name:
			w.ops = append(w.ops, Move{From: p.Path, To: p.Path.Parent().Join(p.Name)})
		}
	}
	for _, p := range parts {
		if n := root.Lookup(p.Path); p.Time != 0 && n != nil && !gone[n] {
			w.ops = append(w.ops, Touch{Path: p.Path, Time: time.Unix(0, p.Time)})
		}
	}
	for _, m := range slices.Backward(moves) {
		w.ops = append(w.ops, Move{From: m.To, To: m.From})
	}
	w.ops = append(w.ops, last...)
}

// put adds the ops that put a property back at n, which may be nil.
func (w *withdrawal) put(p unconfirmed.Part, n *tree.Node) {
	var now *Property
	if n != nil {
		now = n.Items.Find(p.ID)
	}
	if !item.SamePointed(now, p.Was) {
		w.ops = restore(w.ops, p.Path, tree.PropertyDelta{ID: p.ID, Old: p.Was, New: now})
	}
}

// removable reports whether nothing is left in n, the key of p, but its class once
// parts and moves are put back. The keys below it that go are in gone.
func removable(p unconfirmed.Part, n *tree.Node, parts []unconfirmed.Part, moves []tree.Move, gone map[*tree.Node]bool) bool {
	for _, prop := range n.Items.All() {
		if prop.ID != KeyType && !slices.ContainsFunc(parts, func(q unconfirmed.Part) bool {
			return q.ID == prop.ID && q.Was == nil && q.Path.Equal(p.Path)
		}) {
			return false
		}
	}
	for k := range n.Kids.All {
		at := p.Path.Join(k.Spelling)
		if !gone[k] && !slices.ContainsFunc(moves, func(m tree.Move) bool { return m.To.Equal(at) }) {
			return false
		}
	}
	return true
}

// loadUnconfirmed reads the revisions that are not confirmed.
func (s *Store) loadUnconfirmed(ctx context.Context) (unconfirmed.List, error) {
	return unconfirmed.Load(ctx, s.db, s.key, func(u *unconfirmed.Revision) error { return s.guess(ctx, u) })
}

// guess fills in u, which an earlier version has stored: that had only the deadline.
// It takes what the revision changed and still stands.
func (s *Store) guess(ctx context.Context, u *unconfirmed.Revision) error {
	h, err := s.entry(ctx, u.Rev)
	if err != nil {
		return err
	}
	a := await{parts: map[unconfirmed.PartName]unconfirmed.Part{}}
	a.write(h.Deltas, &edit{})
	u.Parts = a.parts
	root := s.cur.Load().root
	for _, d := range h.Deltas {
		for _, p := range d.Props {
			now := unconfirmed.Part{Path: d.Path, ID: p.ID}.In(root).Was
			if n := (unconfirmed.Part{Path: d.Path, ID: p.ID}).PartName(); !item.SamePointed(now, p.New) || now != nil && now.Rev != u.Rev {
				if now != nil && u.Parts[n].Path != "" {
					u.TakenOver = append(u.TakenOver, unconfirmed.TakenOver{Path: d.Path, ID: p.ID, By: now.Rev})
				}
				delete(u.Parts, n)
			}
		}
	}
	return nil
}
