// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"restante/metabase/internal/casefold"
	"restante/metabase/internal/pmap"
)

// A node is one key of an image. It never changes once it can be reached from
// an image; a changed key is another node.
type node struct {
	name     string // as spelled; "" of the root
	items    items
	kids     *kids
	modified int64 // Unix nanoseconds: own data or name, not the children's
}

// kids are nodes by their names.
type kids = pmap.Map[*node]

// Name is what kids know n by.
func (n *node) Name() string { return n.name }

// kid is n.kids.Get, quicker by a call.
func (n *node) kid(name string) *node {
	if k := n.kids.Near(name); k != nil && casefold.Equal(k.name, name) {
		return k
	}
	return nil
}

// step finds the next key on the way to p, where n stands at p[:end] and to is
// the end of the other one's path; nil where there is none.
func (n *node) step(p Path, end int) (kid *node, to int) {
	rest := string(p[end+1:])
	for _, k := range n.kids.Few() { // spelled as in the tree, as most are
		if l := len(k.name); (len(rest) == l || len(rest) > l && rest[l] == '/') && rest[:l] == k.name {
			return k, end + 1 + l
		}
	}
	name, _ := cutName(rest)
	return n.kid(name), end + 1 + len(name)
}

func (n *node) get(id ID) (Property, bool) {
	if item := n.items.find(id); item != nil {
		return *item, true
	}
	return Property{}, false
}

func (n *node) class() string {
	p, _ := n.get(KeyType)
	return p.Value.Str()
}

// with gives n with p in the place of what had its ID.
func (n *node) with(p Property, now int64) *node {
	next := *n
	next.items = n.items.with(p)
	next.modified = now
	return &next
}

// without gives n without the property, which is there.
func (n *node) without(id ID, now int64) *node {
	next := *n
	next.items = n.items.without(id)
	next.modified = now
	return &next
}

func (n *node) withKids(k *kids) *node {
	next := *n
	next.kids = k
	return &next
}

// withKid gives n with k among its kids: withKids of kids.With, in one piece of
// memory.
func (n *node) withKid(k *node) *node {
	next := &struct {
		node
		below kids
	}{node: *n}
	n.kids.WithTo(&next.below, k)
	next.kids = &next.below
	return &next.node
}

// lookup finds the node at p, or gives nil.
func (n *node) lookup(p Path) *node {
	for end := 0; n != nil && end < len(p) && p != Root; {
		n, end = n.step(p, end)
	}
	return n
}

// change gives the tree n with the node at p replaced by what f makes of it;
// with nil from f the node is gone. A missing node is nil to f, and its parent
// must be there. A tree in which nothing changed is n itself.
func (n *node) change(p Path, f func(*node) *node) *node {
	if p == Root {
		return f(n)
	}
	name, rest := cutName(string(p[1:]))
	old := n.kid(name)
	var next *node
	if rest == "" {
		next = f(old)
	} else if old != nil {
		next = old.change(Path(rest), f)
	}
	switch {
	case next == old:
		return n
	case next == nil:
		return n.withKids(n.kids.Without(name))
	}
	return n.withKid(next)
}

// walk calls f for n, which stands at p, and all below it, parents first and
// in the order of their names, until f gives false.
func (n *node) walk(p Path, f func(Path, *node) bool) bool {
	if !f(p, n) {
		return false
	}
	for _, k := range n.kids.Sorted() {
		if !k.walk(p.Join(k.name), f) {
			return false
		}
	}
	return true
}

// A trail is the way from the root to one key, for who asks much about it. The
// nil trail is not there.
type trail struct {
	path  Path
	steps []step
	room  [8]step
}

// A step is a key on the way; path[:end] is where it stands.
type step struct {
	node *node
	end  int
}

// trail gives the way to p, or nil where there is no such key.
func (n *node) trail(p Path) *trail {
	t := &trail{path: p}
	t.steps = append(t.room[:0], step{n, 0})
	for end := 0; n != nil && p != Root && end < len(p); {
		n, end = n.step(p, end)
		t.steps = append(t.steps, step{n, end})
	}
	if n == nil {
		return nil
	}
	return t
}

// to gives the steps if p is at or below where they lead to, spelled like it.
func (t *trail) to(p Path) []step {
	if t == nil || t.path == Root || len(p) < len(t.path) || p[:len(t.path)] != t.path || len(p) > len(t.path) && p[len(t.path)] != '/' {
		return nil
	}
	return t.steps
}

// change gives the tree with next in the place of the key that t leads to, and
// the way to it; with nil the key is gone, and so is the way. A tree in which
// nothing changed is what it was.
func (t *trail) change(next *node) (root *node, now *trail) {
	last := len(t.steps) - 1
	old := t.steps[last].node
	if next == old {
		return t.steps[0].node, t
	}
	now = &trail{path: t.path}
	now.steps = append(now.room[:0], t.steps...)
	now.steps[last].node = next
	for i := last; i > 0; i-- {
		above := t.steps[i-1].node
		if kid := now.steps[i].node; kid != nil {
			now.steps[i-1].node = above.withKid(kid)
		} else {
			now.steps[i-1].node = above.withKids(above.kids.Without(old.name))
		}
	}
	root = now.steps[0].node
	if next == nil {
		now = nil
	}
	return root, now
}

// last is the key that t leads to; nil of the nil trail.
func (t *trail) last() *node {
	if t == nil {
		return nil
	}
	return t.steps[len(t.steps)-1].node
}

// spell gives the path as its names are spelled in the tree.
func (t *trail) spell() Path {
	same, start := true, 0
	for _, s := range t.steps[1:] {
		same = same && string(t.path[start+1:s.end]) == s.node.name
		start = s.end
	}
	if same {
		return t.path
	}
	var out []byte
	for _, s := range t.steps[1:] {
		out = append(append(out, '/'), s.node.name...)
	}
	return Path(out)
}

// spell gives p as its names are spelled in the tree n; "" when there is no
// such key.
func (n *node) spell(p Path) Path {
	if t := n.trail(p); t != nil {
		return t.spell()
	}
	return ""
}
