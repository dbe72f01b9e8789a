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

func (op Set) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	p := op.Property
	if err := p.check(); err != nil {
		e.bad(op.Path, p.ID, err)
		return
	}
	if e.acts[p.ID] != nil {
		e.acting = append(e.acting, op)
		return
	}
	if p.Attr&Volatile != 0 {
		if _, stored := n.get(p.ID); stored {
			e.bad(op.Path, p.ID, because(Invalid, "a stored item cannot be made volatile: unset it first"))
			return
		}
		e.vol = e.vol.with(op.Path, p)
		e.volSets = append(e.volSets, op)
		return
	}
	e.set(op.Path, n, p)
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

func (op SetBits) apply(e *edit) {
	p := op.Property
	if p.Value.Type() != DWordType || p.Attr&Volatile != 0 {
		e.bad(op.Path, p.ID, because(Invalid, "only a DWORD that is stored has bits to set"))
		return
	}
	now := Snapshot{&image{root: e.root, vol: e.vol}}
	if was, _, ok := now.Effective(op.Path, p.ID); ok && was.Value.Type() == DWordType {
		p.Value = DWord(was.Value.DWord()&^op.Mask | p.Value.DWord()&op.Mask)
	}
	Set{op.Path, p}.apply(e)
}

func (op Lock) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	p, stored := n.get(op.ID)
	switch {
	case !stored:
		e.bad(op.Path, op.ID, because(NotFound, "not stored there, so there is nothing to lock or unlock"))
		return
	case p.Attr&Inherit == 0:
		e.bad(op.Path, op.ID, because(Invalid, "is not inherited, so nothing below can override it"))
		return
	case op.Off && p.Attr&Locked == 0:
		e.bad(op.Path, op.ID, because(Invalid, "is not locked there"))
		return
	}
	was := p.Attr
	if p.Attr |= Locked; op.Off {
		p.Attr &^= Locked
	}
	if p.Attr != was {
		e.put(op.Path, n, p)
	}
}

func (op Unset) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	if _, ok := n.get(op.ID); ok {
		e.alter(op.Path, func(n *node) *node { return n.without(op.ID, e.now) })
		return
	}
	if _, ok := e.vol.get(op.Path, op.ID); ok {
		e.vol = e.vol.without(op.Path, op.ID)
		e.volUnset = append(e.volUnset, op)
		return
	}
	e.bad(op.Path, op.ID, because(NotFound, "not stored here"))
}

func (op AddKey) apply(e *edit) {
	if !e.canonical(op.Path) {
		return
	}
	if e.root.lookup(op.Path) != nil {
		e.bad(op.Path, 0, Exists)
		return
	}
	if e.root.lookup(op.Path.Parent()) == nil {
		e.bad(op.Path, 0, because(NotFound, "there is no key %s to add it to", op.Path.Parent()))
		return
	}
	n := &node{name: op.Path.Base(), modified: e.now}
	if op.Class != "" {
		if err := checkText(op.Class); err != nil {
			e.bad(op.Path, KeyType, err)
			return
		}
		n.items = itemsOf([]Property{{ID: KeyType, UserType: UTServer, Value: String(op.Class), Rev: e.rev}})
	}
	e.alter(op.Path, func(*node) *node { return n })
}

func (op Remove) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	if op.Path == Root {
		e.bad(op.Path, 0, because(Invalid, "the root cannot be removed"))
		return
	}
	if below := n.kids.Len(); below > 0 && !op.Recursive {
		e.bad(op.Path, 0, because(InUse, "has %d keys below it", below))
		return
	}
	e.alter(op.Path, func(*node) *node { return nil })
}

func (op RemoveChildren) apply(e *edit) {
	if n := e.at(op.Path); n != nil && n.kids.Len() > 0 {
		e.alter(op.Path, func(n *node) *node { return n.withKids(nil) })
	}
}

func (op Clear) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	for _, p := range n.items.list {
		if p.ID != KeyType && fits(p, 0, op.UserType, op.Type) {
			e.alter(op.Path, func(n *node) *node { return n.without(p.ID, e.now) })
		}
	}
}

// fits is the filter of Clear and CopyData.
func fits(p Property, attr Attr, ut UserType, t Type) bool {
	return p.Attr&attr == attr && (ut == 0 || p.UserType == ut) && (t == AnyType || p.Value.Type() == t)
}

func (op CopyData) apply(e *edit) {
	from, to := e.at(op.From), e.at(op.To)
	if from == nil || to == nil {
		return
	}
	if op.From.Equal(op.To) {
		e.bad(op.To, 0, because(Invalid, "is copied to itself"))
		return
	}
	for _, p := range e.dataOf(op.From, from.items.list, op.Attr) {
		if p.ID == KeyType || !fits(p, op.Attr, op.UserType, op.Type) {
			continue
		}
		e.set(op.To, e.root.lookup(op.To), p)
		if from.items.find(p.ID) != nil && op.Move {
			e.alter(op.From, func(n *node) *node { return n.without(p.ID, e.now) })
		}
	}
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

func (op Touch) apply(e *edit) {
	if e.at(op.Path) != nil {
		e.touched = true
		e.alter(op.Path, func(n *node) *node {
			next := *n
			next.modified = op.Time.UnixNano()
			return &next
		})
	}
}

func (op Copy) apply(e *edit) {
	source := e.at(op.From)
	if source == nil || !e.target(op.From, op.To, op.Overwrite) {
		return
	}
	if op.From.Equal(op.To) {
		e.bad(op.To, 0, because(Invalid, "is copied to itself"))
		return
	}
	e.alter(op.To, func(old *node) *node { return e.merge(old, source, op.To.Base(), false) })
}

func (op Move) apply(e *edit) {
	source := e.at(op.From)
	if source == nil {
		return
	}
	if op.From == Root {
		e.bad(op.From, 0, because(Invalid, "the root cannot be moved"))
		return
	}
	if op.From.Equal(op.To) { // another spelling of the same name
		if e.canonical(op.To) {
			e.respell(op.To)
		}
		return
	}
	if op.To.Within(op.From) {
		e.bad(op.From, 0, because(Invalid, "cannot be moved below itself, to %s", op.To))
		return
	}
	if !e.target(op.From, op.To, op.Overwrite) {
		return
	}
	if op.From.Within(op.To) {
		e.bad(op.From, 0, because(Invalid, "cannot be moved onto the key %s that holds it", op.To))
		return
	}
	e.alter(op.From, func(*node) *node { return nil })
	e.alter(op.To, func(old *node) *node { return e.merge(old, source, op.To.Base(), true) })
	e.moves = append(e.moves, move{op.From, op.To})
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
