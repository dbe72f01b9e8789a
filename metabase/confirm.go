// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"restante/metabase/internal/tree"
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
		of := Pending{u.rev, u.until.UTC().Round(0)} // as it reads again
		for _, p := range u.parts {
			if p.open() {
				out = append(out, PendingPart{of, p.path, p.id})
			}
		}
		for _, m := range u.moves {
			out = append(out, PendingPart{of, m.to, 0})
		}
	}
	slices.SortFunc(out, func(a, b PendingPart) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Rev, b.Rev))
	})
	return out
}

// Pending lists the revisions that are not confirmed, the newest first.
func (s *Store) Pending() []Pending {
	list := s.cur.Load().unconfirmed
	out := make([]Pending, 0, len(list))
	for _, u := range slices.Backward(list) {
		out = append(out, Pending{u.rev, u.until})
	}
	return out
}

// Confirm keeps the changes of revision rev; 0 is the newest that is not
// confirmed. When it returns nil, that is on stable storage. The error is
// NotFound if the revision was confirmed or taken back already.
func (s *Store) Confirm(ctx context.Context, rev Rev) (Rev, error) {
	if err := ctx.Err(); err != nil {
		return 0, &Error{Op: "confirm", Err: context.Cause(ctx)}
	}
	p := &pending{op: "confirm"}
	p.validate = func(tip *image) error {
		if n := len(tip.unconfirmed); rev == 0 && n > 0 {
			rev = tip.unconfirmed[n-1].rev
		}
		u, waits := tip.unconfirmed.find(rev)
		if !waits {
			err := errors.New("nothing waits to be confirmed")
			if rev != 0 {
				err = fmt.Errorf("revision %d does not wait to be confirmed", rev)
			}
			return &Error{Op: "confirm", Kind: NotFound, Err: err}
		}
		p.rev, p.img = rev, tip.with(tip.unconfirmed.confirm(u))
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
	left unconfirmedList
	kept []Problem
}

func (w withdrawal) ends(unconfirmedList) unconfirmedList { return w.left }

// withdraw works out how the parts of u at and below a path are taken back.
func (img *image) withdraw(u *unconfirmed, below Path) (w withdrawal) {
	taken, rest := *u, *u
	taken.parts, taken.kept, taken.moves = map[partName]part{}, nil, nil
	rest.raw, rest.chunks, rest.parts, rest.kept, rest.moves = nil, 0, map[partName]part{}, nil, nil
	side := func(p Path) *unconfirmed {
		if p.Within(below) {
			return &taken
		}
		return &rest
	}
	for n, p := range u.parts {
		side(p.path).parts[n] = p
	}
	for _, k := range u.kept {
		at := side(k.path)
		at.kept = append(at.kept, k)
	}
	for _, m := range u.moves {
		at := side(m.from)
		if at.moves = append(at.moves, m); at != side(m.to) {
			w.kept = append(w.kept, Problem{Path: m.from, Other: m.to, Err: key.Errorf(Conflict,
				"was moved to %s, which is taken back as a whole only: revert from a key above both", m.to)})
		}
	}
	list, own, later := img.unconfirmed.handOver(&taken)
	w.kept = append(w.kept, taken.texts(later)...)
	if w.left = list.drop(u.rev); !rest.empty() {
		w.left = list.edit(func(v *unconfirmed) bool {
			if v.rev == rest.rev {
				*v = rest
			}
			return v.rev == rest.rev
		})
	}
	for _, m := range slices.Backward(taken.moves) {
		w.left = w.left.moved(move{m.to, m.from})
	}
	w.undo(img.root, own, taken.moves)
	return w
}

// undo adds the ops that put parts, which are sorted by path, and moves back.
func (w *withdrawal) undo(root *tree.Node, parts []part, moves []move) {
	gone := map[*tree.Node]bool{}
	var last []Op // removals of keys that hold what moves back
	for _, p := range slices.Backward(parts) {
		n := root.Lookup(p.path)
		if p.id != 0 || p.name != "" || n == nil {
			continue
		}
		if !p.removable(n, parts, moves, gone) {
			w.kept = append(w.kept, Problem{Path: p.path, Err: key.Errorf(Conflict, "cannot be removed again: something in it is newer")})
			continue
		}
		gone[n] = true
		if slices.ContainsFunc(moves, func(m move) bool { return m.to.Within(p.path) }) {
			last = append(last, Remove{Path: p.path})
		} else {
			w.ops = append(w.ops, Remove{Path: p.path})
		}
	}
	for _, p := range parts {
		n := root.Lookup(p.path)
		switch {
		case p.id != 0 && !gone[n]:
			w.put(p, n)
		case p.id != 0 || p.name == "":
		case n == nil:
			w.ops = append(w.ops, putBack{AddKey{Path: p.path.Parent().Join(p.name)}})
		case n.Spelling != p.name:
			w.ops = append(w.ops, Move{From: p.path, To: p.path.Parent().Join(p.name)})
		}
	}
	for _, p := range parts {
		if n := root.Lookup(p.path); p.time != 0 && n != nil && !gone[n] {
			w.ops = append(w.ops, Touch{Path: p.path, Time: time.Unix(0, p.time)})
		}
	}
	for _, m := range slices.Backward(moves) {
		w.ops = append(w.ops, Move{From: m.to, To: m.from})
	}
	w.ops = append(w.ops, last...)
}

// put adds the ops that put a property back at n, which may be nil.
func (w *withdrawal) put(p part, n *tree.Node) {
	var now *Property
	if n != nil {
		now = n.Items.Find(p.id)
	}
	if !samePointed(now, p.was) {
		w.ops = restore(w.ops, p.path, tree.PropertyDelta{ID: p.id, Old: p.was, New: now})
	}
}

// removable reports whether nothing is left in n, the key of p, but its class once
// parts and moves are put back. The keys below it that go are in gone.
func (p part) removable(n *tree.Node, parts []part, moves []move, gone map[*tree.Node]bool) bool {
	for _, item := range n.Items.All() {
		if item.ID != KeyType && !slices.ContainsFunc(parts, func(q part) bool {
			return q.id == item.ID && q.was == nil && q.path.Equal(p.path)
		}) {
			return false
		}
	}
	for k := range n.Kids.All {
		at := p.path.Join(k.Spelling)
		if !gone[k] && !slices.ContainsFunc(moves, func(m move) bool { return m.to.Equal(at) }) {
			return false
		}
	}
	return true
}
