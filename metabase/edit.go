// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"slices"

	"restante/metabase/internal/tree"
	"restante/metabase/internal/unconfirmed"
	"restante/metabase/item"
	"restante/metabase/key"
)

// An edit applies a batch to a tree that is not published yet.
type edit struct {
	old  *image
	root *tree.Node  // the tree as it is by now
	span Path        // the deepest key at or below which all lies that was altered; "" for none
	way  *tree.Trail // in root, to the key that was looked at last; nil for none
	past *tree.Trail // in old, to the key that was altered first; nil where it was not there
	rev  Rev
	now  int64
	acts map[ID]Act

	timed bool // the batch is to be confirmed

	// what is not part of the tree
	acting  []Set
	moves   []tree.Move
	covers  []cover
	wrote   []unconfirmed.Part // properties that ops set or unset, where something is not confirmed
	touched []Path             // a change of nothing but times is meant of these

	problems []Problem
}

func (e *edit) bad(p Path, id ID, err error) {
	e.problems = append(e.problems, Problem{Path: p, ID: id, Err: err})
}

// at returns the key at p. If there is none, it reports a problem.
func (e *edit) at(p Path) *tree.Node {
	if !e.canonical(p) {
		return nil
	}
	if e.way == nil || e.way.Path != p {
		e.way = e.root.Trail(p)
	}
	if e.way == nil {
		e.bad(p, 0, NotFound)
	}
	return e.way.Last()
}

// writes notes that an op sets or unsets a property.
func (e *edit) writes(p Path, id ID) {
	if len(e.old.unconfirmed) > 0 {
		e.wrote = append(e.wrote, unconfirmed.Part{Path: p, ID: id})
	}
}

// rewrites reports whether storing a property as it is changes what becomes of it.
func (e *edit) rewrites(p Path, id ID) bool {
	return e.old.unconfirmed.Rewrites(tree.Back(e.moves, p), id)
}

func (e *edit) canonical(p Path) bool {
	if err := p.Check(); err != nil {
		e.bad(p, 0, err)
		return false
	}
	return true
}

// named reports whether a key may get the name of p.
func (e *edit) named(p Path) bool {
	if err := key.CheckNew(p.Base()); err != nil {
		e.bad(p, 0, err)
		return false
	}
	return true
}

// alter changes the node at p, whose parent exists.
func (e *edit) alter(p Path, f func(*tree.Node) *tree.Node) {
	if e.way == nil || e.way.Path != p {
		e.way = e.root.Trail(p)
	}
	if e.span == "" {
		e.span, e.past = p, e.way
	} else {
		e.span = key.Common(e.span, p)
	}
	if e.way == nil {
		e.root = e.root.Change(p, f)
		return
	}
	e.root, e.way = e.way.Change(f(e.way.Last()))
}

// trails returns the trails to the altered subtree, before and after the edit.
func (e *edit) trails() (past, now *tree.Trail) {
	past, now = e.past, e.way
	if past == nil || past.Path != e.span {
		past = e.old.root.Trail(e.span)
	}
	if now == nil || now.Path != e.span {
		now = e.root.Trail(e.span)
	}
	return past, now
}

// set stores p at the key n.
func (e *edit) set(at Path, n *tree.Node, p Property) {
	old, had := n.Get(p.ID)
	if had && old.Attr&Secure != 0 && p.Attr&Secure == 0 {
		e.bad(at, p.ID, key.Errorf(Invalid, "is secure and cannot be made plain: unset it first"))
		return
	}
	p.Attr |= old.Attr & Locked
	if had && old.Same(p) && !e.rewrites(at, p.ID) {
		return
	}
	e.put(at, n, p)
}

// put stores p, which differs from the stored property, at the key n.
func (e *edit) put(at Path, n *tree.Node, p Property) {
	e.writes(at, p.ID)
	p = p.Marked()
	p.Rev = e.rev
	next := n.With(p, e.now)
	e.alter(at, func(*tree.Node) *tree.Node { return next })
}

// fits is the filter of Clear and CopyData.
func fits(p Property, attr Attr, ut UserType, t Type) bool {
	return p.Attr&attr == attr && (ut == 0 || p.UserType == ut) && (t == AnyType || p.Value.Type() == t)
}

// dataOf lists own, and with Inherit in attr also what p inherits.
func (e *edit) dataOf(p Path, own []Property, attr Attr) []Property {
	if attr&Inherit == 0 {
		return own
	}
	var out []Property
	for _, l := range (Snapshot{&image{root: e.root}}).AllProperties(p) {
		l.Attr &^= IsInherited
		out = append(out, l.Property)
	}
	return out
}

// respell gives the key at p, which is there, another spelling of its name. The keys
// below are not among the deltas, but their paths may get longer.
func (e *edit) respell(p Path) {
	n := e.root.Lookup(p)
	if n.Spelling == p.Base() || !e.named(p) {
		return
	}
	if len(p.Base()) > len(n.Spelling) {
		n.Walk(p, func(q Path, _ *tree.Node) bool {
			if err := checkPath(q); err != nil {
				e.bad(q, 0, err)
			}
			return true
		})
	}
	e.alter(p, func(n *tree.Node) *tree.Node {
		if n.Spelling == p.Base() {
			return n
		}
		next := *n
		next.Spelling, next.Modified = p.Base(), e.now
		return &next
	})
}

// target says whether something may be copied to p.
func (e *edit) target(from, p Path, overwrite bool) bool {
	if !e.canonical(p) {
		return false
	}
	if e.root.Lookup(p) != nil {
		if !overwrite && !from.Equal(p) {
			e.bad(p, 0, Exists)
		}
		return overwrite || from.Equal(p)
	}
	if from.Base() != p.Base() && !e.named(p) {
		return false
	}
	if e.root.Lookup(p.Parent()) == nil {
		e.bad(p, 0, key.Errorf(NotFound, "there is no key %s to put it in", p.Parent()))
		return false
	}
	return true
}

// merge lays the tree from over old, which may be nil. With keep the items
// keep their revisions.
func (e *edit) merge(old, from *tree.Node, name string, keep bool) *tree.Node {
	if old == nil {
		old = &tree.Node{}
		if keep {
			next := *from
			next.Spelling, next.Modified = name, e.now
			return &next
		}
	}
	next := &tree.Node{Spelling: name, Items: item.ListOf(e.mergeProps(old.Items.All(), from.Items.All(), keep)), Kids: old.Kids, Modified: e.now}
	if old.Kids == nil {
		var list []*tree.Node
		for k := range from.Kids.All {
			list = append(list, e.merge(nil, k, k.Spelling, keep))
		}
		next.Kids = tree.KidsOf(list)
		return next
	}
	for k := range from.Kids.All {
		was := next.Kids.Get(k.Spelling)
		spelled := k.Spelling
		if was != nil {
			spelled = was.Spelling
		}
		next.Kids = next.Kids.With(e.merge(was, k, spelled, keep))
	}
	return next
}

func (e *edit) mergeProps(old, from []Property, keep bool) []Property {
	out := slices.Clone(old)
	for _, p := range from {
		if !keep {
			p.Rev = e.rev
		}
		i, ok := item.Search(out, p.ID)
		switch {
		case !ok:
			out = slices.Insert(out, i, p)
		case !out[i].Same(p):
			p.Attr |= out[i].Attr & (Secure | Locked) // what was so stays so
			p = p.Marked()
			out[i] = p
		case !keep && len(e.old.unconfirmed) > 0:
			out[i].Rev = e.rev // for good, if the value is not confirmed
		}
	}
	return out
}
