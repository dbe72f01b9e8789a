// SPDX-License-Identifier: Apache-2.0

package schema

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"restante/metabase"
)

//go:embed properties.tsv
var propertyTable string

//go:embed names.tsv
var nameTable string

const maxDWord = 1<<32 - 1

// A form is how the text of a syntax is read.
type form struct {
	typ   metabase.Type
	words bool                         // several values may stand in one text
	check func(string) error           // of a text
	canon func(string) (string, error) // gives the canonical form of a string of a list; nil: it is any text
}

var forms = map[Syntax]form{
	Integer:    {typ: metabase.DWordType},
	Size:       {typ: metabase.DWordType, check: func(s string) error { _, err := ParseSize(s); return err }},
	Boolean:    {typ: metabase.DWordType},
	Enum:       {typ: metabase.DWordType},
	Flags:      {typ: metabase.DWordType},
	Flag:       {typ: metabase.DWordType},
	String:     {typ: metabase.StringType},
	FilePath:   {typ: metabase.StringType},
	DomainName: {typ: metabase.StringType, check: CheckDomain},
	Hosts:      {typ: metabase.StringType, check: func(s string) error { _, err := ParseHosts(s); return err }, words: true},
	MinuteList: {typ: metabase.StringType, check: func(s string) error { _, err := Minutes(s); return err }, words: true},
	List:       {typ: metabase.MultiSZType},
	Names:      {typ: metabase.MultiSZType},
	Accounts:   {typ: metabase.MultiSZType},
	Bindings:   {typ: metabase.MultiSZType, canon: canonical(ParseBinding)},
	Endpoints:  {typ: metabase.MultiSZType, canon: canonical(ParseEndpoint), words: true},
	Prefixes:   {typ: metabase.MultiSZType, canon: parsePrefix6, words: true},
	Networks:   {typ: metabase.MultiSZType, canon: parseNetwork, words: true},
	Callers:    {typ: metabase.MultiSZType, canon: parseCaller, words: true},
	IPList:     {typ: metabase.BinaryType},
	Binary:     {typ: metabase.BinaryType},
}

// canonical makes the form of a list of the values that parse reads.
func canonical[T fmt.Stringer](parse func(string) (T, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		v, err := parse(s)
		return v.String(), err
	}
}

// load reads the tables and checks them against each other.
func load(properties, names string) (*Schema, error) {
	named, bits, err := readNames(names)
	if err != nil {
		return nil, err
	}
	s := &Schema{byName: map[string]int{}, byID: map[metabase.ID]int{}, classes: classTable()}
	for n, f := range rows(properties) {
		p, err := readProp(f, named)
		if err != nil {
			return nil, fmt.Errorf("properties.tsv line %d: %s: %w", n, f[0], err)
		}
		s.props = append(s.props, p)
		for _, bit := range bits[p.Name] {
			s.props = append(s.props, flagProp(p, bit))
		}
	}
	slices.SortStableFunc(s.props, func(a, b Prop) int {
		if (a.Name == "") != (b.Name == "") {
			return strings.Compare(b.Name, a.Name)
		}
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		return int(a.ID) - int(b.ID)
	})
	return s, s.index()
}

// index fills the maps, and refuses duplicates.
func (s *Schema) index() error {
	for i, p := range s.props {
		if name := strings.ToLower(p.Name); name != "" {
			if _, twice := s.byName[name]; twice {
				return fmt.Errorf("duplicate name %s", p.Name)
			}
			s.byName[name] = i
		}
		if p.Syntax != Flag {
			if _, twice := s.byID[p.ID]; twice {
				return fmt.Errorf("duplicate number %d", p.ID)
			}
			s.byID[p.ID] = i
		}
		for _, c := range p.Classes {
			if _, known := s.Class(c); !known && c != "*" {
				return fmt.Errorf("%s: there is no class %s", p.Label(), c)
			}
		}
	}
	s.fillClasses()
	return nil
}

