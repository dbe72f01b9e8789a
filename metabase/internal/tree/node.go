// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"restante/metabase/internal/casefold"
	"restante/metabase/internal/pmap"
	"restante/metabase/item"
	"restante/metabase/key"
)

// A Node is one key of a tree. It never changes once it can be reached from a
// published tree; a changed key is another node.
type Node struct {
	Spelling string // its name as it was given; "" of the root
	Items    item.List
	Kids     *Kids
	Modified int64 // Unix nanoseconds: own data or name, not the children's
}

// Kids are nodes by their names.
type Kids = pmap.Map[*Node]

// KidsOf makes kids of list.
func KidsOf(list []*Node) *Kids { return pmap.Make(list) }

// Name is what kids know n by.
func (n *Node) Name() string { return n.Spelling }

// Kid is n.Kids.Get, quicker by a call.
func (n *Node) Kid(name string) *Node {
	if k := n.Kids.Near(name); k != nil && casefold.Equal(k.Spelling, name) {
		return k
	}
	return nil
}

// Step finds the next key on the way to p, where n stands at p[:end] and to is
// the end of the other one's path; nil where there is none.
func (n *Node) Step(p key.Path, end int) (kid *Node, to int) {
	rest := string(p[end+1:])
	for _, k := range n.Kids.Few() { // spelled as in the tree, as most are
		if l := len(k.Spelling); (len(rest) == l || len(rest) > l && rest[l] == '/') && rest[:l] == k.Spelling {
			return k, end + 1 + l
		}
	}
	name, _ := key.CutName(rest)
	return n.Kid(name), end + 1 + len(name)
}

// Get finds the property that is stored at n.
func (n *Node) Get(id item.ID) (item.Property, bool) {
	if item := n.Items.Find(id); item != nil {
		return *item, true
	}
	return item.Property{}, false
}

// Class is the class of the key, or "".
func (n *Node) Class() string {
	p, _ := n.Get(item.KeyType)
	return p.Value.Str()
}

// With gives n with p in the place of what had its ID.
func (n *Node) With(p item.Property, now int64) *Node {
	next := *n
	next.Items = n.Items.With(p)
	next.Modified = now
	return &next
}

// Without gives n without the property, which is there.
func (n *Node) Without(id item.ID, now int64) *Node {
	next := *n
	next.Items = n.Items.Without(id)
	next.Modified = now
	return &next
}

// WithKids gives n with k in the place of its kids.
func (n *Node) WithKids(k *Kids) *Node {
	next := *n
	next.Kids = k
	return &next
}

// WithKid is WithKids of n.Kids.With(k), in one allocation.
func (n *Node) WithKid(k *Node) *Node {
	next := &struct {
		Node
		below Kids
	}{Node: *n}
	n.Kids.WithTo(&next.below, k)
	next.Kids = &next.below
	return &next.Node
}

// Lookup finds the node at p, or gives nil.
func (n *Node) Lookup(p key.Path) *Node {
	for end := 0; n != nil && end < len(p) && p != key.Root; {
		n, end = n.Step(p, end)
	}
	return n
}

// Change gives the tree n with the node at p replaced by what f makes of it;
// with nil from f the node is gone. A missing node is nil to f, and its parent
// must be there. A tree in which nothing changed is n itself.
func (n *Node) Change(p key.Path, f func(*Node) *Node) *Node {
	if p == key.Root {
		return f(n)
	}
	name, rest := key.CutName(string(p[1:]))
	old := n.Kid(name)
	var next *Node
	if rest == "" {
		next = f(old)
	} else if old != nil {
		next = old.Change(key.Path(rest), f)
	}
	switch {
	case next == old:
		return n
	case next == nil:
		return n.WithKids(n.Kids.Without(name))
	}
	return n.WithKid(next)
}

// Walk calls f for n, which stands at p, and all below it, parents first and
// in the order of their names, until f gives false.
func (n *Node) Walk(p key.Path, f func(key.Path, *Node) bool) bool {
	if !f(p, n) {
		return false
	}
	for _, k := range n.Kids.Sorted() {
		if !k.Walk(p.Join(k.Spelling), f) {
			return false
		}
	}
	return true
}

// A Trail is the nodes from the root to one key: several reads of the key share
// one search. The nil Trail leads to no key.
type Trail struct {
	Path  key.Path
	steps []Step
	room  [8]Step
}

// A Step is a key on the way; path[:end] is where it stands.
type Step struct {
	Node *Node
	End  int
}

// Trail returns the trail to p, or nil if there is no such key.
func (n *Node) Trail(p key.Path) *Trail {
	t := &Trail{Path: p}
	t.steps = append(t.room[:0], Step{n, 0})
	for end := 0; n != nil && p != key.Root && end < len(p); {
		n, end = n.Step(p, end)
		t.steps = append(t.steps, Step{n, end})
	}
	if n == nil {
		return nil
	}
	return t
}

// To gives the steps if p is at or below where they lead to, spelled like it.
func (t *Trail) To(p key.Path) []Step {
	if t == nil || t.Path == key.Root || len(p) < len(t.Path) || p[:len(t.Path)] != t.Path || len(p) > len(t.Path) && p[len(t.Path)] != '/' {
		return nil
	}
	return t.steps
}

// Change gives the tree with next in the place of the key that t leads to, and
// the way to it; with nil the key is gone, and so is the way. A tree in which
// nothing changed is what it was.
func (t *Trail) Change(next *Node) (root *Node, now *Trail) {
	last := len(t.steps) - 1
	old := t.steps[last].Node
	if next == old {
		return t.steps[0].Node, t
	}
	now = &Trail{Path: t.Path}
	now.steps = append(now.room[:0], t.steps...)
	now.steps[last].Node = next
	for i := last; i > 0; i-- {
		above := t.steps[i-1].Node
		if kid := now.steps[i].Node; kid != nil {
			now.steps[i-1].Node = above.WithKid(kid)
		} else {
			now.steps[i-1].Node = above.WithKids(above.Kids.Without(old.Spelling))
		}
	}
	root = now.steps[0].Node
	if next == nil {
		now = nil
	}
	return root, now
}

// Last is the key that t leads to; nil of the nil Trail.
func (t *Trail) Last() *Node {
	if t == nil {
		return nil
	}
	return t.steps[len(t.steps)-1].Node
}

// Spell gives the path as its names are spelled in the tree.
func (t *Trail) Spell() key.Path {
	same, start := true, 0
	for _, s := range t.steps[1:] {
		same = same && string(t.Path[start+1:s.End]) == s.Node.Spelling
		start = s.End
	}
	if same {
		return t.Path
	}
	var out []byte
	for _, s := range t.steps[1:] {
		out = append(append(out, '/'), s.Node.Spelling...)
	}
	return key.Path(out)
}

// Spell gives p as its names are spelled in the tree n; "" when there is no
// such key.
func (n *Node) Spell(p key.Path) key.Path {
	if t := n.Trail(p); t != nil {
		return t.Spell()
	}
	return ""
}
