// SPDX-License-Identifier: Apache-2.0

package metabase

import "restante/metabase/internal/pmap"

// Items are the properties of one key. They never change. Make them with
// itemsOf.
type items struct {
	list []Property // sorted by ID
	ids  uint64     // a bit for each ID in list; see bitOf
}

// bitOf is a bit that several IDs share. Where it is not among those of the
// items, the ID is not either, and a reader on its way down the tree need not
// touch the list, which is a wait for memory at each key.
func bitOf(id ID) uint64 { return 1 << (uint32(id) * 0x9e3779b1 >> 26) }

// itemsOf takes over a list that is sorted by ID.
func itemsOf(list []Property) items {
	it := items{list: list}
	for i := range list {
		it.ids |= bitOf(list[i].ID)
	}
	return it
}

// find gives the property, which must not be changed, or nil.
func (it *items) find(id ID) *Property {
	if it.ids&bitOf(id) == 0 {
		return nil
	}
	if i, ok := find(it.list, id); ok {
		return &it.list[i]
	}
	return nil
}

// with gives items that have p in the place of what had its ID.
func (it *items) with(p Property) items {
	i, ok := find(it.list, p.ID)
	if ok {
		return items{pmap.Replace(it.list, i, p), it.ids}
	}
	return items{pmap.Insert(it.list, i, p), it.ids | bitOf(p.ID)}
}

// without gives items that lack id, which is there.
func (it *items) without(id ID) items {
	i, _ := find(it.list, id)
	return itemsOf(pmap.Remove(it.list, i))
}

// find gives the place of id in a list that is sorted by it, and whether it is
// there.
func find(list []Property, id ID) (int, bool) {
	lo, hi := 0, len(list)
	for lo < hi {
		mid := (lo + hi) / 2
		if list[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(list) && list[lo].ID == id
}
