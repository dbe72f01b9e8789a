// SPDX-License-Identifier: Apache-2.0

// Package mbxml writes the tree as MetaBase.xml, in the format of IIS, and reads
// such files: its own and those of IIS 6 to 10.
//
// The file is a flat list of elements, one for each key, named by the key's class
// and placed by its Location. A property that is as the schema has it is an
// attribute; any other is a Custom element with id, type, user type and
// attributes, so that nothing is lost.
//
// Secure values are written empty; volatile and LOCAL_MACHINE_ONLY properties are
// neither written nor changed. A file that is written, read into an empty store
// and written again is the same to the byte.
//
// An own file is imported whole or, with every problem and its line, not at all.
// Of a foreign one, unreadable parts are left out and reported.
package mbxml

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// A Scope selects what is written; the zero Scope is a key as stored, with all
// keys below it.
type Scope struct {
	Inherited bool // with the topmost key also what it inherits and may hold
	NodeOnly  bool // the topmost key alone

	Each func() // called once for each key at and below it; may be nil
}

// Write writes the keys at and below root as MetaBase.xml and returns the number
// of secure values that were written empty. An inherited secret is left out: an
// empty one, imported again, would hide it.
func Write(w io.Writer, snap metabase.Snapshot, root metabase.Path, s Schema, scope Scope) (secrets int, err error) {
	out := &writer{Writer: bufio.NewWriter(w), schema: s}
	out.WriteString("<?xml version=\"1.0\"?>\n")
	fmt.Fprintf(out, "<configuration xmlns=\"%s\">\n<MBProperty>\n", namespace)
	fmt.Fprintf(out, "<IIS_Global\tLocation =\".\"\n\t\tOrigin=\"%s\"\n\t>\n</IIS_Global>\n", origin)
	for path := range snap.Walk(root) {
		if scope.Each != nil {
			scope.Each()
		}
		if path == metabase.Root || path.Within(schemaPath) {
			continue // the schema is part of the program
		}
		if scope.NodeOnly && !path.Equal(root) {
			break
		}
		if strings.ContainsAny(string(path), "\ufffe\uffff") {
			return 0, fmt.Errorf("%s: has a character that XML does not allow", path)
		}
		props := snap.Properties(path)
		if scope.Inherited && path.Equal(root) {
			props = inherited(snap, path, s)
		}
		out.key(path, snap.Class(path), props)
	}
	out.WriteString("</MBProperty>\n</configuration>\n")
	return out.secrets, out.Flush()
}

// inherited lists the effective properties of a key that may be stored there.
func inherited(snap metabase.Snapshot, path metabase.Path, s Schema) (out []metabase.Property) {
	for _, l := range snap.AllProperties(path) {
		if l.Attr&metabase.IsInherited != 0 {
			prop, known := s.ByID(l.ID)
			if l.Attr&(metabase.Secure|metabase.Locked) != 0 || known && !prop.In(snap.Class(path)) {
				continue
			}
			l.Attr &^= metabase.IsInherited
		}
		out = append(out, l.Property)
	}
	return out
}

// A writer keeps the first write error until Flush.
type writer struct {
	*bufio.Writer
	schema  Schema
	secrets int
}

type attribute struct{ name, value string }

// key writes one element: the properties of its class as attributes, by name, and
// the rest as Custom elements, by id.
func (w *writer) key(path metabase.Path, class string, props []metabase.Property) {
	element := noClass
	if c, ok := w.schema.Class(class); ok {
		element = c.Name // a KeyType may be stored in any case
	} else if class != "" {
		element = class
	}
	var known []attribute
	var custom []metabase.Property
	for _, p := range props {
		if p.Attr&localAttrs != 0 || p.ID == metabase.KeyType {
			continue
		}
		if a, ok := w.known(class, p); ok {
			known = append(known, a)
		} else {
			custom = append(custom, p)
		}
	}
	slices.SortFunc(known, func(a, b attribute) int {
		return cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name))
	})
	fmt.Fprintf(w, "<%s\tLocation =\"%s\"\n", element, escape(string(path)))
	for _, a := range known {
		fmt.Fprintf(w, "\t\t%s=\"%s\"\n", a.name, escape(a.value))
	}
	w.WriteString("\t>\n")
	for _, p := range custom {
		w.custom(p)
	}
	fmt.Fprintf(w, "</%s>\n", element)
}

// known is the attribute for a property whose type and attributes are those of
// the schema.
func (w *writer) known(class string, p metabase.Property) (attribute, bool) {
	s, ok := w.schema.ByID(p.ID)
	if !ok || !s.In(class) || s.Name == "" || !isName(s.Name) ||
		s.Type != p.Value.Type() || s.Attr != p.Attr || s.UserType != p.UserType {
		return attribute{}, false
	}
	if p.Attr&metabase.Secure != 0 {
		w.secrets++
		return attribute{s.Name, ""}, true
	}
	value, plain := text(s, p.Value)
	return attribute{s.Name, value}, plain
}

// isName reports whether s can name an XML attribute and is not Location.
func isName(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s[0] > '9' && !strings.EqualFold(s, "Location")
}

func (w *writer) custom(p metabase.Property) {
	s, _ := w.schema.ByID(p.ID)
	if s.Name == "" {
		s.Name = fmt.Sprintf("%s%d", unknownName, p.ID)
	}
	value, plain := "", true
	if p.Attr&metabase.Secure == 0 {
		value, plain = text(s, p.Value)
	} else {
		w.secrets++
	}
	w.WriteString("\t<Custom\n")
	for _, a := range []attribute{
		{"Name", s.Name}, {"ID", fmt.Sprint(uint32(p.ID))}, {"Value", value}, {"Type", p.Value.Type().String()},
		{"UserType", userType(p.UserType)}, {"Attributes", p.Attr.String()},
	} {
		fmt.Fprintf(w, "\t\t%s=\"%s\"\n", a.name, escape(a.value))
	}
	if !plain {
		w.WriteString("\t\tEncoding=\"base64\"\n")
	}
	w.WriteString("\t/>\n")
}

// escape writes s for an attribute's value. The line ends between the strings of
// a list stay, as in IIS's files.
func escape(s string) string {
	var b strings.Builder
	for i, line := range strings.Split(s, "\n\t\t\t") {
		if i > 0 {
			b.WriteString("\n\t\t\t")
		}
		_ = xml.EscapeText(&b, []byte(line)) // a strings.Builder takes everything
	}
	return b.String()
}

// A Schema defines classes and properties; [*schema.Schema] is one. Names are
// compared without case.
type Schema interface {
	ByID(id metabase.ID) (p schema.Prop, ok bool)
	Property(name string) (p schema.Prop, ok bool)
	Class(name string) (c schema.Class, ok bool)
}

// localAttrs are the attributes of properties that are in no file.
const localAttrs = metabase.Volatile | metabase.LocalMachineOnly

// Names of IIS in the file.
const (
	namespace   = "urn:microsoft-catalog:XML_Metabase_V64_0"
	noClass     = "IIsConfigObject"  // the element of a key without a class
	anyClass    = "IIsObject"        // a class that any key can have
	unknownName = "UnknownName_"     // and the number: a property without a name
	noUserType  = "UNKNOWN_UserType" // IIS's word for 0
	schemaPath  = "/Schema"
	origin      = "Restante" // marks own files
)
