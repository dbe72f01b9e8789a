// SPDX-License-Identifier: Apache-2.0

// Package cow has collections that are changed by copying: a map from names,
// and slices. What was there stays as it was, so that readers of the old need
// no lock, and the new shares with the old all but a few small pieces.
//
// It knows nothing of what it holds.
package cow

import (
	"math/bits"
	"slices"

	"restante/metabase/internal/names"
)

// A Map goes from names, compared without case, to values. It never changes: a
// change makes another one. It is a hash trie of 64 ways; a lookup allocates
// nothing. The nil Map is empty.
type Map[V any] struct {
	count int
	top   trie[V]
}

// An item is what a trie holds under one name; without a value it is no item.
type item[V any] struct {
	name  string // as spelled
	value *V
}

// A trie parts the names by six bits of their hash: a bit in leaves for a
// slot that holds one item, a bit in subs for one that holds a further trie.
// Beyond the last bits of the hash all names are in one list.
type trie[V any] struct {
	leaves, subs uint64
	leaf         []item[V] // in the order of their bits; at the bottom, in any
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

// Get finds the value under a name, or gives nil.
func (m *Map[V]) Get(name string) *V {
	if m == nil {
		return nil
	}
	if it := m.top.find(names.Hash(name), name, 0); it != nil {
		return it.value
	}
	return nil
}

// find gives the item under a name, in the place where it stands, or nil.
func (t *trie[V]) find(hash uint64, name string, shift uint) *item[V] {
	for ; shift < bottom; shift += 6 {
		bit := uint64(1) << (hash >> shift & 63)
		if t.leaves&bit != 0 {
			if it := &t.leaf[bits.OnesCount64(t.leaves&(bit-1))]; names.Equal(it.name, name) {
				return it
			}
			return nil
		}
		if t.subs&bit == 0 {
			return nil
		}
		t = t.sub[bits.OnesCount64(t.subs&(bit-1))]
	}
	if i := t.index(name); i >= 0 {
		return &t.leaf[i]
	}
	return nil
}

// index finds a name among the leaves of a trie at the bottom, or gives -1.
func (t *trie[V]) index(name string) int {
	return slices.IndexFunc(t.leaf, func(it item[V]) bool { return names.Equal(it.name, name) })
}

// With gives a map that has value, which is not nil, under name.
func (m *Map[V]) With(name string, value *V) *Map[V] {
	next := &Map[V]{}
	if m != nil {
		*next = *m
	}
	top, added := next.top.with(item[V]{name, value}, names.Hash(name), 0)
	next.top = *top
	if added {
		next.count++
	}
	return next
}

func (t *trie[V]) with(it item[V], hash uint64, shift uint) (next *trie[V], added bool) {
	next = &trie[V]{}
	*next = *t
	if shift >= bottom {
		i := t.index(it.name)
		if i < 0 {
			next.leaf = append(slices.Clip(t.leaf), it)
			return next, true
		}
		next.leaf = Replace(t.leaf, i, it)
		return next, false
	}
	bit := uint64(1) << (hash >> shift & 63)
	li := bits.OnesCount64(t.leaves & (bit - 1))
	si := bits.OnesCount64(t.subs & (bit - 1))
	switch {
	case t.subs&bit != 0:
		var sub *trie[V]
		sub, added = t.sub[si].with(it, hash, shift+6)
		next.sub = Replace(t.sub, si, sub)
		return next, added
	case t.leaves&bit == 0:
		next.leaves |= bit
		next.leaf = Insert(t.leaf, li, it)
		return next, true
	case names.Equal(t.leaf[li].name, it.name):
		next.leaf = Replace(t.leaf, li, it)
		return next, false
	}
	// Two names in one slot: both go one floor down.
	other := t.leaf[li]
	sub, _ := (&trie[V]{}).with(other, names.Hash(other.name), shift+6)
	sub, _ = sub.with(it, hash, shift+6)
	next.leaves &^= bit
	next.leaf = Remove(t.leaf, li)
	next.subs |= bit
	next.sub = Insert(t.sub, si, sub)
	return next, true
}

// Without gives a map that lacks name; m itself where it is not there.
func (m *Map[V]) Without(name string) *Map[V] {
	if m.Get(name) == nil {
		return m
	}
	if m.count == 1 {
		return nil
	}
	return &Map[V]{count: m.count - 1, top: *m.top.without(name, names.Hash(name), 0)}
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

// Make makes a map of values whose names, which name tells, all differ. It is
// quicker than one With after the other, as nothing is copied.
func Make[V any](values []*V, name func(*V) string) *Map[V] {
	if len(values) == 0 {
		return nil
	}
	list := make([]hashed[V], len(values))
	for i, v := range values {
		list[i] = hashed[V]{names.Hash(name(v)), item[V]{name(v), v}}
	}
	return &Map[V]{count: len(values), top: *newTrie(list, 0)}
}

type hashed[V any] struct {
	hash uint64
	item item[V]
}

func newTrie[V any](list []hashed[V], shift uint) *trie[V] {
	t := &trie[V]{}
	if shift >= bottom {
		for _, h := range list {
			t.leaf = append(t.leaf, h.item)
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
			t.leaf = append(t.leaf, list[0].item)
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
func (m *Map[V]) All(yield func(*V) bool) {
	if m != nil {
		m.top.each(func(it item[V]) bool { return yield(it.value) })
	}
}

func (t *trie[V]) each(f func(item[V]) bool) bool {
	for _, it := range t.leaf {
		if !f(it) {
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

// Sorted lists the values in the order in which names.Compare has their names.
func (m *Map[V]) Sorted() []*V {
	if m == nil {
		return nil
	}
	list := make([]item[V], 0, m.count)
	m.top.each(func(it item[V]) bool {
		list = append(list, it)
		return true
	})
	slices.SortFunc(list, func(a, b item[V]) int { return names.Compare(a.name, b.name) })
	out := make([]*V, len(list))
	for i, it := range list {
		out[i] = it.value
	}
	return out
}

// A Pair is what stands under one name in two maps; nil where there is none.
type Pair[V any] struct {
	Name     string // as spelled in the new map, else in the old
	Old, New *V
}

// Diff lists the names under which a and b do not have the very same value,
// sorted. What both share is not looked at.
func Diff[V any](a, b *Map[V]) []Pair[V] {
	var out []Pair[V]
	var ta, tb trie[V]
	if a != nil {
		ta = a.top
	}
	if b != nil {
		tb = b.top
	}
	diffTrie(&ta, &tb, 0, func(p Pair[V]) { out = append(out, p) })
	slices.SortFunc(out, func(p, q Pair[V]) int { return names.Compare(p.Name, q.Name) })
	return out
}

func diffTrie[V any](a, b *trie[V], shift uint, emit func(Pair[V])) {
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
		case a.leaves&b.leaves&bit != 0 && a.leafAt(bit).value == b.leafAt(bit).value:
		default:
			diffLeaves(a.slot(bit), b.slot(bit), shift+6, emit)
		}
	}
}

func (t *trie[V]) leafAt(bit uint64) item[V] { return t.leaf[bits.OnesCount64(t.leaves&(bit-1))] }
func (t *trie[V]) subAt(bit uint64) *trie[V] { return t.sub[bits.OnesCount64(t.subs&(bit-1))] }

// slot gives what stands at bit as a trie: one leaf becomes a trie of it.
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
func diffLeaves[V any](a, b *trie[V], shift uint, emit func(Pair[V])) {
	a.each(func(old item[V]) bool {
		if next := b.seek(old.name, shift); next.value == nil {
			emit(Pair[V]{old.name, old.value, nil})
		} else if next.value != old.value {
			emit(Pair[V]{next.name, old.value, next.value})
		}
		return true
	})
	b.each(func(next item[V]) bool {
		if a.seek(next.name, shift).value == nil {
			emit(Pair[V]{next.name, nil, next.value})
		}
		return true
	})
}

// seek finds a name in what slot gave; without a value where it is not there.
func (t *trie[V]) seek(name string, shift uint) item[V] {
	if len(t.leaf) == 1 && len(t.sub) == 0 {
		if names.Equal(t.leaf[0].name, name) {
			return t.leaf[0]
		}
		return item[V]{}
	}
	if it := t.find(names.Hash(name), name, shift); it != nil {
		return *it
	}
	return item[V]{}
}
