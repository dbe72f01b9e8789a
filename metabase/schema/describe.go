// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"strings"

	"restante/metabase"
)

// Properties of IIS whose number is not documented have numbers from
// firstBorrowed on; properties that IIS does not know, from firstOwn on.
const (
	firstBorrowed metabase.ID = 0x00520000
	firstOwn      metabase.ID = 0x00520100
)

// Describe is a description for people, in a few lines without a last line end:
// the meaning in a sentence, then type, unit, range, default, attributes,
// classes, and the names of its flags or values.
func (p Prop) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d, 0x%x)\n", p.Label(), p.ID, uint32(p.ID))
	if p.Sentence != "" {
		fmt.Fprintf(&b, "%s\n", p.Sentence)
	}
	line := func(what, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-10s  %s\n", what, text)
		}
	}
	line("type", p.TypeText())
	line("unit", p.Unit)
	line("range", p.limits())
	line("default", p.DefaultText())
	line("attributes", p.Attr.String())
	line("user type", UserTypeText(p.UserType))
	line("classes", strings.Join(p.Classes, ", "))
	for _, f := range p.Flags {
		if f.Sentence == "" {
			line(p.number(f.Mask), f.Name)
		} else {
			line(p.number(f.Mask), f.Name+": "+f.Sentence)
		}
	}
	if p.ID > firstBorrowed && p.ID < firstOwn {
		b.WriteString("  IIS's own number for it is not documented; this one is ours.\n")
	}
	if !p.Acted {
		b.WriteString("  Kept as it is; nothing acts on it.\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// TypeText is the data type with the form of its text.
func (p Prop) TypeText() string {
	if p.Type == metabase.AnyType {
		return ""
	}
	name := p.Type.String()
	switch p.Syntax {
	case Integer, String, Binary, List:
		return name
	case Flag:
		return fmt.Sprintf("%s (bit 0x%x of %d)", name, p.Mask, p.ID)
	}
	return name + " (" + string(p.Syntax) + ")"
}

// DefaultText is the schema's default on one line, "" where there is none.
func (p Prop) DefaultText() string {
	if !p.HasDefault() {
		return ""
	}
	if text := strings.Join(p.Plain(p.Default), " "); text != "" {
		return text
	}
	return "(empty)"
}

// Describe is a description for people, as that of a Prop.
func (c Class) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", c.Name, c.Sentence)
	for _, at := range c.places {
		if at.above[0] != "*" {
			fmt.Fprintf(&b, "  stands      %s\n", at)
		}
	}
	if c.Container() {
		fmt.Fprintf(&b, "  contains    %s\n", strings.Join(c.Contains, ", "))
	}
	fmt.Fprintf(&b, "  must hold   %s\n", strings.Join(c.Mandatory, ", "))
	fmt.Fprintf(&b, "  may hold    %s", strings.Join(c.Optional, ", "))
	return b.String()
}
