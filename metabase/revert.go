// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"fmt"
	"slices"

	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// Revert takes back what revision rev changed at and below a path, as a new
// revision: it puts back what was there before and had not to be confirmed, or was. It uses actor, comment and deadline of b and ignores its operations.
// Revert overwrites no later change: it does nothing, and the error is a *Refused
// with a Conflict for each such key and property, which names the later revision.
func (s *Store) Revert(ctx context.Context, rev Rev, below Path, b Batch) (Rev, error) {
	r, err := s.reverting(ctx, rev, below, b)
	if err != nil {
		return 0, err
	}
	return s.apply(ctx, r)
}

// TryRevert validates what Revert would do, and does nothing.
func (s *Store) TryRevert(ctx context.Context, rev Rev, below Path, b Batch) (Change, error) {
	r, err := s.reverting(ctx, rev, below, b)
	if err != nil {
		return Change{}, err
	}
	return s.try(ctx, r)
}

func refuse(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Refused{Problems: problems}
}

// reverting returns the request that takes back what revision rev changed.
func (s *Store) reverting(ctx context.Context, rev Rev, below Path, b Batch) (*request, error) {
	r := &request{batch: b, reverts: rev, named: []Path{below}}
	if b.Comment == "" {
		r.batch.Comment = fmt.Sprintf("revision %d taken back", rev)
	}
	if err := below.Check(); err != nil {
		return nil, &Error{Op: "revert", Path: below, Kind: Invalid, Err: err}
	}
	h, err := s.entry(ctx, rev)
	if err != nil {
		return nil, err
	}
	unsure, err := s.before(ctx, h, below)
	if err != nil {
		return nil, err
	}
	r.prepare = func(old *image, r *request) ([]Op, error) {
		r.ends = nil
		u, waits := old.unconfirmed.Find(rev)
		if !waits {
			ops, conflicts := s.undoOps(ctx, old.root, h.Deltas, below)
			return ops, refuse(append(conflicts, unsure...))
		}
		if b.Confirm > 0 {
			return nil, &Error{Op: "revert", Kind: Invalid, Err: fmt.Errorf("revision %d is not confirmed: revert it without a time to confirm", rev)}
		}
		w := old.withdraw(u, within(below))
		r.ends = w.ends
		return w.ops, refuse(w.kept)
	}
	return r, nil
}

// An undoing finds the ops that take deltas back from a tree that has moved on.
type undoing struct {
	root      *tree.Node
	ops       []Op
	conflicts []Problem
	restored  func(Rev) bool      // that revision did nothing but put back what had been
	gone      map[*tree.Node]bool // that the ops remove
	back      map[string]bool     // folded paths of keys that the ops add
}

// undoOps gives the ops that take back, at and below a path, what can be taken
// back, and names what was changed since.
func (s *Store) undoOps(ctx context.Context, root *tree.Node, list []tree.KeyDelta, below Path) ([]Op, []Problem) {
	u := &undoing{root: root, gone: map[*tree.Node]bool{}, back: map[string]bool{}}
	u.restored = func(rev Rev) bool {
		h, err := s.entry(ctx, rev)
		return err == nil && h.Reverts != 0
	}
	for _, d := range slices.Backward(list) { // children before their parents
		if d.Added && d.Path.Within(below) {
			u.remove(d)
		}
	}
	for _, d := range list {
		switch {
		case d.Added || !d.Path.Within(below):
		case d.Removed:
			u.add(d)
		default:
			u.change(d)
		}
	}
	return u.ops, u.conflicts
}

func (u *undoing) conflict(p Path, id ID, format string, args ...any) {
	u.conflicts = append(u.conflicts, Problem{Path: p, ID: id, Err: key.Errorf(Conflict, format, args...)})
}

// remove takes a key away that was added.
func (u *undoing) remove(d tree.KeyDelta) {
	n := u.root.Lookup(d.Path)
	if n == nil {
		return
	}
	sound := true
	var was []Property
	for _, p := range d.Props {
		if p.New != nil {
			was = append(was, *p.New)
		}
	}
	for _, p := range tree.DiffProperties(was, n.Items.All()) {
		if p.Quiet() && u.restored(p.New.Rev) {
			continue
		}
		sound = false
		if p.New != nil {
			u.conflict(d.Path, p.ID, "revision %d has set it since", p.New.Rev)
		} else {
			u.conflict(d.Path, p.ID, "was removed since")
		}
	}
	for _, k := range n.Kids.Sorted() {
		if !u.gone[k] {
			sound = false
			u.conflicts = append(u.conflicts, Problem{Path: d.Path, Other: d.Path.Join(k.Spelling),
				Err: key.Errorf(Conflict, "cannot be removed again: the key %s in it is newer or has been changed", k.Spelling)})
		}
	}
	if sound {
		u.gone[n] = true
		u.ops = append(u.ops, Remove{Path: d.Path})
	}
}

// add puts a key back that was removed.
func (u *undoing) add(d tree.KeyDelta) {
	if u.root.Lookup(d.Path) != nil {
		u.conflict(d.Path, 0, "was added again since")
		return
	}
	up := d.Path.Parent()
	above := u.root.Lookup(up)
	if (above == nil || u.gone[above]) && !u.back[up.Fold()] {
		u.conflict(d.Path, 0, "cannot be put back: there is no key %s any longer", up)
		return
	}
	u.back[d.Path.Fold()] = true
	u.ops = append(u.ops, putBack{AddKey{Path: d.Path}})
	for _, p := range d.Props {
		if p.Old != nil {
			u.ops = append(u.ops, Set{d.Path, *p.Old})
		}
	}
}

// Change puts back what the key held before.
func (u *undoing) change(d tree.KeyDelta) {
	n := u.root.Lookup(d.Path)
	if n == nil {
		u.conflict(d.Path, 0, "was removed since")
		return
	}
	for _, p := range d.Props {
		now := n.Items.Find(p.ID)
		switch {
		case item.SamePointed(now, p.Old): // somebody has put it back already
		case u.stands(now, p.New):
			u.restore(d.Path, p)
		case now == nil:
			u.conflict(d.Path, p.ID, "was removed since")
		default:
			u.conflict(d.Path, p.ID, "revision %d has set it since", now.Rev)
		}
	}
	if d.OldName != d.NewName && n.Spelling == d.NewName {
		u.ops = append(u.ops, Move{From: d.Path, To: d.Path.Parent().Join(d.OldName)})
	}
}

func (u *undoing) restore(at Path, p tree.PropertyDelta) { u.ops = restore(u.ops, at, p) }

// restore appends the ops that change a property back.
func restore(ops []Op, at Path, p tree.PropertyDelta) []Op {
	var was, now Attr
	if p.Old != nil {
		was = p.Old.Attr
	}
	if p.New != nil {
		now = p.New.Attr
	}
	switch {
	case p.Old == nil, now&Secure > was&Secure:
		ops = append(ops, Unset{at, p.ID})
	case now&Locked > was&Locked:
		ops = append(ops, Lock{at, p.ID, true})
	}
	if p.Old != nil {
		ops = append(ops, Set{at, *p.Old})
	}
	return ops
}

// stands says that now is still what the revision has made. Somebody who has
// set the same again meant it.
func (u *undoing) stands(now, made *Property) bool {
	return item.SamePointed(now, made) && (now == nil || now.Rev == made.Rev || u.restored(now.Rev))
}
