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

// Name returns the name of n among its siblings.
func (n *Node) Name() string { return n.Spelling }

// Kid is n.Kids.Get without the call.
func (n *Node) Kid(name string) *Node {
	if k := n.Kids.Near(name); k != nil && casefold.Equal(k.Spelling, name) {
		return k
	}
	return nil
}

// Step returns the child of n on the path p, where n is at p[:end] and the child
// at p[:to]; nil if there is none.
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

// Get returns the property that is stored at n.
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

// With returns n with p, which replaces a property of the same ID.
func (n *Node) With(p item.Property, now int64) *Node {
	next := *n
	next.Items = n.Items.With(p)
	next.Modified = now
	return &next
}

// Without returns n without the property, which it must have.
func (n *Node) Without(id item.ID, now int64) *Node {
	next := *n
	next.Items = n.Items.Without(id)
	next.Modified = now
	return &next
}

// WithKids returns n with k as its children.
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

// Lookup returns the node at p, or nil.
func (n *Node) Lookup(p key.Path) *Node {
	for end := 0; n != nil && end < len(p) && p != key.Root; {
		n, end = n.Step(p, end)
	}
	return n
}

// Change returns the tree n with the node at p replaced by the result of f; nil
// removes it. A missing node is nil to f, and its parent must exist. If nothing
// changed, the result is n itself.
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

// Walk calls f for n, which is at p, and for all nodes below it, until f returns
// false. Parents come first, siblings in the order of their names.
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

// A Trail lists the nodes from the root to one key, so that several reads of the
// key share one search. The nil Trail is that of no key.
type Trail struct {
	Path  key.Path
	steps []Step
	room  [8]Step
}

// A Step is a key of a Trail, at path[:end].
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

// To returns the steps if p is at or below the key of t, in the same spelling.
func (t *Trail) To(p key.Path) []Step {
	if t == nil || t.Path == key.Root || len(p) < len(t.Path) || p[:len(t.Path)] != t.Path || len(p) > len(t.Path) && p[len(t.Path)] != '/' {
		return nil
	}
	return t.steps
}

// Change returns the tree with next in place of the key of t, and the Trail to it.
// If next is nil, the key is removed and the Trail is nil. If nothing changed, the
// result is the tree as it was.
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

// Last is the key of t; nil for the nil Trail.
func (t *Trail) Last() *Node {
	if t == nil {
		return nil
	}
	return t.steps[len(t.steps)-1].Node
}

// Spell returns the path as its names are spelled in the tree.
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

// Spell returns p as its names are spelled in the tree n; "" if there is no such
// key.
func (n *Node) Spell(p key.Path) key.Path {
	if t := n.Trail(p); t != nil {
		return t.Spell()
	}
	return ""
}
