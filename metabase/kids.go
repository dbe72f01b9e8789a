// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"math/bits"
	"slices"
)

// kids is a persistent map from names, compared without case, to nodes: a
// change makes a new map that shares all but a few small pieces with the old.
// It is a hash trie of 64 ways; a lookup allocates nothing. The nil map is
// empty.
type kids struct {
	count int
	top   trie
}

// A trie parts the names by six bits of their hash: a bit in leaves for a
// slot that holds one node, a bit in subs for one that holds a further trie.
// Beyond the last bits of the hash all names are in one list.
type trie struct {
	leaves, subs uint64
	leaf         []*node // in the order of their bits; at the bottom, in any
	sub          []*trie
}

// bottom is the shift at which the bits of a hash are used up.
const bottom = 66

func (k *kids) len() int {
	if k == nil {
		return 0
	}
	return k.count
}

// get finds a node by name, or gives nil.
func (k *kids) get(name string) *node {
	if k == nil {
		return nil
	}
	return k.top.get(hashFold(name), name, 0)
}

func (t *trie) get(hash uint64, name string, shift uint) *node {
	for ; shift < bottom; shift += 6 {
		bit := uint64(1) << (hash >> shift & 63)
		if t.leaves&bit != 0 {
			n := t.leaf[bits.OnesCount64(t.leaves&(bit-1))]
			if equalFold(n.name, name) {
				return n
			}
			return nil
		}
		if t.subs&bit == 0 {
			return nil
		}
		t = t.sub[bits.OnesCount64(t.subs&(bit-1))]
	}
	for _, n := range t.leaf {
		if equalFold(n.name, name) {
			return n
		}
	}
	return nil
}

// with gives a map that has n under its name.
func (k *kids) with(n *node) *kids {
	next := &kids{}
	if k != nil {
		*next = *k
	}
	top, added := next.top.with(n, hashFold(n.name), 0)
	next.top = *top
	if added {
		next.count++
	}
	return next
}

func (t *trie) with(n *node, hash uint64, shift uint) (next *trie, added bool) {
	next = &trie{}
	*next = *t
	if shift >= bottom {
		i := slices.IndexFunc(t.leaf, func(m *node) bool { return equalFold(m.name, n.name) })
		if i < 0 {
			next.leaf = append(slices.Clip(t.leaf), n)
			return next, true
		}
		next.leaf = replaced(t.leaf, i, n)
		return next, false
	}
	bit := uint64(1) << (hash >> shift & 63)
	li := bits.OnesCount64(t.leaves & (bit - 1))
	si := bits.OnesCount64(t.subs & (bit - 1))
	switch {
	case t.subs&bit != 0:
		var sub *trie
		sub, added = t.sub[si].with(n, hash, shift+6)
		next.sub = replaced(t.sub, si, sub)
		return next, added
	case t.leaves&bit == 0:
		next.leaves |= bit
		next.leaf = inserted(t.leaf, li, n)
		return next, true
	case equalFold(t.leaf[li].name, n.name):
		next.leaf = replaced(t.leaf, li, n)
		return next, false
	}
	// Two names in one slot: both go one floor down.
	other := t.leaf[li]
	sub, _ := (&trie{}).with(other, hashFold(other.name), shift+6)
	sub, _ = sub.with(n, hash, shift+6)
	next.leaves &^= bit
	next.leaf = removed(t.leaf, li)
	next.subs |= bit
	next.sub = inserted(t.sub, si, sub)
	return next, true
}

// without gives a map that lacks name.
func (k *kids) without(name string) *kids {
	if k.get(name) == nil {
		return k
	}
	if k.count == 1 {
		return nil
	}
	return &kids{count: k.count - 1, top: *k.top.without(name, hashFold(name), 0)}
}

// without takes out a name that is there.
func (t *trie) without(name string, hash uint64, shift uint) *trie {
	next := &trie{}
	*next = *t
	if shift >= bottom {
		i := slices.IndexFunc(t.leaf, func(m *node) bool { return equalFold(m.name, name) })
		next.leaf = removed(t.leaf, i)
		return next
	}
	bit := uint64(1) << (hash >> shift & 63)
	li := bits.OnesCount64(t.leaves & (bit - 1))
	if t.leaves&bit != 0 {
		next.leaves &^= bit
		next.leaf = removed(t.leaf, li)
		return next
	}
	si := bits.OnesCount64(t.subs & (bit - 1))
	sub := t.sub[si].without(name, hash, shift+6)
	if len(sub.leaf) == 1 && len(sub.sub) == 0 {
		next.subs &^= bit
		next.sub = removed(t.sub, si)
		next.leaves |= bit
		next.leaf = inserted(t.leaf, li, sub.leaf[0])
		return next
	}
	next.sub = replaced(t.sub, si, sub)
	return next
}

// These three give a new slice without room to spare; s stays as it is.

func replaced[T any](s []T, i int, v T) []T {
	out := make([]T, len(s))
	copy(out, s)
	out[i] = v
	return out
}

func inserted[T any](s []T, i int, v T) []T {
	out := make([]T, len(s)+1)
	copy(out, s[:i])
	out[i] = v
	copy(out[i+1:], s[i:])
	return out
}

