// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"slices"

	"restante/metabase"
)

// Sync returns the operations that bring the schema's keys in a tree up to date:
// /Schema/Properties/NAME and /Schema/Classes/NAME. Properties without a name
// have no key.
func (s *Schema) Sync(snap metabase.Snapshot) (ops []metabase.Op) {
	want := s.keys()
	known := map[metabase.Path]bool{}
	for _, key := range want {
		known[key.path] = true
		if !snap.Has(key.path) {
			ops = append(ops, metabase.AddKey{Path: key.path, Class: key.class})
		}
		for _, item := range key.items {
			if was, ok := snap.Stored(key.path, item.ID); !ok || !was.Value.Equal(item.Value) {
				ops = append(ops, metabase.Set{Path: key.path, Property: item})
			}
		}
		for _, was := range snap.Properties(key.path) {
			if was.ID != metabase.KeyType && !key.has(was.ID) {
				ops = append(ops, metabase.Unset{Path: key.path, ID: was.ID})
			}
		}
	}
	for _, below := range []metabase.Path{propertiesPath, classesPath} {
		for name := range snap.Children(below) {
			if path := below.Join(name); !known[path] {
				ops = append(ops, metabase.Remove{Path: path, Recursive: true})
			}
		}
	}
	return ops
}

const (
	propertiesPath = SchemaPath + "/Properties"
	classesPath    = SchemaPath + "/Classes"
)

// A key is one key of the schema's own subtree.
type key struct {
	path   metabase.Path
	class  string
	items  []metabase.Property
	schema *Schema
}

func (k key) has(id metabase.ID) bool {
	return slices.ContainsFunc(k.items, func(item metabase.Property) bool { return item.ID == id })
}

// set adds a property that the table knows, unless v is empty.
func (k *key) set(name string, v metabase.Value) {
	if prop, ok := k.schema.Property(name); ok && !v.Equal(metabase.String("")) && !v.Equal(metabase.MultiSZ()) {
		k.items = append(k.items, prop.Item(v))
	}
}

func (s *Schema) keys() []key {
	keys := []key{
		{path: SchemaPath, class: schemaRoot}, {path: propertiesPath, class: schemaRoot}, {path: classesPath, class: schemaRoot},
	}
	for _, p := range s.props {
		if p.Name != "" {
			keys = append(keys, s.propKey(p))
		}
	}
	for _, c := range s.classes {
		keys = append(keys, s.classKey(c))
	}
	return keys
}

func boolean(b bool) metabase.Value {
	if b {
		return metabase.DWord(1)
	}
	return metabase.DWord(0)
}

func (s *Schema) propKey(p Prop) key {
	k := key{path: propertiesPath.Join(p.Name), class: schemaProp, schema: s}
	k.set("PropName", metabase.String(p.Name))
	k.set("MetaId", metabase.DWord(uint32(p.ID)))
	k.set("Syntax", metabase.String(string(p.Syntax)))
	k.set("MultiValued", boolean(p.Type == metabase.MultiSZType))
	k.set("AllAttributes", metabase.String(p.Attr.String()))
	k.set("UserType", metabase.DWord(uint32(p.UserType)))
	k.set("Unit", metabase.String(p.Unit))
	k.set("Meaning", metabase.String(p.Sentence))
	k.set("AllowedIn", metabase.MultiSZ(p.Classes...))
	if p.limits() != "" {
		k.set("MinRange", metabase.DWord(uint32(p.Min)))
		k.set("MaxRange", metabase.DWord(uint32(p.Max)))
	}
	if p.HasDefault() && p.Attr&metabase.Secure == 0 {
		k.set("Default", metabase.MultiSZ(slices.DeleteFunc(p.Plain(p.Default), func(s string) bool { return s == "" })...))
	}
	var names []string
	for _, f := range p.Flags {
		names = append(names, fmt.Sprintf("%s = %s", f.Name, p.number(f.Mask)))
	}
	k.set("NamedValues", metabase.MultiSZ(names...))
	return k
}

// number writes the value of a name: bits in hexadecimal.
func (p Prop) number(n uint32) string {
	if p.Syntax == Flags {
		return fmt.Sprintf("0x%x", n)
	}
	return p.formatNumber(n)
}

func (s *Schema) classKey(c Class) key {
	k := key{path: classesPath.Join(c.Name), class: schemaClass, schema: s}
	k.set("Meaning", metabase.String(c.Sentence))
	k.set("Container", boolean(c.Container()))
	k.set("Containment", metabase.MultiSZ(c.Contains...))
	k.set("MandatoryProperties", metabase.MultiSZ(c.Mandatory...))
	k.set("OptionalProperties", metabase.MultiSZ(c.Optional...))
	return k
}
