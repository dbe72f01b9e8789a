// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"strings"

	"restante/metabase/item"
	"restante/metabase/key"
)

// Volatiles are the properties that live in memory only, beside the tree: they
// have no revision and no history, and a change of them copies no part of the
// tree. The nil Volatiles are empty; like a tree they never change.
type Volatiles struct {
	ids  map[item.ID]bool // every id that was ever set; replaced, never changed in place
	keys *Kids            // nodes named by whole path
}

// Holding gives v if it may hold id, else nil.
func (v *Volatiles) Holding(id item.ID) *Volatiles {
	if v == nil || !v.ids[id] {
		return nil
	}
	return v
}

func (v *Volatiles) find(p key.Path, id item.ID) *item.Property {
	n := v.keys.Get(string(p))
	if n == nil {
		return nil
	}
	return n.Items.Find(id)
}

// Nearer gives what v holds at or above p[:end], and where, or found, which
// stands at p[:at], if that is nearer.
func (v *Volatiles) Nearer(p key.Path, end int, id item.ID, found *item.Property, at int) (*item.Property, int) {
	for ; end >= at; end = strings.LastIndexByte(string(p[:end]), '/') {
		if item := v.find(p.Prefix(end), id); item != nil {
			return item, end
		}
	}
	return found, at
}

// Get finds what is held for p itself.
func (v *Volatiles) Get(p key.Path, id item.ID) (item.Property, bool) {
	if v = v.Holding(id); v != nil {
		if found := v.find(p, id); found != nil {
			return *found, true
		}
	}
	return item.Property{}, false
}

// At lists what is held for p.
func (v *Volatiles) At(p key.Path) []item.Property {
	if v == nil {
		return nil
	}
	if n := v.keys.Get(string(p)); n != nil {
		return n.Items.All()
	}
	return nil
}

// With gives v with prop in the place of what had its ID at p.
func (v *Volatiles) With(p key.Path, prop item.Property) *Volatiles {
	next := &Volatiles{}
	if v != nil {
		*next = *v
	}
	if !next.ids[prop.ID] {
		ids := map[item.ID]bool{prop.ID: true}
		for id := range next.ids {
			ids[id] = true
		}
		next.ids = ids
	}
	n := next.keys.Get(string(p))
	if n == nil {
		n = &Node{Spelling: string(p)}
	}
	next.keys = next.keys.With(n.With(prop, 0))
	return next
}

// Without drops id at p, or with id 0 all that is held for p.
func (v *Volatiles) Without(p key.Path, id item.ID) *Volatiles {
	if v == nil {
		return nil
	}
	n := v.keys.Get(string(p))
	if n == nil {
		return v
	}
	next := *v
	if _, ok := n.Get(id); ok && len(n.Items.All()) > 1 {
		next.keys = v.keys.With(n.Without(id, 0))
	} else if ok || id == 0 {
		next.keys = v.keys.Without(string(p))
	}
	return &next
}
