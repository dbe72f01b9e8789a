// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"strconv"
	"time"

	"restante/metabase"
	"restante/metabase/schema"
)

// The calls that read the tree.
const (
	MbGet    Method[GetRequest, Item]          = "mb/get"
	MbShow   Method[ShowRequest, []Item]       = "mb/show"
	MbList   Method[ListRequest, []Key]        = "mb/ls"
	MbFind   Method[FindRequest, []Item]       = "mb/find"
	MbSchema Method[SchemaRequest, []Sentence] = "mb/schema"
)

// A GetRequest asks for one property: PATH PROP, or PATH/PROP in one word.
type GetRequest struct {
	Words   []string     `json:"words"`
	Stored  bool         `json:"stored,omitempty"`  // only what is stored there
	Default bool         `json:"default,omitempty"` // only the schema's
	Rev     metabase.Rev `json:"rev,omitempty"`     // as of then; 0: now
}

// An Item is a property with its value, and where that comes from.
type Item struct {
	Path     metabase.Path `json:"path"` // the key that was asked
	Property string        `json:"property"`
	ID       metabase.ID   `json:"id"`
	Type     string        `json:"type"`
	Value    any           `json:"value"`
	Text     []string      `json:"text"` // the value as people read it, line by line
	Level    string        `json:"level"`
	From     metabase.Path `json:"from,omitempty"` // the key that has it
	Locked   bool          `json:"locked,omitempty"`
	Made     *Made         `json:"made,omitempty"` // who put it there, where that is known
	attr     metabase.Attr
}

// The levels of an Item.
const (
	LevelStored    = "stored"
	LevelInherited = "inherited"
	LevelDefault   = "default"
)

// Made says which revision something comes from.
type Made struct {
	Rev     metabase.Rev       `json:"rev"`
	Time    time.Time          `json:"time,omitzero"`
	Actor   metabase.Principal `json:"actor,omitempty"`
	Origin  metabase.Origin    `json:"origin,omitempty"`
	Comment string             `json:"comment,omitempty"`
}

// A ShowRequest asks for the properties of a key.
type ShowRequest struct {
	Path string `json:"path"`
	All  bool   `json:"all,omitempty"` // what is inherited and the defaults, too
}

// A ListRequest asks for the keys below one, or with Deep for all of them.
type ListRequest struct {
	Path string `json:"path"`
	Deep bool   `json:"deep,omitempty"`
}

// A Key is a key of the tree.
type Key struct {
	Name     string        `json:"name"`
	Path     metabase.Path `json:"path"`
	Class    string        `json:"class"`
	Children int           `json:"children"`
	Modified time.Time     `json:"modified,omitzero"`
}

// A FindRequest asks where a property is stored, at and below a path.
type FindRequest struct {
	Property string `json:"property"`
	Path     string `json:"path"`
}

// A SchemaRequest asks what a class or a property is; "" for a list of all.
type SchemaRequest struct {
	Name string `json:"name"`
}

// A Sentence explains a class or a property.
type Sentence struct {
	Name      string      `json:"name"`
	Kind      string      `json:"kind"` // class or property
	ID        metabase.ID `json:"id,omitempty"`
	Type      string      `json:"type,omitempty"`
	Unit      string      `json:"unit,omitempty"`
	Default   string      `json:"default,omitempty"`
	Classes   []string    `json:"classes,omitempty"`
	Mandatory []string    `json:"mandatory,omitempty"`
	Optional  []string    `json:"optional,omitempty"`
	Contains  []string    `json:"contains,omitempty"`
	Meaning   string      `json:"meaning,omitempty"`
	Text      string      `json:"text,omitempty"` // all of it, for people
}

