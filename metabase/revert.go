// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"fmt"
	"slices"

	"restante/metabase/internal/casefold"
)

// Revert takes back what revision rev changed at and below a path, as a new
// revision. Of b everything but the ops counts: who asks, why, whether it must
// be confirmed. What has been changed on top since is not trampled: then
// nothing is done, and the error is a *Refused that names, as Conflict, each
// such key and property and the revision that is in the way.
func (s *Store) Revert(ctx context.Context, rev Rev, below Path, b Batch) (Rev, error) {
	r, err := s.reverting(ctx, rev, below, b)
	if err != nil {
		return 0, err
	}
	return s.apply(ctx, r)
}

// TryRevert is Revert without doing it, as Try is Apply.
func (s *Store) TryRevert(ctx context.Context, rev Rev, below Path, b Batch) (Change, error) {
	r, err := s.reverting(ctx, rev, below, b)
	if err != nil {
		return Change{}, err
	}
	return s.try(ctx, r)
}

// reverting is the request that takes back what revision rev changed.
func (s *Store) reverting(ctx context.Context, rev Rev, below Path, b Batch) (*request, error) {
	r := &request{batch: b, reverts: rev, named: []Path{below}}
	if below == Root {
		r.confirms = rev
	}
	if b.Comment == "" {
		r.batch.Comment = fmt.Sprintf("revision %d taken back", rev)
	}
	if err := below.check(); err != nil {
		return nil, &Error{Op: "revert", Path: below, Kind: Invalid, Err: err}
	}
	h, err := s.entry(ctx, rev)
	if err != nil {
		return nil, err
	}
	r.prepare = func(old *image, _ *request) ([]Op, error) {
		ops, conflicts := s.undoOps(ctx, old.root, h.deltas, below)
		if len(conflicts) > 0 {
			return nil, &Refused{conflicts}
		}
		return ops, nil
	}
	return r, nil
}

// An undoing finds the ops that take deltas back from a tree that has moved on.
type undoing struct {
	root      *node
	ops       []Op
	conflicts []Problem
	restored  func(Rev) bool  // that revision did nothing but put back what had been
	gone      map[*node]bool  // that the ops remove
	back      map[string]bool // folded paths of keys that the ops add
}

// undoOps gives the ops that take back, at and below a path, what can be taken
// back, and names what was changed since.
func (s *Store) undoOps(ctx context.Context, root *node, list []keyDelta, below Path) ([]Op, []Problem) {
	u := &undoing{root: root, gone: map[*node]bool{}, back: map[string]bool{}}
	u.restored = func(rev Rev) bool {
		h, err := s.entry(ctx, rev)
		return err == nil && h.Reverts != 0
	}
	for _, d := range slices.Backward(list) { // children before their parents
		if d.added && d.path.Within(below) {
			u.remove(d)
		}
	}
	for _, d := range list {
		switch {
		case d.added || !d.path.Within(below):
		case d.removed:
			u.add(d)
		default:
			u.change(d)
		}
	}
	return u.ops, u.conflicts
}

func (u *undoing) conflict(p Path, id ID, format string, args ...any) {
	u.conflicts = append(u.conflicts, Problem{Path: p, ID: id, Err: because(Conflict, format, args...)})
}

// remove takes a key away that was added.
func (u *undoing) remove(d keyDelta) {
	n := u.root.lookup(d.path)
	if n == nil {
		return
	}
	sound := true
	var was []Property
	for _, p := range d.props {
		if p.new != nil {
			was = append(was, *p.new)
		}
	}
	for _, p := range diffProps(was, n.items.list) {
		if p.quiet() && u.restored(p.new.Rev) {
			continue
		}
		sound = false
		if p.new != nil {
			u.conflict(d.path, p.id, "revision %d has set it since", p.new.Rev)
		} else {
			u.conflict(d.path, p.id, "was removed since")
		}
	}
	for _, k := range n.kids.Sorted() {
		if !u.gone[k] {
			sound = false
			u.conflicts = append(u.conflicts, Problem{Path: d.path, Other: d.path.Join(k.name),
				Err: because(Conflict, "cannot be removed again: the key %s in it is newer or has been changed", k.name)})
		}
	}
	if sound {
		u.gone[n] = true
		u.ops = append(u.ops, Remove{Path: d.path})
	}
}

// add puts a key back that was removed.
func (u *undoing) add(d keyDelta) {
	if u.root.lookup(d.path) != nil {
		u.conflict(d.path, 0, "was added again since")
		return
	}
	up := d.path.Parent()
	above := u.root.lookup(up)
	if (above == nil || u.gone[above]) && !u.back[casefold.Fold(string(up))] {
		u.conflict(d.path, 0, "cannot be put back: there is no key %s any longer", up)
		return
	}
	u.back[casefold.Fold(string(d.path))] = true
	u.ops = append(u.ops, AddKey{Path: d.path})
	for _, p := range d.props {
		if p.old != nil {
			u.ops = append(u.ops, Set{d.path, *p.old})
		}
	}
}

// change puts back what the key held before.
func (u *undoing) change(d keyDelta) {
	n := u.root.lookup(d.path)
	if n == nil {
		u.conflict(d.path, 0, "was removed since")
		return
	}
	for _, p := range d.props {
		now := n.items.find(p.id)
		switch {
		case samePointed(now, p.old): // somebody has put it back already
		case u.stands(now, p.new):
			u.restore(d.path, p)
		case now == nil:
			u.conflict(d.path, p.id, "was removed since")
		default:
			u.conflict(d.path, p.id, "revision %d has set it since", now.Rev)
		}
	}
	if d.oldName != d.newName && n.name == d.newName {
		u.ops = append(u.ops, Move{From: d.path, To: d.path.Parent().Join(d.oldName)})
	}
}

func (u *undoing) restore(at Path, p propDelta) {
	var was, now Attr
	if p.old != nil {
		was = p.old.Attr
	}
	if p.new != nil {
		now = p.new.Attr
	}
	switch {
	case p.old == nil, now&Secure > was&Secure:
		u.ops = append(u.ops, Unset{at, p.id})
	case now&Locked > was&Locked:
		u.ops = append(u.ops, Lock{at, p.id, true})
	}
	if p.old != nil {
		u.ops = append(u.ops, Set{at, *p.old})
	}
}

// stands says that now is still what the revision has made. Somebody who has
// set the same again meant it.
func (u *undoing) stands(now, made *Property) bool {
	return samePointed(now, made) && (now == nil || now.Rev == made.Rev || u.restored(now.Rev))
}

func samePointed(a, b *Property) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.same(*b)
}
