// SPDX-License-Identifier: Apache-2.0

// Package pmap has persistent collections: a map from names to values, and slices.
// A change returns a new one that shares all but a few small pieces with the old.
// The old one never changes, so readers need no lock.
//
// The package knows nothing of the values.
package pmap

import (
	"math/bits"
	"slices"

	"restante/metabase/internal/casefold"
)

// A Named is a value with a name that never changes. It is a pointer: the zero
// value means none.
type Named interface {
	comparable
	Name() string
}

// A Map goes from names, compared without case, to values. It never changes: a
// change makes another one. It is a hash trie of 64 ways; a lookup allocates
// nothing. The nil Map is empty.
type Map[V Named] struct {
	count int
	top   trie[V]
}

// A trie parts the names by six bits of their hash: a bit in leaves for a
// slot that holds one value, a bit in subs for one that holds a further trie.
// Beyond the last bits of the hash all names are in one list.
type trie[V Named] struct {
	leaves, subs uint64
	leaf         []V // in the order of their bits; at the bottom, in any
	sub          []*trie[V]
}

// bottom is the shift at which the bits of a hash are used up.
const bottom = 66

// Len is the number of names.
func (m *Map[V]) Len() int {
	if m == nil {
		return 0
	}
	return m.count
}

// Get finds the value under a name, or gives none.
func (m *Map[V]) Get(name string) (none V) {
	if v := m.Near(name); v != none && casefold.Equal(v.Name(), name) {
		return v
	}
	return none
}

// Near returns the only value that may have the name, or none. It is Get without
// the last comparison, for callers that reach the name of a value faster than its
// method does.
func (m *Map[V]) Near(name string) (none V) {
	if m == nil {
		return none
	}
	return m.top.near(casefold.Hash(name), name, 0)
}

// Few returns all values, in no order, if a linear search is faster than a lookup,
// and nil otherwise. The slice must not be changed.
func (m *Map[V]) Few() []V {
	if m == nil || m.top.subs != 0 || len(m.top.leaf) > few {
		return nil
	}
	return m.top.leaf
}

const few = 8

// find gives the value under a name, or none.
func (t *trie[V]) find(hash uint64, name string, shift uint) (none V) {
	if v := t.near(hash, name, shift); v != none && casefold.Equal(v.Name(), name) {
		return v
	}
	return none
}

func (t *trie[V]) near(hash uint64, name string, shift uint) (none V) {
	for hash >>= shift; shift < bottom; shift, hash = shift+6, hash>>6 {
		bit := uint64(1) << (hash & 63)
		if t.leaves&bit != 0 {
			return t.leaf[bits.OnesCount64(t.leaves&(bit-1))]
		}
		if t.subs&bit == 0 {
			return none
		}
		t = t.sub[bits.OnesCount64(t.subs&(bit-1))]
	}
	if i := t.index(name); i >= 0 {
		return t.leaf[i]
	}
	return none
}

// index finds a name among the leaves of a trie at the bottom, or gives -1.
func (t *trie[V]) index(name string) int {
	return slices.IndexFunc(t.leaf, func(v V) bool { return casefold.Equal(v.Name(), name) })
}

// With gives a map that has v under its name.
func (m *Map[V]) With(v V) *Map[V] {
	next := &Map[V]{}
	m.WithTo(next, v)
	return next
}

// WithTo sets next, which is not yet shared, to the result of With.
func (m *Map[V]) WithTo(next *Map[V], v V) {
	if m != nil {
		*next = *m
	}
	if next.top.put(v, casefold.Hash(v.Name()), 0) {
		next.count++
	}
}

// put stores v in t, which is not yet shared; the tries below t are copied.
// Added says that its name is new.
func (t *trie[V]) put(v V, hash uint64, shift uint) (added bool) {
	if shift >= bottom {
		return t.putBottom(v)
	}
	bit := uint64(1) << (hash >> shift & 63)
	li := bits.OnesCount64(t.leaves & (bit - 1))
	si := bits.OnesCount64(t.subs & (bit - 1))
	switch {
	case t.subs&bit != 0:
		sub := *t.sub[si]
		added = sub.put(v, hash, shift+6)
		t.sub = Replace(t.sub, si, &sub)
		return added
	case t.leaves&bit == 0:
		t.leaves |= bit
		t.leaf = Insert(t.leaf, li, v)
		return true
	case casefold.Equal(t.leaf[li].Name(), v.Name()):
		t.leaf = Replace(t.leaf, li, v)
		return false
	}
	// Two names in one slot: both go one level down.
	other, sub := t.leaf[li], &trie[V]{}
	sub.put(other, casefold.Hash(other.Name()), shift+6)
	sub.put(v, hash, shift+6)
	t.leaves &^= bit
	t.leaf = Remove(t.leaf, li)
	t.subs |= bit
	t.sub = Insert(t.sub, si, sub)
	return true
}

func (t *trie[V]) putBottom(v V) (added bool) {
	i := t.index(v.Name())
	if i < 0 {
		t.leaf = append(slices.Clip(t.leaf), v)
		return true
	}
	t.leaf = Replace(t.leaf, i, v)
	return false
}

// Without gives a map that lacks name; m itself where it is not there.
func (m *Map[V]) Without(name string) *Map[V] {
	var none V
	if m.Get(name) == none {
		return m
	}
	if m.count == 1 {
		return nil
	}
	return &Map[V]{count: m.count - 1, top: *m.top.without(name, casefold.Hash(name), 0)}
}

