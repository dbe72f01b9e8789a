// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// A StoredProperty is a property that a key stores itself.
type StoredProperty struct {
	Name   string
	Syntax string // IIS's word: String, ExpandSz, Integer, Boolean, List, IPSec or Binary
	Value  any    // see Object.Get
}

// StoredHere gives what the key itself stores of a property. It is false where a
// value is inherited, is the schema's default, or is not there at all.
func (o *Object) StoredHere(ctx context.Context, name string) (stored StoredProperty, ok bool, err error) {
	p, err := o.prop("Get", name)
	if err != nil {
		return StoredProperty{}, false, err
	}
	v, err := o.lookAnew(ctx)
	if err != nil {
		return StoredProperty{}, false, o.dir.wrap("Get", o.ADsPath(), err)
	}
	item, ok := v.stored(p.ID)
	if !ok {
		return StoredProperty{}, false, nil
	}
	stored, err = storedProperty(p, item)
	return stored, true, o.dir.wrap("Get", o.ADsPath(), err)
}

// AllStored gives all that the key itself stores: the properties of its class in
// the schema's order, mandatory ones first, then those that the class does not
// name.
func (o *Object) AllStored(ctx context.Context) ([]StoredProperty, error) {
	v, err := o.lookAnew(ctx)
	if err != nil {
		return nil, o.dir.wrap("Get", o.ADsPath(), err)
	}
	class, _ := o.dir.schema.Class(o.class)
	names := slices.Concat(class.Mandatory, class.Optional)
	for _, item := range v.Stored {
		p, ok := o.dir.schema.ByID(item.ID)
		if !ok {
			p, _ = o.dir.schema.Lookup(labelOf(item.ID))
		}
		if !slices.Contains(names, p.Label()) {
			names = append(names, p.Label())
		}
	}
	var out []StoredProperty
	for _, name := range names {
		p, err := o.dir.schema.Lookup(name)
		item, ok := v.stored(p.ID)
		if err != nil || !ok {
			continue
		}
		stored, err := storedProperty(p, item)
		if err != nil {
			return nil, o.dir.wrap("Get", o.ADsPath(), err)
		}
		out = append(out, stored)
	}
	return out, nil
}

func labelOf(id metabase.ID) string { return schema.Prop{ID: id}.Label() }

func storedProperty(p schema.Prop, item metabase.Property) (StoredProperty, error) {
	p = typed(p, item.Value.Type(), nil)
	stored := StoredProperty{Name: p.Label(), Syntax: syntax(p)}
	if item.Value.Type() == metabase.ExpandSZType {
		stored.Syntax = "ExpandSz"
	}
	if p.Syntax != schema.IPList {
		stored.Value = state{item: item, set: true}.native(p)
		return stored, nil
	}
	list, err := ipListOf(p, item.Value)
	stored.Value = list
	return stored, err
}

// ClassAt gives the class that a new key at an ADsPath has by its place, IIsObject
// where the place allows several.
func (d *Directory) ClassAt(ctx context.Context, adsPath string) (string, error) {
	path, err := parsePath(ctx, adsPath)
	if err != nil {
		return "", &Error{Code: CodeBadName, Op: "Create", On: adsPath, Err: err}
	}
	var above []string
	for at := path; at != metabase.Root; {
		at = at.Parent()
		class := "" // of the root, which nothing says of
		if at != metabase.Root {
			key, err := d.tree.Key(ctx, at)
			if err != nil {
				return "", d.wrap("Create", adsPath, err)
			}
			class = key.Class
		}
		above = append(above, class)
	}
	if class := d.schema.ClassBelow(above, path.Base()); class != "" {
		return class, nil
	}
	return schema.Object, nil
}

// Below gives what follows IIS://LocalHost/ in an object's ADsPath.
func Below(adsPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(adsPath, "IIS://LocalHost"), "/")
}