func removed[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	out := make([]T, len(s)-1)
	copy(out, s[:i])
	copy(out[i:], s[i+1:])
	return out
}

// newKids makes a map of nodes whose names all differ. It is quicker than one
// with after the other, as nothing is copied.
func newKids(nodes []*node) *kids {
	if len(nodes) == 0 {
		return nil
	}
	list := make([]hashed, len(nodes))
	for i, n := range nodes {
		list[i] = hashed{hashFold(n.name), n}
	}
	return &kids{count: len(nodes), top: *newTrie(list, 0)}
}

type hashed struct {
	hash uint64
	node *node
}

func newTrie(list []hashed, shift uint) *trie {
	t := &trie{}
	if shift >= bottom {
		for _, h := range list {
			t.leaf = append(t.leaf, h.node)
		}
		return t
	}
	slices.SortFunc(list, func(a, b hashed) int {
		return int(a.hash>>shift&63) - int(b.hash>>shift&63)
	})
	for len(list) > 0 {
		slot := list[0].hash >> shift & 63
		n := 1
		for n < len(list) && list[n].hash>>shift&63 == slot {
			n++
		}
		if n == 1 {
			t.leaves |= 1 << slot
			t.leaf = append(t.leaf, list[0].node)
		} else {
			t.subs |= 1 << slot
			t.sub = append(t.sub, newTrie(list[:n], shift+6))
		}
		list = list[n:]
	}
	t.leaf = slices.Clone(t.leaf)[:len(t.leaf):len(t.leaf)]
	return t
}

// each calls f for every node, in no order, until f gives false.
func (k *kids) each(f func(*node) bool) {
	if k != nil {
		k.top.each(f)
	}
}

func (t *trie) each(f func(*node) bool) bool {
	for _, n := range t.leaf {
		if !f(n) {
			return false
		}
	}
	for _, s := range t.sub {
		if !s.each(f) {
			return false
		}
	}
	return true
}

// sorted lists the nodes in the order of compareNames.
func (k *kids) sorted() []*node {
	list := make([]*node, 0, k.len())
	k.each(func(n *node) bool {
		list = append(list, n)
		return true
	})
	slices.SortFunc(list, func(a, b *node) int { return compareNames(a.name, b.name) })
	return list
}

// A pair is what stands under one name in two maps; nil where there is none.
type pair struct{ old, new *node }

func (p pair) name() string {
	if p.new != nil {
		return p.new.name
	}
	return p.old.name
}

// diffKids lists the names whose nodes are not the same in a and b, sorted.
// What both share is not looked at.
func diffKids(a, b *kids) []pair {
	var out []pair
	var ta, tb trie
	if a != nil {
		ta = a.top
	}
	if b != nil {
		tb = b.top
	}
	diffTrie(&ta, &tb, 0, func(p pair) { out = append(out, p) })
	slices.SortFunc(out, func(p, q pair) int { return compareNames(p.name(), q.name()) })
	return out
}

func diffTrie(a, b *trie, shift uint, emit func(pair)) {
	if a == b {
		return
	}
	if shift >= bottom {
		diffLeaves(a, b, shift, emit)
		return
	}
	for both := a.leaves | a.subs | b.leaves | b.subs; both != 0; both &= both - 1 {
		bit := both & -both
		switch {
		case a.subs&b.subs&bit != 0:
			diffTrie(a.subAt(bit), b.subAt(bit), shift+6, emit)
		case a.leaves&b.leaves&bit != 0 && a.leafAt(bit) == b.leafAt(bit):
		default:
			diffLeaves(a.slot(bit), b.slot(bit), shift+6, emit)
		}
	}
}

func (t *trie) leafAt(bit uint64) *node { return t.leaf[bits.OnesCount64(t.leaves&(bit-1))] }
func (t *trie) subAt(bit uint64) *trie  { return t.sub[bits.OnesCount64(t.subs&(bit-1))] }

// slot gives what stands at bit as a trie: one leaf becomes a trie of it.
func (t *trie) slot(bit uint64) *trie {
	if t.subs&bit != 0 {
		return t.subAt(bit)
	}
	if t.leaves&bit != 0 {
		i := bits.OnesCount64(t.leaves & (bit - 1))
		return &trie{leaf: t.leaf[i : i+1]}
	}
	return &trie{}
}

// diffLeaves compares two tries of different shape by their names.
func diffLeaves(a, b *trie, shift uint, emit func(pair)) {
	a.each(func(n *node) bool {
		if m := b.seek(n.name, shift); m != n {
			emit(pair{n, m})
		}
		return true
	})
	b.each(func(n *node) bool {
		if a.seek(n.name, shift) == nil {
			emit(pair{nil, n})
		}
		return true
	})
}

// seek finds a name in what slot gave.
func (t *trie) seek(name string, shift uint) *node {
	if len(t.leaf) == 1 && len(t.sub) == 0 {
		if equalFold(t.leaf[0].name, name) {
			return t.leaf[0]
		}
		return nil
	}
	return t.get(hashFold(name), name, shift)
}