func (d *Desk) treeCalls() {
	on(d, MbGet, d.get)
	on(d, MbShow, d.show)
	on(d, MbList, d.list)
	on(d, MbFind, d.findStored)
	on(d, MbSchema, d.explainSchema)
	on(d, MbApply, d.apply)
	on(d, MbConfirm, d.confirm)
	on(d, MbLog, d.log)
	on(d, MbDiff, d.diff)
	on(d, MbRevert, d.revert)
	onFlow(d, MbWatch, d.watch)
	on(d, MbExport, d.export)
	on(d, MbImport, d.importXML)
	on(d, MbBackup, d.backup)
	on(d, MbBackups, d.backups)
	on(d, MbRestore, d.restore)
	on(d, MbVerify, d.verify)
}

func (d *Desk) get(ctx context.Context, who Caller, q GetRequest) (Item, error) {
	snap, err := d.asOf(ctx, q.Rev)
	if err != nil {
		return Item{}, err
	}
	t, err := d.find(snap.Has, q.Words)
	if err != nil {
		return Item{}, d.veil(ctx, who, first(q.Words), err)
	}
	if len(t.rest) > 0 {
		return Item{}, usage("takes one property", "")
	}
	path := spelled(snap, t.path)
	if err := d.allow(ctx, who, path, metabase.Read); err != nil {
		return Item{}, err
	}
	it, ok := d.item(snap, path, t.prop, q.Stored, q.Default)
	if !ok {
		return Item{}, missing(string(path), t.prop.Label()+": "+absent(q))
	}
	d.provenance(ctx, snap, &it)
	return it, nil
}

// first is the first of words, or "".
func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

func absent(q GetRequest) string {
	switch {
	case q.Stored:
		return "not stored there"
	case q.Default:
		return "has no default"
	}
	return "not set, and has no default"
}

// asOf is the tree at a revision, 0 for now.
func (d *Desk) asOf(ctx context.Context, rev metabase.Rev) (metabase.Snapshot, error) {
	if rev == 0 {
		return d.tree.Snapshot(), nil
	}
	return d.tree.At(ctx, rev)
}

// item reads one property; ok is false when it has no value in the sense that
// is asked for.
func (d *Desk) item(snap metabase.Snapshot, path metabase.Path, p schema.Prop, stored, byDefault bool) (Item, bool) {
	whole := p
	if p.Syntax == schema.Flag {
		whole, _ = d.schema.ByID(p.ID)
	}
	held, from, ok := snap.Effective(path, p.ID)
	level := LevelInherited
	switch {
	case byDefault:
		ok, level = whole.HasDefault(), LevelDefault
		held, from = metabase.Property{ID: p.ID, Value: whole.Default}, ""
	case ok && from.Equal(path):
		level = LevelStored
	case stored:
		return Item{}, false
	case !ok && whole.HasDefault():
		ok, level = true, LevelDefault
		held = metabase.Property{ID: p.ID, Value: whole.Default}
	}
	if !ok {
		return Item{}, false
	}
	if p.Syntax == schema.Flag {
		held.Value = p.Bit(held.Value)
	}
	it := Item{
		Path: path, Property: p.Label(), ID: p.ID, Type: held.Value.Type().String(),
		Value: jsonValue(p, held.Value), Text: p.Format(held.Value),
		Level: level, From: spelled(snap, from),
		Locked: held.Attr&metabase.Locked != 0,
		attr:   held.Attr,
	}
	if from == "" {
		it.From = ""
	}
	if held.Attr&metabase.Secure != 0 || p.Attr&metabase.Secure != 0 {
		it.Value, it.Text = secret, []string{secret}
	}
	if held.Rev > 0 {
		it.Made = &Made{Rev: held.Rev}
	}
	return it, true
}

// secret stands for a value that is not shown.
const secret = "**********"

// jsonValue is v for a program: booleans are booleans.
func jsonValue(p schema.Prop, v metabase.Value) any {
	if (p.Syntax == schema.Boolean || p.Syntax == schema.Flag) && v.Type() == metabase.DWordType {
		return v.DWord() != 0
	}
	return v
}

