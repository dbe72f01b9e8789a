// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"iter"

	"restante/metabase"
	"restante/metabase/schema"
)

// A view is one state of the tree as somebody may see it. All that objects
// read of the tree they read through one: what may not be read is not there.
type view struct {
	snap   metabase.Snapshot
	who    []metabase.Principal
	schema *schema.Schema
}

// look gives the newest view to somebody who may read p in it. The refusal is
// the tree's own, which audits it, and is the same whether there is a p or not.
func (d *Directory) look(ctx context.Context, p metabase.Path) (view, error) {
	for {
		v := view{d.tree.Snapshot(), d.who, d.schema}
		if v.sees(p) {
			return v, nil
		}
		if err := d.tree.Allow(ctx, d.who, d.as.Origin, p, metabase.Read); err != nil {
			return view{}, err
		}
		// The right was given just now: the next state has it.
	}
}

func (v view) sees(p metabase.Path) bool { return v.snap.Allows(v.who, p, metabase.Read) }

func (v view) key(p metabase.Path) (metabase.Key, bool) {
	if !v.sees(p) {
		return metabase.Key{}, false
	}
	return v.snap.Key(p)
}

// children yields the keys one level below p, in order.
func (v view) children(p metabase.Path) iter.Seq[metabase.Key] {
	return func(yield func(metabase.Key) bool) {
		for name := range v.snap.Children(p) {
			if k, ok := v.key(p.Join(name)); ok && !yield(k) {
				return
			}
		}
	}
}

// dataPaths lists the keys at and below p that store the property.
func (v view) dataPaths(p metabase.Path, id metabase.ID) (out []metabase.Path) {
	for _, q := range v.snap.DataPaths(p, id) {
		if v.sees(q) {
			out = append(out, q)
		}
	}
	return out
}

// stored is what p itself holds.
func (v view) stored(p metabase.Path, id metabase.ID) (metabase.Property, bool) {
	if !v.sees(p) {
		return metabase.Property{}, false
	}
	return v.snap.Stored(p, id)
}

// holds is what holds for p, which need not exist yet: stored, inherited, or
// the schema's default. As everywhere, who may read p may read what it
// inherits.
func (v view) holds(p metabase.Path, id metabase.ID) (metabase.Property, bool) {
	if item, ok := v.stored(p, id); ok {
		return item, true
	}
	return v.inherited(p, id)
}

// inherited is what would hold for p if it stored nothing.
func (v view) inherited(p metabase.Path, id metabase.ID) (metabase.Property, bool) {
	if !v.sees(p) {
		return metabase.Property{}, false
	}
	if p != metabase.Root && id != metabase.KeyType {
		item, _, ok := v.snap.Effective(p.Parent(), id)
		if ok && item.Attr&metabase.Inherit != 0 {
			item.Attr |= metabase.IsInherited
			return item, true
		}
	}
	known, ok := v.schema.ByID(id)
	return known.Item(known.Default), ok && known.HasDefault()
}
