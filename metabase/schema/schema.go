// SPDX-License-Identifier: Apache-2.0

// Package schema defines the classes and properties of the metabase: where the
// keys of a class belong, and the type, form, range and default of each property.
// It parses and formats values for people and scripts, and checks a change before
// it is committed.
//
// All of it comes from two tables beside the source, properties.tsv and
// names.tsv. The names, numbers and types are those of IIS. What a value does is
// for the packages that use it.
package schema

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"restante/metabase"
)

// A Syntax is the form of a property's value.
type Syntax string

// The syntaxes. [Prop.Parse] and [Prop.Format] describe their text.
const (
	Integer    Syntax = "integer"   // DWORD
	Size       Syntax = "size"      // DWORD, or the digits as a STRING where it is larger
	Boolean    Syntax = "boolean"   // DWORD, 0 or 1
	Enum       Syntax = "enum"      // DWORD, one of the named values
	Flags      Syntax = "flags"     // DWORD, a set of named bits
	Flag       Syntax = "flag"      // one bit of another property
	String     Syntax = "string"    // STRING
	FilePath   Syntax = "path"      // STRING or EXPANDSZ: a file or folder
	DomainName Syntax = "domain"    // STRING: a host or mail domain
	Hosts      Syntax = "hosts"     // STRING: hosts with optional ports, parted by commas
	MinuteList Syntax = "minutes"   // STRING: numbers of minutes, parted by commas
	List       Syntax = "list"      // MULTISZ
	Names      Syntax = "names"     // MULTISZ: each string once, without regard to case
	Accounts   Syntax = "accounts"  // MULTISZ: names of accounts, each once
	Bindings   Syntax = "bindings"  // MULTISZ: ip:port:host
	Endpoints  Syntax = "endpoints" // MULTISZ: ADDR or ADDR:PORT
	Prefixes   Syntax = "prefixes"  // MULTISZ: IPv6 addresses and networks
	Networks   Syntax = "networks"  // MULTISZ: addresses and networks
	Callers    Syntax = "callers"   // MULTISZ: the words accounts and any, addresses and networks
	IPList     Syntax = "iplist"    // BINARY: IPv4 addresses and networks, as IIS keeps them
	Binary     Syntax = "binary"    // BINARY
)

// A Prop is one row of the table.
type Prop struct {
	Name     string // "" for the few that are known by number only
	ID       metabase.ID
	Syntax   Syntax
	Type     metabase.Type
	Attr     metabase.Attr // with which it is stored
	UserType metabase.UserType
	Default  metabase.Value // zero where the schema has none
	Bounds                  // of numbers; the default is allowed even outside
	Unit     string         // "bytes", "s", "min" ..., or ""
	Flags    []Named        // the names of Flags and Enum
	Mask     uint32         // for a Flag: the bit; ID is that of the property that it is a bit of
	Classes  []string       // whose keys may hold it; "*" for every key
	Sentence string         // its meaning
	Acted    bool           // it has an effect in this program,
	Test     string         // which this test observes: TestName, or TestName/subtest
}

// Bounds are the allowed numbers.
type Bounds struct {
	Min, Max int64
	OrZero   bool // 0 is allowed, too, where Min is greater
}

// A Named is a bit of a flag property or a value of an enumeration.
type Named struct {
	Name     string // as on the command line: etrn_cmd
	IIS      string // the property by which IIS knows the bit, or ""
	Mask     uint32 // of an enumeration: the value
	Sentence string
	Acted    bool // it has an effect in this program
}

// Named gives a line of the tree, "PATH: property NUMBER: ...", with the property's
// name: the tree itself knows none.
func (s *Schema) Named(line string) string {
	words := strings.SplitN(line, ": ", 3)
	if len(words) < 2 {
		return line
	}
	if id, ok := strings.CutPrefix(words[1], "property "); ok {
		if p, ok := s.Property(id); ok {
			words[1] = p.Label()
		}
	}
	return strings.Join(words, ": ")
}

// Unacted says what of v has no effect here, "" for nothing.
func (p Prop) Unacted(v metabase.Value) string {
	if !p.Acted {
		return "kept; nothing acts on it"
	}
	if p.Syntax != Flags || v.Type() != metabase.DWordType {
		return ""
	}
	var names []string
	unknown := v.DWord()
	for _, f := range p.Flags {
		unknown &^= f.Mask
		if !f.Acted && v.DWord()&f.Mask != 0 {
			names = append(names, f.Name)
		}
	}
	if unknown != 0 {
		names = append(names, "unknown bits "+strconv.FormatUint(uint64(unknown), 10))
	}
	if len(names) == 0 {
		return ""
	}
	return strings.Join(names, ", ") + " kept; nothing acts on it"
}

