// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"iter"

	"restante/metabase"
	"restante/metabase/schema"
)

// A view is the state of the tree as the script's author may see it. Objects
// read the tree through a view only.
type view struct {
	*metabase.View
	schema *schema.Schema
}

// look gives the newest view to a caller who may read p in it. The error is the
// tree's own, which audits it, and is the same whether p exists or not.
func (d *Directory) look(ctx context.Context, p metabase.Path) (view, error) {
	for {
		v := view{d.tree.Snapshot().View(d.who), d.schema}
		if v.Sees(p) {
			return v, nil
		}
		if err := d.tree.Allow(ctx, d.who, d.as.Origin, p, metabase.Read); err != nil {
			return view{}, err
		}
		// The right was given after the snapshot: the next one has it.
	}
}

func (v view) key(p metabase.Path) (metabase.Key, bool) {
	if !v.Sees(p) {
		return metabase.Key{}, false
	}
	return v.Key(p)
}

// children yields the keys one level below p, in order.
func (v view) children(p metabase.Path) iter.Seq[metabase.Key] {
	return func(yield func(metabase.Key) bool) {
		for name := range v.Children(p) {
			if k, ok := v.key(p.Join(name)); ok && !yield(k) {
				return
			}
		}
	}
}

// stored is what p itself holds.
func (v view) stored(p metabase.Path, id metabase.ID) (metabase.Property, bool) {
	if !v.Sees(p) {
		return metabase.Property{}, false
	}
	return v.Stored(p, id)
}

// holds is what holds for p, which need not exist yet: stored, inherited, or
// the schema's default. A caller who may read p may read what it inherits.
func (v view) holds(p metabase.Path, id metabase.ID) (metabase.Property, bool) {
	if item, ok := v.stored(p, id); ok {
		return item, true
	}
	return v.inherited(p, id)
}

// inherited is what would hold for p if it stored nothing.
func (v view) inherited(p metabase.Path, id metabase.ID) (metabase.Property, bool) {
	if !v.Sees(p) {
		return metabase.Property{}, false
	}
	if p != metabase.Root && id != metabase.KeyType {
		item, _, ok := v.Effective(p.Parent(), id)
		if ok && item.Attr&metabase.Inherit != 0 {
			item.Attr |= metabase.IsInherited
			return item, true
		}
	}
	known, ok := v.schema.ByID(id)
	return known.Item(known.Default), ok && known.HasDefault()
}
