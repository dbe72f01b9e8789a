// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"restante/metabase"
	"restante/metabase/schema/iplist"
)

// Format returns v as lines of text: one for each string of a list, one for each
// network of an IP list, one for anything else. Flags are a number and names,
// "514 (etrn_cmd, smarthost)"; a secure value is ten asterisks. A value of
// another type than the property's is formatted by its own type.
func (p Prop) Format(v metabase.Value) []string {
	if p.Attr&metabase.Secure != 0 {
		return []string{metabase.Asterisks}
	}
	return p.Plain(v)
}

// Plain is Format without asterisks, for callers that may read secure values.
func (p Prop) Plain(v metabase.Value) []string {
	switch v.Type() {
	case metabase.DWordType:
		return []string{p.formatNumber(v.DWord())}
	case metabase.MultiSZType:
		return v.Strings()
	case metabase.BinaryType:
		return p.formatBinary(v.Bytes())
	case metabase.StringType, metabase.ExpandSZType:
		return []string{v.Str()}
	}
	return nil
}

func (p Prop) formatNumber(n uint32) string {
	switch {
	case (p.Syntax == Boolean || p.Syntax == Flag) && n <= 1:
		return strconv.FormatBool(n == 1)
	case p.Syntax == Flags:
		return p.formatFlags(n)
	case p.Min < 0:
		return strconv.Itoa(int(int32(n))) // IIS's documents write this one with a sign
	}
	return strconv.FormatUint(uint64(n), 10)
}

// formatFlags names the highest bit first; bits without a name come last, as
// one number.
func (p Prop) formatFlags(n uint32) string {
	set, rest := p.Set(n)
	if len(set) == 0 {
		return strconv.FormatUint(uint64(n), 10)
	}
	names := make([]string, len(set))
	for i, f := range set {
		names[len(set)-1-i] = f.Name
	}
	if rest != 0 {
		names = append(names, fmt.Sprintf("0x%x", rest))
	}
	return fmt.Sprintf("%d (%s)", n, strings.Join(names, ", "))
}

// Set returns the named bits of n, the lowest first, and those without a name.
func (p Prop) Set(n uint32) (set []Named, rest uint32) {
	for _, f := range p.Flags {
		if n&f.Mask == f.Mask {
			set = append(set, f)
			rest |= f.Mask
		}
	}
	slices.SortFunc(set, func(a, b Named) int { return int(int64(a.Mask) - int64(b.Mask)) })
	return set, n &^ rest
}

func (p Prop) formatBinary(b []byte) []string {
	if p.Syntax == IPList {
		if len(b) == 0 {
			return []string{}
		}
		if l, err := iplist.Decode(b); err == nil {
			return l.Format()
		}
	}
	return []string{hex.EncodeToString(b)}
}

// Bit is the value of a Flag within the value of the property that it is a bit of.
func (p Prop) Bit(parent metabase.Value) metabase.Value {
	return boolean(parent.DWord()&p.Mask == p.Mask)
}

// WithBit is the value of the parent with the bit of a Flag on or off.
func (p Prop) WithBit(parent metabase.Value, on bool) metabase.Value {
	if on {
		return metabase.DWord(parent.DWord() | p.Mask)
	}
	return metabase.DWord(parent.DWord() &^ p.Mask)
}

// names are the names of flags or values as on the command line.
func (p Prop) names() []string {
	out := make([]string, len(p.Flags))
	for i, f := range p.Flags {
		out[i] = f.Name
	}
	return out
}

// named lists them for a message.
func (p Prop) named() string {
	if p.Syntax != Enum {
		return strings.Join(p.names(), ", ")
	}
	out := make([]string, len(p.Flags))
	for i, f := range p.Flags {
		out[i] = fmt.Sprintf("%s (%s)", p.formatNumber(f.Mask), f.Name)
	}
	return strings.Join(out, ", ")
}

// limits describes the allowed numbers; "" where all are.
func (p Prop) limits() string {
	low, high, ok := p.Range()
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d to %d%s", low, high, p.orZero())
}

// Range is the range of allowed numbers, beside OrZero; ok is false where there
// is none or all are allowed.
func (p Prop) Range() (low, high int64, ok bool) {
	if p.Type != metabase.DWordType || p.Syntax != Integer || p.Min == 0 && p.Max == math.MaxUint32 {
		return 0, 0, false
	}
	return p.Min, p.Max, true
}

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
	case Size:
		return name + ", larger ones STRING"
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