// WhyUnacted gives the reason of the sentence why nothing acts on p, with what to do
// instead, or "".
func (p Prop) WhyUnacted() string {
	_, why, _ := strings.Cut(p.Sentence, "kept, without effect: ")
	return strings.TrimSuffix(why, ".")
}

// HasDefault reports whether there is a value when nothing is stored.
func (p Prop) HasDefault() bool { return !p.Default.IsZero() }

// Label is the name or, for a property without one, its number.
func (p Prop) Label() string {
	if p.Name == "" {
		return strconv.FormatUint(uint64(p.ID), 10)
	}
	return p.Name
}

// Item is v as the property of a batch, with the schema's attributes and user
// type.
func (p Prop) Item(v metabase.Value) metabase.Property {
	return metabase.Property{ID: p.ID, Attr: p.Attr, UserType: p.UserType, Value: v}
}

// As is p for a value of type t: a property that the table does not know holds
// any type, a text may be an EXPANDSZ, and a size a STRING. Other properties keep their type.
func (p Prop) As(t metabase.Type) Prop {
	if p.Type == metabase.AnyType || p.Type == metabase.StringType && t == metabase.ExpandSZType || p.Syntax == Size && t == metabase.StringType {
		p.Type = t
	}
	return p
}

// TakesNone reports whether no words at all are a value: the empty list.
func (p Prop) TakesNone() bool { return p.Type == metabase.MultiSZType || p.Syntax == IPList }

// In reports whether keys of the class may hold the property.
func (p Prop) In(class string) bool {
	return slices.ContainsFunc(p.Classes, func(c string) bool { return c == "*" || strings.EqualFold(c, class) })
}

// A Schema holds the parsed tables. It never changes.
type Schema struct {
	props   []Prop // by name; the nameless last, by number
	byName  map[string]int
	byID    map[metabase.ID]int
	classes []Class
}

// iis reads the tables on the first call.
var iis = sync.OnceValue(func() *Schema {
	s, err := load(propertyTable, nameTable)
	if err != nil {
		panic("schema: the built-in tables: " + err.Error()) // a build that its own tests refuse
	}
	return s
})

// IIS returns the schema of the SMTP classes. All callers get the same one.
func IIS() *Schema { return iis() }

// Props yields every property, also those of one bit, in the order of their
// names; those without a name come last.
func (s *Schema) Props() iter.Seq[Prop] { return slices.Values(s.props) }

// Classes yields every class, from the top of the tree down.
func (s *Schema) Classes() iter.Seq[Class] { return slices.Values(s.classes) }

// ByID finds a property by its number; a bit of one is found by name only.
func (s *Schema) ByID(id metabase.ID) (Prop, bool) {
	if i, ok := s.byID[id]; ok {
		return s.props[i], true
	}
	return Prop{}, false
}

// Property finds a property by its name, in any case, or its number, decimal
// or 0x hex. A number that the table does not know is a property without name,
// type or class; it can be stored.
func (s *Schema) Property(nameOrNumber string) (Prop, bool) {
	if i, ok := s.byName[strings.ToLower(nameOrNumber)]; ok {
		return s.props[i], true
	}
	n, err := strconv.ParseUint(nameOrNumber, 0, 32)
	if err != nil || n == 0 {
		return Prop{}, false
	}
	id := metabase.ID(n)
	if p, ok := s.ByID(id); ok {
		return p, true
	}
	return Prop{ID: id, UserType: metabase.UTServer, Bounds: Bounds{Max: maxDWord}, Classes: []string{"*"}}, true
}

// Lookup is Property with an error of kind [metabase.NotFound], which suggests a
// name.
func (s *Schema) Lookup(nameOrNumber string) (Prop, error) {
	if p, ok := s.Property(nameOrNumber); ok {
		return p, nil
	}
	names := make([]string, len(s.props))
	for i, p := range s.props {
		names[i] = p.Name
	}
	return Prop{}, &problem{kind: metabase.NotFound, text: fmt.Sprintf("no property is called %q%s", nameOrNumber, Suggest(nameOrNumber, names))}
}

// Effective is the value of id that holds at path, stored or inherited, with the
// key that it comes from, or else the schema's default, with an empty path. ok is
// false where there is neither. It does not allocate.
func (s *Schema) Effective(snap metabase.Snapshot, path metabase.Path, id metabase.ID) (v metabase.Value, from metabase.Path, ok bool) {
	if item, from, ok := snap.Effective(path, id); ok {
		return item.Value, from, true
	}
	if i, known := s.byID[id]; known && s.props[i].HasDefault() {
		return s.props[i].Default, "", true
	}
	return metabase.Value{}, "", false
}
