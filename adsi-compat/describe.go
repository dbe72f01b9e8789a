// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// Facts is an object that can only be read: values by name, each a bool,
// uint32, int64, string, []string, []byte, IPList or nil.
type Facts map[string]any

const schemaPath = "IIS://LocalHost/Schema/"

// Describe gives the class or property that a path IIS://HOST/Schema/NAME
// names; ok is false for every other path. Of the schema nothing is secret.
func (d *Directory) Describe(ctx context.Context, path string) (f Facts, ok bool) {
	p, err := parsePath(ctx, path)
	if err != nil || !p.Within("/Schema") {
		return nil, false
	}
	name := p.Base()
	switch above := p.Parent(); {
	case above.Equal("/Schema"):
	case above.Equal("/Schema/Classes"):
		return d.class(name)
	case above.Equal("/Schema/Properties"):
		return d.property(name)
	default:
		return nil, false
	}
	if f, ok := d.class(name); ok {
		return f, true
	}
	return d.property(name)
}

func (d *Directory) class(name string) (Facts, bool) {
	c, ok := d.schema.Class(name)
	if !ok {
		return nil, false
	}
	return Facts{
		"Name": c.Name, "Class": "Class", "ADsPath": schemaPath + c.Name, "Parent": strings.TrimSuffix(schemaPath, "/"),
		"MandatoryProperties": c.Mandatory, "OptionalProperties": c.Optional,
		"Container": c.Container(), "Containment": c.Contains,
	}, true
}

func (d *Directory) property(name string) (Facts, bool) {
	p, err := d.schema.Lookup(name)
	if err != nil || p.Name == "" {
		return nil, false
	}
	f := attributes(p, p.Item(d.defaultOf(p)))
	f["Name"], f["Class"], f["ADsPath"], f["Parent"] = p.Name, "Property", schemaPath+p.Name, strings.TrimSuffix(schemaPath, "/")
	f["Syntax"], f["MultiValued"] = syntax(p), p.Type == metabase.MultiSZType
	f["MinRange"], f["MaxRange"] = p.Min, p.Max
	return f, true
}

// defaultOf is the default of the number that a flag is a bit of, for a flag.
func (d *Directory) defaultOf(p schema.Prop) metabase.Value {
	if whole, ok := d.schema.ByID(p.ID); ok {
		return whole.Default
	}
	return p.Default
}

// syntax is IIS's word for the form of p.
func syntax(p schema.Prop) string {
	switch p.Type {
	case metabase.DWordType:
		if p.Syntax == schema.Boolean || p.Syntax == schema.Flag {
			return "Boolean"
		}
		return "Integer"
	case metabase.MultiSZType:
		return "List"
	case metabase.BinaryType:
		if p.Syntax == schema.IPList {
			return "IPSec"
		}
		return "Binary"
	}
	return "String"
}

// GetPropertyAttribObj says with which attributes a property holds for the
// object; Default is the schema's, or nil where it has none.
func (o *Object) GetPropertyAttribObj(ctx context.Context, name string) (Facts, error) {
	p, st, err := o.value(ctx, "GetPropertyAttribObj", name)
	if err != nil {
		return nil, err
	}
	item := st.item
	item.Value = o.dir.defaultOf(p)
	return attributes(p, item), nil
}

// attributes tells of an item whose value is the schema's default.
func attributes(p schema.Prop, item metabase.Property) Facts {
	has := func(a metabase.Attr) bool { return item.Attr&a != 0 }
	f := Facts{
		"PropName": p.Label(), "MetaId": uint32(item.ID), "UserType": uint32(item.UserType),
		"AllAttributes": uint32(item.Attr), "Inherit": has(metabase.Inherit), "Secure": has(metabase.Secure),
		"Reference": has(metabase.Reference), "Volatile": has(metabase.Volatile), "Isinherit": has(metabase.IsInherited), "Default": nil,
	}
	if item.Value.IsZero() {
		return f
	}
	f["Default"] = native(p, item.Value)
	if list, err := ipListOf(p, item.Value); p.Syntax == schema.IPList && err == nil {
		f["Default"] = list
	}
	return f
}