// provenance fills in who made the revision that an item comes from; where the
// history does not reach back so far, the number must do.
func (d *Desk) provenance(ctx context.Context, snap metabase.Snapshot, it *Item) {
	if it.Made == nil {
		return
	}
	if r, err := d.tree.Record(ctx, it.Made.Rev); err == nil {
		*it.Made = Made{r.Rev, r.Time, r.Actor, r.Origin, r.Comment}
	}
}

func (d *Desk) show(ctx context.Context, who Caller, q ShowRequest) ([]Item, error) {
	snap := d.tree.Snapshot()
	path, err := d.keyOf(ctx, who, snap, q.Path)
	if err != nil {
		return nil, err
	}
	items := []Item{}
	seen := map[metabase.ID]bool{}
	add := func(id metabase.ID) {
		if seen[id] {
			return
		}
		seen[id] = true
		p, ok := d.schema.ByID(id)
		if !ok {
			p, _ = d.schema.Property(number(id))
		}
		if it, ok := d.item(snap, path, p, false, false); ok {
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
	for p := range d.schema.Props() {
		if p.Syntax != schema.Flag && p.HasDefault() && p.In(class) {
			add(p.ID)
		}
	}
	return items, nil
}

// number is how a property without a name is called.
func number(id metabase.ID) string { return strconv.FormatUint(uint64(id), 10) }

func (d *Desk) list(ctx context.Context, who Caller, q ListRequest) ([]Key, error) {
	snap := d.tree.Snapshot()
	path, err := d.keyOf(ctx, who, snap, q.Path)
	if err != nil {
		return nil, err
	}
	keys := []Key{}
	add := func(p metabase.Path) {
		if k, ok := snap.Key(p); ok && snap.Allows(who.Who, p, metabase.Read) {
			keys = append(keys, Key{k.Path.Base(), k.Path, k.Class, k.Children, k.Modified})
		}
	}
	if q.Deep {
		for p := range snap.Walk(path) {
			add(p)
		}
		return keys, ctx.Err()
	}
	for name := range snap.Children(path) {
		add(path.Join(name))
	}
	return keys, nil
}

func (d *Desk) findStored(ctx context.Context, who Caller, q FindRequest) ([]Item, error) {
	snap := d.tree.Snapshot()
	path, err := d.keyOf(ctx, who, snap, q.Path)
	if err != nil {
		return nil, err
	}
	p, err := d.schema.Lookup(q.Property)
	if err != nil {
		return nil, missing("", err.Error())
	}
	items := []Item{}
	for _, at := range snap.DataPaths(path, p.ID) {
		if it, ok := d.item(snap, at, p, true, false); ok && snap.Allows(who.Who, at, metabase.Read) {
			items = append(items, it)
		}
	}
	return items, nil
}

func (d *Desk) explainSchema(_ context.Context, _ Caller, q SchemaRequest) ([]Sentence, error) {
	if q.Name != "" {
		if c, ok := d.schema.Class(q.Name); ok {
			return []Sentence{ofClass(c)}, nil
		}
		p, err := d.schema.Lookup(q.Name)
		if err != nil || p.Name == "" && p.Type == metabase.AnyType {
			return nil, missing(q.Name, "is neither a class nor a property")
		}
		return []Sentence{ofProp(p)}, nil
	}
	var all []Sentence
	for c := range d.schema.Classes() {
		all = append(all, ofClass(c))
	}
	for p := range d.schema.Props() {
		all = append(all, ofProp(p))
	}
	return all, nil
}

func ofClass(c schema.Class) Sentence {
	return Sentence{
		Name: c.Name, Kind: "class", Meaning: c.Sentence, Mandatory: c.Mandatory,
		Optional: c.Optional, Contains: c.Contains, Text: c.Describe(),
	}
}

func ofProp(p schema.Prop) Sentence {
	return Sentence{
		Name: p.Label(), Kind: "property", ID: p.ID, Type: p.TypeText(), Unit: p.Unit,
		Default: p.DefaultText(), Classes: p.Classes, Meaning: p.Sentence, Text: p.Describe(),
	}
}