// rows yields the lines of a table with their numbers; the first line has the
// headings.
func rows(table string) func(func(int, []string) bool) {
	return func(yield func(int, []string) bool) {
		n := 0
		for line := range strings.Lines(table) {
			n++
			line = strings.TrimRight(line, "\r\n")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if !yield(n, strings.Split(line, "\t")) {
				return
			}
		}
	}
}

// readNames returns the names of each property's flags or values, and of those
// the ones that are properties themselves.
func readNames(table string) (named, bits map[string][]Named, err error) {
	named, bits = map[string][]Named{}, map[string][]Named{}
	for n, f := range rows(table) {
		if len(f) != 6 {
			return nil, nil, fmt.Errorf("names.tsv line %d: has %d columns instead of 6", n, len(f))
		}
		mask, err := strconv.ParseUint(f[3], 0, 32)
		if err != nil {
			return nil, nil, fmt.Errorf("names.tsv line %d: %w", n, err)
		}
		one := Named{Name: f[1], IIS: f[2], Mask: uint32(mask), Sentence: f[5], Acted: f[4] != ""}
		named[f[0]] = append(named[f[0]], one)
		if one.IIS != "" {
			bits[f[0]] = append(bits[f[0]], one)
		}
	}
	return named, bits, nil
}

func readProp(f []string, named map[string][]Named) (p Prop, err error) {
	if len(f) != 11 {
		return p, fmt.Errorf("has %d columns instead of 11", len(f))
	}
	for i := range f {
		if f[i] == "-" {
			f[i] = ""
		}
	}
	id, err := strconv.ParseUint(f[1], 0, 32)
	if err != nil {
		return p, err
	}
	userType, err := strconv.ParseUint(f[4], 10, 32)
	if err != nil {
		return p, err
	}
	p = Prop{
		Name: f[0], ID: metabase.ID(id), Syntax: Syntax(f[2]), UserType: metabase.UserType(userType),
		Unit: f[6], Bounds: Bounds{Max: maxDWord}, Flags: named[f[0]], Acted: f[9] != "", Test: f[9], Sentence: f[10],
	}
	p.Type = forms[p.Syntax].typ
	if p.Type == metabase.AnyType {
		return p, fmt.Errorf("there is no syntax %q", f[2])
	}
	if f[3] != "" {
		if p.Attr, err = ParseAttr(f[3]); err != nil {
			return p, err
		}
	}
	if err = p.readRange(f[7]); err != nil {
		return p, err
	}
	for c := range strings.SplitSeq(f[8], ",") {
		if c != "*" && !strings.HasPrefix(c, "IIs") {
			c = "IIsSmtp" + c
		}
		p.Classes = append(p.Classes, c)
	}
	return p, p.readDefault(f[5])
}

// readRange reads MIN..MAX, optionally after "0,".
func (p *Prop) readRange(text string) error {
	if text == "" {
		return nil
	}
	text, p.OrZero = strings.CutPrefix(text, "0,")
	if _, err := fmt.Sscanf(text, "%d..%d", &p.Min, &p.Max); err != nil {
		return fmt.Errorf("range %q: %w", text, err)
	}
	return nil
}

func (p *Prop) readDefault(text string) (err error) {
	var args []string
	switch text {
	case "":
		return nil
	case "(empty)":
		if p.Syntax == IPList { // no list, which is another thing than one without an entry
			p.Default = metabase.Binary(nil)
			return nil
		}
		if p.Type == metabase.StringType {
			args = []string{""}
		}
	default:
		args = []string{text}
	}
	p.Default, err = p.parse(args)
	return err
}

// flagProp is the property that IIS makes of one bit of parent.
func flagProp(parent Prop, bit Named) Prop {
	p := Prop{
		Name: bit.IIS, ID: parent.ID, Syntax: Flag, Type: metabase.DWordType, Attr: parent.Attr,
		UserType: parent.UserType, Bounds: Bounds{Max: 1}, Mask: bit.Mask, Classes: parent.Classes,
		Sentence: bit.Sentence, Acted: parent.Acted && bit.Acted,
	}
	if parent.HasDefault() {
		p.Default = p.Bit(parent.Default)
	}
	return p
}
