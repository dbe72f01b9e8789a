// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"cmp"
	"context"
	"errors"
	"strconv"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

func (d handlers) get(ctx context.Context, who api.Caller, q api.GetRequest) (api.Item, error) {
	snap, err := d.open(ctx, who, q)
	if err != nil {
		return api.Item{}, err
	}
	has := snap.Has
	if q.Partial {
		has = d.partly(snap, q.Words)
	}
	t, err := d.find(has, q.Words)
	if err != nil {
		return api.Item{}, err
	}
	if len(t.rest) > 0 {
		return api.Item{}, api.Usage("takes one property", "")
	}
	path := admin.Canonical(snap, t.path)
	for q.Partial && !snap.Has(path) {
		path = admin.Canonical(snap, path.Parent())
	}
	it, ok := d.item(snap, path, t.prop, reading{stored: q.Stored, byDefault: q.Default, raw: q.Stored})
	if !ok {
		return api.Item{}, api.Missing(string(path), t.prop.Label()+": "+absent(q))
	}
	d.provenance(ctx, snap, &it)
	return it, nil
}

// partly takes every path for that of a key, but for PATH/PROP in one word.
func (d handlers) partly(snap metabase.Snapshot, words []string) func(metabase.Path) bool {
	return func(p metabase.Path) bool {
		if snap.Has(p) || len(words) == 0 {
			return snap.Has(p)
		}
		whole, err := admin.ParsePath(words[0])
		_, one := d.oneWord(p, words)
		return err != nil || !one || !p.Equal(whole)
	}
}

// open gives the tree at the revision that is asked for, once it is known that
// the caller may read there: by the lists of today and by those of then, so
// that a key that is gone shows nothing that it did not show.
func (d handlers) open(ctx context.Context, who api.Caller, q api.GetRequest) (metabase.Snapshot, error) {
	if len(q.Words) == 0 {
		return d.asOf(ctx, q.Rev) // for find to say what is needed
	}
	p, err := admin.ParsePath(q.Words[0])
	if err != nil {
		return metabase.Snapshot{}, err
	}
	d = d.live(p, false, false)
	denied := d.AllowNamed(ctx, who, p, metabase.Read)
	if errors.Is(denied, metabase.Denied) {
		return metabase.Snapshot{}, denied
	}
	snap, err := d.asOf(ctx, q.Rev)
	switch v := snap.View(who.Who); {
	case err != nil || denied != nil:
		return snap, cmp.Or(err, denied)
	case !v.Sees(p):
		if err = d.Deny(ctx, who, p, metabase.Read, p, ""); v.Conceals(p, metabase.Read) {
			err = api.Missing(string(p), "not found")
		}
	}
	return snap, err
}

func absent(q api.GetRequest) string {
	switch {
	case q.Stored:
		return "not stored there"
	case q.Default:
		return "has no default"
	}
	return "not set, and has no default"
}

// asOf is the tree at a revision, 0 for now.
func (d handlers) asOf(ctx context.Context, rev *metabase.Rev) (metabase.Snapshot, error) {
	if rev == nil {
		return d.Tree.Snapshot(), nil
	}
	return d.Tree.At(ctx, *rev)
}

// A reading is the sense in which a value is asked for: what holds, unless it
// says more.
type reading struct {
	stored, byDefault bool
	raw               bool // the token of INSERT_PATH stays
}

// item reads one property; ok is false when it has no value in the sense that
// is asked for.
func (d handlers) item(snap metabase.Snapshot, path metabase.Path, p schema.Prop, how reading) (api.Item, bool) {
	held, from, level := d.held(snap, path, p, how)
	if level == "" {
		return api.Item{}, false
	}
	if p.Syntax == schema.Flag {
		held.Value = p.Bit(held.Value)
	}
	if from != "" {
		from = admin.Canonical(snap, from)
	}
	if !how.raw {
		held.Value, _ = held.Inserted(string(from))
	}
	it := api.Item{
		Path: path, Property: p.Label(), ID: p.ID, Type: held.Value.Type().String(),
		Value: jsonValue(p, held.Value), Text: p.Plain(held.Value),
		Level: level, From: from, Attributes: held.Attr.String(), UserType: held.UserType,
		Locked: held.Attr&metabase.Locked != 0,
	}
	if level != api.LevelDefault && (held.Attr|p.Attr)&metabase.Secure != 0 {
		it.Value, it.Text = metabase.Asterisks, []string{metabase.Asterisks}
	}
	if held.Rev > 0 {
		it.Made = &api.Provenance{Rev: held.Rev}
	}
	return it, true
}

// held finds what item reads, and the key that has it; level is "" when there
// is nothing.
func (d handlers) held(snap metabase.Snapshot, path metabase.Path, p schema.Prop, how reading) (held metabase.Property, from metabase.Path, level string) {
	whole := p
	if p.Syntax == schema.Flag {
		whole, _ = d.Schema.ByID(p.ID)
	}
	held, from, ok := snap.Effective(path, p.ID)
	switch {
	case ok && !how.byDefault && from.Equal(path):
		return held, from, api.LevelStored
	case how.stored:
		return held, "", ""
	case ok && !how.byDefault:
		return held, from, api.LevelInherited
	case whole.HasDefault():
		return whole.Item(whole.Default), "", api.LevelDefault
	}
	return held, "", ""
}

// jsonValue is v for a program: booleans are booleans.
func jsonValue(p schema.Prop, v metabase.Value) any {
	if (p.Syntax == schema.Boolean || p.Syntax == schema.Flag) && v.Type() == metabase.DWordType {
		return v.DWord() != 0
	}
	return v
}

