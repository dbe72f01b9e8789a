// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"fmt"
	"strings"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

// parseSet stores a value, read as what is stored there, or a typed property.
func (p *lineParser) parseSet(c call) (metabase.Op, error) {
	if c.prop != nil {
		return p.parseTyped(c)
	}
	t, err := p.find(p.exists, c.args)
	if err != nil {
		return nil, err
	}
	prop := t.prop
	form, err := p.form(t, c)
	if err != nil {
		return nil, err
	}
	v, err := p.value(t, prop.As(form.typ), c)
	if err != nil {
		return nil, err
	}
	if prop.Syntax == schema.Flag {
		whole, _ := p.Schema.ByID(prop.ID)
		item := form.item(prop.ID, prop.WithBit(whole.Default, v.DWord() != 0))
		p.stored[t.key()] = item
		return metabase.SetBits{Path: t.path, Property: item, Mask: prop.Mask}, nil
	}
	item := form.item(prop.ID, v)
	p.stored[t.key()] = item
	return metabase.Set{Path: t.path, Property: item}, nil
}

// parseTyped stores a property as it is.
func (p *lineParser) parseTyped(c call) (metabase.Op, error) {
	if len(c.args) != 1 || len(c.opts) > 0 {
		return nil, api.Usage("set takes PATH, and a typed property", "")
	}
	path, err := admin.ParsePath(c.args[0])
	if err != nil {
		return nil, err
	}
	item, err := c.prop.Property()
	if err != nil {
		return nil, api.Refused(string(path), err.Error())
	}
	p.stored[target{path: path, prop: schema.Prop{ID: item.ID}}.key()] = item
	if c.amends {
		return metabase.Amend{Path: path, Property: item}, nil
	}
	return metabase.Set{Path: path, Property: item}, nil
}

func (f filter) item(id metabase.ID, v metabase.Value) metabase.Property {
	return metabase.Property{ID: id, Attr: f.attr, UserType: f.user, Value: v}
}

// form is what an item of t is stored as: type, attributes and user type of
// what is there already, and of a number without a name also of what it
// inherits, so that a new value changes nothing else; else the schema's. Options
// go before all of that.
func (p *lineParser) form(t target, c call) (f filter, err error) {
	whole := t.prop
	if whole.Syntax == schema.Flag {
		whole, _ = p.Schema.ByID(t.prop.ID)
	}
	f = filter{whole.Attr, whole.UserType, whole.Type}
	if was, ok := p.model(t, whole.Type == metabase.AnyType); ok {
		f = filter{was.Attr &^ metabase.Locked, was.UserType, was.Value.Type()}
	}
	asked, err := c.filter()
	if err != nil {
		return f, err
	}
	at := string(admin.Canonical(p.view.Snapshot, t.path)) + ": " + t.prop.Label()
	if c.has("type") {
		if f.typ = asked.typ; whole.As(f.typ).Type != f.typ {
			return f, api.Refused(at, fmt.Sprintf("is a %s and takes no %s", whole.Type, f.typ))
		}
	}
	if c.has("attributes") {
		if f.attr = asked.attr; f.attr&metabase.Locked != 0 {
			return f, api.Refused(at, "LOCKED is not set as an attribute: lock it afterwards")
		}
	}
	if c.has("user-type") {
		f.user = asked.user
	}
	return f, nil
}

// model is the item that a new value of t is like: the one that is stored
// there after the earlier lines or else, with inherit, the nearest above that
// has it.
func (p *lineParser) model(t target, inherit bool) (metabase.Property, bool) {
	if !p.view.Sees(t.path) {
		return metabase.Property{}, false
	}
	for q := t.path; ; q = q.Parent() {
		item, ok := p.stored[target{path: q, prop: t.prop}.key()]
		if !ok {
			item, ok = p.view.Stored(p.source(q), t.prop.ID)
		}
		if ok && !item.Value.IsZero() {
			return item, q == t.path || item.Attr&metabase.Inherit != 0
		}
		if q == metabase.Root || !inherit {
			return metabase.Property{}, false
		}
	}
}

// source is where the key at path comes from, if an earlier line copies it.
func (p *lineParser) source(path metabase.Path) metabase.Path {
	if p.view.Has(path) {
		return path
	}
	for from := range p.sources(path) {
		if from != "" {
			return from
		}
	}
	return path
}

// value reads the words of a value.
func (p *lineParser) value(t target, prop schema.Prop, c call) (metabase.Value, error) {
	words, at := t.rest, string(admin.Canonical(p.view.Snapshot, t.path))
	if len(words) == 0 && !prop.TakesNone() {
		return metabase.Value{}, api.Usage("set takes PATH PROP VALUE...: "+prop.Label()+" needs a value", "help mb set")
	}
	if prop.Type == metabase.BinaryType && prop.Syntax != schema.IPList && len(words) == 1 && strings.HasPrefix(words[0], "@") {
		if c.file == nil || c.file.Why != "" {
			return metabase.Value{}, api.Refused(at+": "+prop.Label(), words[0]+": "+unread(c.file))
		}
		words = []string{c.file.Hex}
	}
	v, err := prop.Parse(words)
	var several schema.Several
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, schema.ErrArgs):
		return v, api.Usage(at+": "+prop.Label()+": "+err.Error(), "help mb set")
	case errors.As(err, &several):
		e := &api.Error{Kind: api.KindRefused}
		for _, one := range several {
			e.Problems = append(e.Problems, api.Problem{Path: at, Property: prop.Label(), Why: one.Error()})
		}
		return v, e
	case prop.Syntax == "" && !c.has("type"): // no name
		is := "what is stored there is a " + prop.Type.String()
		if prop.Type == metabase.AnyType {
			is = "nothing is stored there that says its type, and so it is read as a text"
		}
		err = fmt.Errorf("%w; %s, and --type makes it another", err, is)
	}
	e := api.Error{Kind: api.KindRefused, Text: at + ": " + prop.Label() + ": " + err.Error()}
	if prop.Name != "" {
		e.Hint = "mb schema " + prop.Name
	}
	return v, &e
}

func unread(f *api.File) string {
	if f == nil {
		return "is not read here"
	}
	return f.Why
}
