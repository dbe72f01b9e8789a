// SPDX-License-Identifier: Apache-2.0

package metabase

import "strings"

// volatiles are the properties that live in memory only, beside the tree: they
// have no revision and no history, and a change of them copies no part of the
// tree. The nil volatiles are empty; like an image they never change.
type volatiles struct {
	ids  map[ID]bool // every id that was ever set; replaced, never changed in place
	keys *kids       // nodes named by whole path
}

// holding gives v if it may hold id, else nil.
func (v *volatiles) holding(id ID) *volatiles {
	if v == nil || !v.ids[id] {
		return nil
	}
	return v
}

func (v *volatiles) find(p Path, id ID) *Property {
	n := v.keys.Get(string(p))
	if n == nil {
		return nil
	}
	return n.items.find(id)
}

// nearer gives what v holds at or above p[:end], and where, or found, which
// stands at p[:at], if that is nearer.
func (v *volatiles) nearer(p Path, end int, id ID, found *Property, at int) (*Property, int) {
	for ; end >= at; end = strings.LastIndexByte(string(p[:end]), '/') {
		if item := v.find(upTo(p, end), id); item != nil {
			return item, end
		}
	}
	return found, at
}

func (v *volatiles) get(p Path, id ID) (Property, bool) {
	if v = v.holding(id); v != nil {
		if found := v.find(p, id); found != nil {
			return *found, true
		}
	}
	return Property{}, false
}

// at lists what is held for p.
func (v *volatiles) at(p Path) []Property {
	if v == nil {
		return nil
	}
	if n := v.keys.Get(string(p)); n != nil {
		return n.items.list
	}
	return nil
}

func (v *volatiles) with(p Path, prop Property) *volatiles {
	next := &volatiles{}
	if v != nil {
		*next = *v
	}
	if !next.ids[prop.ID] {
		ids := map[ID]bool{prop.ID: true}
		for id := range next.ids {
			ids[id] = true
		}
		next.ids = ids
	}
	n := next.keys.Get(string(p))
	if n == nil {
		n = &node{name: string(p)}
	}
	next.keys = next.keys.With(n.with(prop, 0))
	return next
}

// without drops id at p, or with id 0 all that is held for p.
func (v *volatiles) without(p Path, id ID) *volatiles {
	if v == nil {
		return nil
	}
	n := v.keys.Get(string(p))
	if n == nil {
		return v
	}
	next := *v
	if _, ok := n.get(id); ok && len(n.items.list) > 1 {
		next.keys = v.keys.With(n.without(id, 0))
	} else if ok || id == 0 {
		next.keys = v.keys.Without(string(p))
	}
	return &next
}