// provenance fills in who made the revision that an item comes from; where the
// history does not reach back so far, the number must do.
func (d handlers) provenance(ctx context.Context, snap metabase.Snapshot, it *api.Item) {
	if it.Made == nil {
		return
	}
	if r, err := d.Tree.Record(ctx, it.Made.Rev); err == nil {
		*it.Made = api.Provenance{Rev: r.Rev, Time: r.Time, Actor: r.Actor, Origin: r.Origin, Comment: r.Comment}
	}
}

func (d handlers) show(ctx context.Context, who api.Caller, q api.ShowRequest) ([]api.Item, error) {
	if at, err := admin.ParsePath(q.Path); err == nil {
		d = d.live(at, false, false)
	}
	snap := d.Tree.Snapshot()
	path, err := d.keyOf(ctx, who, snap, q.Path)
	if err != nil {
		return nil, err
	}
	items := []api.Item{}
	seen := map[metabase.ID]bool{}
	add := func(id metabase.ID) {
		if seen[id] {
			return
		}
		seen[id] = true
		p, ok := d.Schema.ByID(id)
		if !ok {
			p, _ = d.Schema.Property(number(id))
		}
		if it, ok := d.item(snap, path, p, reading{raw: true}); ok {
			d.provenance(ctx, snap, &it)
			items = append(items, it)
		}
	}
	for _, p := range snap.Properties(path) {
		add(p.ID)
	}
	if !q.All {
		return items, nil
	}
	for _, p := range snap.AllProperties(path) {
		add(p.ID)
	}
	class := snap.Class(path)
	for p := range d.Schema.Props() {
		if p.Syntax != schema.Flag && p.HasDefault() && p.In(class) {
			add(p.ID)
		}
	}
	return items, nil
}

// number is how a property without a name is called.
func number(id metabase.ID) string { return strconv.FormatUint(uint64(id), 10) }

func (d handlers) list(ctx context.Context, who api.Caller, q api.ListRequest) ([]api.Key, error) {
	if at, err := admin.ParsePath(q.Path); err == nil {
		d = d.live(at, true, q.Deep)
	}
	v := d.View(who)
	path, err := d.placeOf(ctx, who, v, q.Path)
	if err != nil {
		return nil, err
	}
	keys := []api.Key{}
	add := func(p metabase.Path) { keys = append(keys, listed(v, p, q.Data)) }
	if q.Deep {
		for p := range v.Walk(path) {
			add(p)
		}
		return keys, context.Cause(ctx)
	}
	for name := range v.Children(path) {
		add(path.Join(name))
	}
	return keys, nil
}

// listed is a key as it is listed. Of one that the caller may not read, and that
// leads to one that the caller may, the name is all.
func listed(v *metabase.View, p metabase.Path, data bool) api.Key {
	k, _ := v.Key(p)
	out := api.Key{Name: k.Path.Base(), Path: k.Path, Children: v.Count(p)}
	if v.Sees(p) {
		out.Class, out.Modified, out.LastChange = k.Class, k.Modified, k.Modified
		if data {
			out.DataSet = v.DataSet(p)
		}
	}
	return out
}

func (d handlers) findStored(ctx context.Context, who api.Caller, q api.FindRequest) ([]api.Item, error) {
	v := d.View(who)
	path, err := d.placeOf(ctx, who, v, q.Path)
	if err != nil {
		return nil, err
	}
	p, err := d.Schema.Lookup(q.Property)
	if err != nil {
		return nil, api.Missing("", err.Error())
	}
	items := []api.Item{}
	for _, at := range v.DataPaths(path, p.ID) {
		if held, _ := v.Stored(at, p.ID); q.Inheritable && held.Attr&metabase.Inherit == 0 {
			continue
		}
		if it, ok := d.item(v.Snapshot, at, p, reading{stored: true, raw: true}); ok {
			items = append(items, it)
		}
	}
	return items, nil
}

func (d handlers) explainSchema(_ context.Context, _ api.Caller, q api.SchemaRequest) ([]api.Description, error) {
	if q.Name != "" {
		if c, ok := d.Schema.Class(q.Name); ok {
			return []api.Description{ofClass(c)}, nil
		}
		p, err := d.Schema.Lookup(q.Name)
		if err != nil || p.Name == "" && p.Type == metabase.AnyType {
			return nil, api.Missing(q.Name, "is neither a class nor a property")
		}
		return []api.Description{ofProp(p)}, nil
	}
	var all []api.Description
	for c := range d.Schema.Classes() {
		all = append(all, ofClass(c))
	}
	for p := range d.Schema.Props() {
		all = append(all, ofProp(p))
	}
	return all, nil
}

func ofClass(c schema.Class) api.Description {
	return api.Description{
		Name: c.Name, Kind: "class", Meaning: c.Sentence, Mandatory: c.Mandatory,
		Optional: c.Optional, Contains: c.Contains, Text: c.Describe(),
	}
}

func ofProp(p schema.Prop) api.Description {
	out := api.Description{
		Name: p.Label(), Kind: "property", ID: p.ID, Type: p.TypeText(), Unit: p.Unit,
		Attributes: p.Attr.String(), UserType: p.UserType, OrZero: p.OrZero,
		Classes: p.Classes, Meaning: p.Sentence, Text: p.Describe(),
	}
	if p.HasDefault() {
		out.Default, out.DefaultText = jsonValue(p, p.Default), p.Plain(p.Default)
	}
	if low, high, ok := p.Range(); ok {
		out.Min, out.Max = &low, &high
	}
	for _, f := range p.Flags {
		value := int64(f.Mask)
		if p.Min < 0 {
			value = int64(int32(f.Mask)) // written with a sign
		}
		out.Values = append(out.Values, api.NamedValue{Name: f.Name, Value: value, Meaning: f.Sentence})
	}
	return out
}