// without takes out a name that is there.
func (t *trie[V]) without(name string, hash uint64, shift uint) *trie[V] {
	next := &trie[V]{}
	*next = *t
	if shift >= bottom {
		next.leaf = Remove(t.leaf, t.index(name))
		return next
	}
	bit := uint64(1) << (hash >> shift & 63)
	li := bits.OnesCount64(t.leaves & (bit - 1))
	if t.leaves&bit != 0 {
		next.leaves &^= bit
		next.leaf = Remove(t.leaf, li)
		return next
	}
	si := bits.OnesCount64(t.subs & (bit - 1))
	sub := t.sub[si].without(name, hash, shift+6)
	if len(sub.leaf) == 1 && len(sub.sub) == 0 {
		next.subs &^= bit
		next.sub = Remove(t.sub, si)
		next.leaves |= bit
		next.leaf = Insert(t.leaf, li, sub.leaf[0])
		return next
	}
	next.sub = Replace(t.sub, si, sub)
	return next
}

// Make returns a map of values whose names all differ. It is faster than a series
// of With, as it copies nothing.
func Make[V Named](values []V) *Map[V] {
	if len(values) == 0 {
		return nil
	}
	list := make([]hashed[V], len(values))
	for i, v := range values {
		list[i] = hashed[V]{casefold.Hash(v.Name()), v}
	}
	return &Map[V]{count: len(values), top: *newTrie(list, 0)}
}

type hashed[V Named] struct {
	hash  uint64
	value V
}

func newTrie[V Named](list []hashed[V], shift uint) *trie[V] {
	t := &trie[V]{}
	if shift >= bottom {
		for _, h := range list {
			t.leaf = append(t.leaf, h.value)
		}
		return t
	}
	slices.SortFunc(list, func(a, b hashed[V]) int {
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
			t.leaf = append(t.leaf, list[0].value)
		} else {
			t.subs |= 1 << slot
			t.sub = append(t.sub, newTrie(list[:n], shift+6))
		}
		list = list[n:]
	}
	t.leaf = slices.Clone(t.leaf)[:len(t.leaf):len(t.leaf)]
	return t
}

// All yields every value, in no order: range over m.All.
func (m *Map[V]) All(yield func(V) bool) {
	if m != nil {
		m.top.each(yield)
	}
}

func (t *trie[V]) each(f func(V) bool) bool {
	for _, v := range t.leaf {
		if !f(v) {
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

// Sorted lists the values in the order in which casefold.Compare has their names.
func (m *Map[V]) Sorted() []V {
	list := make([]V, 0, m.Len())
	for v := range m.All {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b V) int { return casefold.Compare(a.Name(), b.Name()) })
	return list
}

// A Pair has the values of one name in two maps, or none.
type Pair[V Named] struct {
	Name     string // as spelled in the new map, else in the old
	Old, New V
}

// Diff lists the names whose values in a and b are not identical, sorted. It skips
// the parts that both share.
func Diff[V Named](a, b *Map[V]) []Pair[V] {
	if a == b {
		return nil
	}
	var out []Pair[V]
	var ta, tb trie[V]
	if a != nil {
		ta = a.top
	}
	if b != nil {
		tb = b.top
	}
	diffTrie(&ta, &tb, 0, func(p Pair[V]) { out = append(out, p) })
	slices.SortFunc(out, func(p, q Pair[V]) int { return casefold.Compare(p.Name, q.Name) })
	return out
}

func diffTrie[V Named](a, b *trie[V], shift uint, emit func(Pair[V])) {
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

func (t *trie[V]) leafAt(bit uint64) V       { return t.leaf[bits.OnesCount64(t.leaves&(bit-1))] }
func (t *trie[V]) subAt(bit uint64) *trie[V] { return t.sub[bits.OnesCount64(t.subs&(bit-1))] }

// slot returns the content at bit as a trie: a leaf becomes a trie of one.
func (t *trie[V]) slot(bit uint64) *trie[V] {
	if t.subs&bit != 0 {
		return t.subAt(bit)
	}
	if t.leaves&bit != 0 {
		i := bits.OnesCount64(t.leaves & (bit - 1))
		return &trie[V]{leaf: t.leaf[i : i+1]}
	}
	return &trie[V]{}
}

// diffLeaves compares two tries of different shape by their names.
func diffLeaves[V Named](a, b *trie[V], shift uint, emit func(Pair[V])) {
	var none V
	a.each(func(old V) bool {
		if next := b.seek(old.Name(), shift); next == none {
			emit(Pair[V]{old.Name(), old, none})
		} else if next != old {
			emit(Pair[V]{next.Name(), old, next})
		}
		return true
	})
	b.each(func(next V) bool {
		if a.seek(next.Name(), shift) == none {
			emit(Pair[V]{next.Name(), none, next})
		}
		return true
	})
}

// seek finds a name in a trie of slot, or returns none.
func (t *trie[V]) seek(name string, shift uint) (none V) {
	if len(t.leaf) == 1 && len(t.sub) == 0 {
		if casefold.Equal(t.leaf[0].Name(), name) {
			return t.leaf[0]
		}
		return none
	}
	return t.find(casefold.Hash(name), name, shift)
}
