// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"iter"
	"slices"

	"restante/metabase"
	"restante/metabase/schema"
)

// A Key is one key as of a revision, or the place of one that does not exist.
// Secure values are left out.
type Key struct {
	Path      metabase.Path // as the tree spells it
	Class     string
	Exists    bool
	Rev       metabase.Rev
	Stored    []metabase.Property
	Inherited []metabase.Property // what holds where it stores nothing, without defaults
}

// ReadKey reads the key at p, which the caller may read. A caller who may read
// p may read what it inherits.
func ReadKey(v *metabase.View, p metabase.Path) Key {
	k := readStored(v, p)
	if p != metabase.Root {
		for _, item := range v.AllProperties(p.Parent()) {
			k.Inherited = handOn(k.Inherited, item.Property)
		}
	}
	return k
}

// ReadChildren yields the keys one level below p that the caller may read, in
// order, without what they inherit, which is parent.HandsDown of the key at p.
func ReadChildren(v *metabase.View, p metabase.Path) iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for at, stored := range v.ChildKeys(p) {
			if !yield(keyOf(v, at, stored)) {
				return
			}
		}
	}
}

func readStored(v *metabase.View, p metabase.Path) Key {
	k := Key{Path: p, Rev: v.Rev()}
	at, ok := v.Key(p)
	if !ok {
		return k
	}
	return keyOf(v, at, v.Properties(p))
}

func keyOf(v *metabase.View, at metabase.Key, stored []metabase.Property) Key {
	k := Key{Path: at.Path, Class: at.Class, Exists: true, Rev: v.Rev()}
	for _, item := range stored {
		k.Stored = append(k.Stored, item.Redacted())
	}
	return k
}

// HandsDown is what the children of the key inherit.
func (k Key) HandsDown() (list []metabase.Property) {
	for _, item := range k.Stored {
		list = handOn(list, item)
	}
	for _, item := range k.Inherited {
		if _, nearer := find(k.Stored, item.ID); !nearer {
			list = handOn(list, item)
		}
	}
	return list
}

func handOn(list []metabase.Property, item metabase.Property) []metabase.Property {
	if item.Attr&metabase.Inherit == 0 || item.ID == metabase.KeyType {
		return list
	}
	item.Attr |= metabase.IsInherited
	return append(list, item.Redacted())
}

func find(list []metabase.Property, id metabase.ID) (metabase.Property, bool) {
	i := slices.IndexFunc(list, func(item metabase.Property) bool { return item.ID == id })
	if i < 0 {
		return metabase.Property{}, false
	}
	return list[i], true
}

// A view is a key with the schema's defaults. Objects read their key through it.
type view struct {
	Key
	schema *schema.Schema
}

// look gives what the object has read of its key, and reads it anew where the
// directory has changed anything since.
func (o *Object) look(ctx context.Context) (view, error) {
	if o.read.schema != nil && o.at == o.dir.edits {
		return o.read, nil
	}
	return o.lookAnew(ctx)
}

func (o *Object) lookAnew(ctx context.Context) (view, error) {
	at := o.dir.edits
	key, err := o.dir.tree.Key(ctx, o.path)
	if err != nil {
		return view{}, err
	}
	o.read, o.at = view{key, o.dir.schema}, at
	return o.read, nil
}

// stored is what the key itself holds.
func (v view) stored(id metabase.ID) (metabase.Property, bool) { return find(v.Stored, id) }

// effective is what holds for the key, which need not exist yet: stored, inherited,
// or the schema's default.
func (v view) effective(id metabase.ID) state {
	if item, ok := v.stored(id); ok {
		return state{item: item, known: true, set: true}
	}
	return v.inherited(id)
}

// inherited is what would hold for the key if it stored nothing.
func (v view) inherited(id metabase.ID) state {
	if item, ok := find(v.Inherited, id); ok {
		return state{item: item, known: true, set: true}
	}
	known, ok := v.schema.ByID(id)
	return state{item: known.Item(known.Default), known: ok && known.HasDefault()}
}
