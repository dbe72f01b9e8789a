// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"slices"

	"restante/metabase/internal/pmap"
)

// An edit is a batch being made true on a tree that nobody else sees yet.
type edit struct {
	old  *image
	root *node  // the tree as it is by now
	span Path   // the deepest key at or below which all lies that was altered; "" for none
	way  *trail // in root, to the key that was looked at last; nil for none
	past *trail // in old, to the key that was altered first; nil where it was not there
	vol  *volatiles
	rev  Rev
	now  int64
	acts map[ID]Act

	// what is not part of the tree
	volSets  []Set
	volUnset []Unset
	acting   []Set
	moves    []move
	touched  bool // a change of nothing but times is meant

	problems []Problem
}

// A move is told in the history so that people read one line of it.
type move struct{ from, to Path }

func (e *edit) bad(p Path, id ID, err error) {
	e.problems = append(e.problems, Problem{Path: p, ID: id, Err: err})
}

// at gives the key at p, and tells when there is none.
func (e *edit) at(p Path) *node {
	if !e.canonical(p) {
		return nil
	}
	if e.way == nil || e.way.path != p {
		e.way = e.root.trail(p)
	}
	if e.way == nil {
		e.bad(p, 0, NotFound)
	}
	return e.way.last()
}

func (e *edit) canonical(p Path) bool {
	if err := p.check(); err != nil {
		e.bad(p, 0, err)
		return false
	}
	return true
}

// alter changes the node at p, whose parent exists.
func (e *edit) alter(p Path, f func(*node) *node) {
	if e.way == nil || e.way.path != p {
		e.way = e.root.trail(p)
	}
	if e.span == "" {
		e.span, e.past = p, e.way
	} else {
		e.span = common(e.span, p)
	}
	if e.way == nil {
		e.root = e.root.change(p, f)
		return
	}
	e.root, e.way = e.way.change(f(e.way.last()))
}

// trails are the ways to what was altered, as it was and as it is.
func (e *edit) trails() (past, now *trail) {
	past, now = e.past, e.way
	if past == nil || past.path != e.span {
		past = e.old.root.trail(e.span)
	}
	if now == nil || now.path != e.span {
		now = e.root.trail(e.span)
	}
	return past, now
}

// set stores p at the key n.
func (e *edit) set(at Path, n *node, p Property) {
	old, had := n.get(p.ID)
	if had && old.Attr&Secure != 0 && p.Attr&Secure == 0 {
		e.bad(at, p.ID, because(Invalid, "is secure and cannot be made plain: unset it first"))
		return
	}
	p.Attr |= old.Attr & Locked
	if had && old.same(p) {
		return
	}
	e.put(at, n, p)
}

// put stores p, which is not what is there, at the key n.
func (e *edit) put(at Path, n *node, p Property) {
	p = p.marked()
	p.Rev = e.rev
	next := n.with(p, e.now)
	size := 0
	for _, q := range next.items.list {
		size += len(q.Value.text) + 16
	}
	if size > maxKey {
		e.bad(at, p.ID, because(Invalid, "the key would hold %d octets, more than %d", size, maxKey))
		return
	}
	e.alter(at, func(*node) *node { return next })
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

func (e *edit) respell(p Path) {
	e.alter(p, func(n *node) *node {
		if n.name == p.Base() {
			return n
		}
		next := *n
		next.name, next.modified = p.Base(), e.now
		return &next
	})
}

// target says whether something may be copied to p.
func (e *edit) target(from, p Path, overwrite bool) bool {
	if !e.canonical(p) {
		return false
	}
	if e.root.lookup(p) != nil {
		if !overwrite && !from.Equal(p) {
			e.bad(p, 0, Exists)
		}
		return overwrite || from.Equal(p)
	}
	if e.root.lookup(p.Parent()) == nil {
		e.bad(p, 0, because(NotFound, "there is no key %s to put it in", p.Parent()))
		return false
	}
	return true
}

// merge lays the tree from over old, which may be nil. With keep the items
// keep their revisions.
func (e *edit) merge(old, from *node, name string, keep bool) *node {
	if old == nil {
		old = &node{}
		if keep {
			next := *from
			next.name, next.modified = name, e.now
			return &next
		}
	}
	next := &node{name: name, items: itemsOf(e.mergeProps(old.items.list, from.items.list, keep)), kids: old.kids, modified: e.now}
	if old.kids == nil {
		var list []*node
		for k := range from.kids.All {
			list = append(list, e.merge(nil, k, k.name, keep))
		}
		next.kids = pmap.Make(list)
		return next
	}
	for k := range from.kids.All {
		was := next.kids.Get(k.name)
		spelled := k.name
		if was != nil {
			spelled = was.name
		}
		next.kids = next.kids.With(e.merge(was, k, spelled, keep))
	}
	return next
}

func (e *edit) mergeProps(old, from []Property, keep bool) []Property {
	out := slices.Clone(old)
	for _, p := range from {
		if !keep {
			p.Rev = e.rev
		}
		i, ok := find(out, p.ID)
		switch {
		case !ok:
			out = slices.Insert(out, i, p)
		case !out[i].same(p):
			p.Attr |= out[i].Attr & (Secure | Locked) // what was so stays so
			p = p.marked()
			out[i] = p
		}
	}
	return out
}
