// SPDX-License-Identifier: Apache-2.0

package item

import "restante/metabase/internal/pmap"

// A List holds the properties of one key. It never changes. Build one with
// [ListOf].
type List struct {
	all []Property // sorted by ID
	ids uint64     // a bit for each ID in all; see BitOf
}

// BitOf returns a bit that several IDs share. A list without the bit has none of
// those IDs.
func BitOf(id ID) uint64 { return 1 << (uint32(id) * 0x9e3779b1 >> 26) }

// ListOf takes over props, which must be sorted by ID.
func ListOf(props []Property) List {
	l := List{all: props}
	for i := range props {
		l.ids |= BitOf(props[i].ID)
	}
	return l
}

// All returns the properties, sorted by ID. They must not be changed.
func (l *List) All() []Property { return l.all }

// MayHave reports whether the list may hold an ID whose BitOf is bit. A reader on
// its way down the tree asks this first: reading the list itself may miss the
// processor's cache at each key.
func (l *List) MayHave(bit uint64) bool { return l.ids&bit != 0 }

// Find returns the property, which must not be changed, or nil.
func (l *List) Find(id ID) *Property {
	if !l.MayHave(BitOf(id)) {
		return nil
	}
	if i, ok := Search(l.all, id); ok {
		return &l.all[i]
	}
	return nil
}

// With returns the list with p in the place of what had its ID.
func (l *List) With(p Property) List {
	i, ok := Search(l.all, p.ID)
	if ok {
		return List{pmap.Replace(l.all, i, p), l.ids}
	}
	return List{pmap.Insert(l.all, i, p), l.ids | BitOf(p.ID)}
}

// Without returns the list without id, which must be in it.
func (l *List) Without(id ID) List {
	i, _ := Search(l.all, id)
	return ListOf(pmap.Remove(l.all, i))
}

// Search returns the position of id in props, which must be sorted by ID, or
// where it belongs, and whether it is there.
func Search(props []Property, id ID) (int, bool) {
	lo, hi := 0, len(props)
	for lo < hi {
		mid := (lo + hi) / 2
		if props[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(props) && props[lo].ID == id
}
