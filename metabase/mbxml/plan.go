// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"restante/metabase"
)

// Options say how a file becomes a batch. The zero value replaces, at the
// place that the file names.
type Options struct {
	At    metabase.Path // put the file's topmost key here; "": where it says
	Merge bool          // keep what the file does not name
	Part  metabase.Path // of a foreign file take this subtree only; "": all

	// Folder maps a folder of another machine, named by the property of the
	// key, to one of ours; nil takes it as it is. It is asked for each text that
	// may name one, and gives what names none as it is.
	Folder func(key metabase.Path, property, folder string) string

	// Class gives the class of a key of a foreign file that names none; nil or
	// "" leaves it without.
	Class func(key metabase.Path) string

	// Review looks at each value of a foreign file before it is taken. With
	// keep false the value is left out. A remark goes into the report as a
	// decision that somebody has to take.
	Review func(key metabase.Path, p Prop, v metabase.Value) (value metabase.Value, keep bool, remark string)
}

// A Verdict says what became of a part of the file.
type Verdict string

// The verdicts of a report.
const (
	Translated Verdict = "translated"
	Decision   Verdict = "needs a decision"
	Ignored    Verdict = "ignored"
)

// A Remark is one line of the report.
type Remark struct {
	Verdict  Verdict       `json:"verdict"`
	Line     int           `json:"line,omitempty"`
	Path     metabase.Path `json:"path"`
	Property string        `json:"property,omitempty"`
	Text     string        `json:"text"`
}

// A Report says what an import does.
type Report struct {
	Keys       int      `json:"keys"`       // taken over
	Properties int      `json:"properties"` // taken over, translated ones included
	Remarks    []Remark `json:"remarks"`
}

// Plan makes the operations that bring the tree to what the file says, and the
// report. It changes nothing. An error is every problem of the file, each with
// its line.
func Plan(f *File, snap metabase.Snapshot, s Schema, o Options) ([]metabase.Op, *Report, error) {
	p := &planner{file: f, snap: snap, schema: s, opts: o, report: &Report{Remarks: []Remark{}}, seen: map[string]int{}, left: map[metabase.Path]int{}, out: map[string]bool{}}
	keys := p.choose()
	if len(keys) == 0 {
		return nil, p.report, errors.New("the file holds no key to take over")
	}
	slices.SortStableFunc(keys, func(a, b placed) int { return strings.Count(string(a.to), "/") - strings.Count(string(b.to), "/") })
	p.above(keys[0].to)
	for _, k := range keys {
		p.key(k)
	}
	if !o.Merge {
		p.sweep(keys)
	}
	return p.ops, p.report, errors.Join(p.problems...)
}

type planner struct {
	file     *File
	snap     metabase.Snapshot
	schema   Schema
	opts     Options
	ops      []metabase.Op
	report   *Report
	problems []error
	seen     map[string]int        // folded target: the line that had it first
	left     map[metabase.Path]int // keys left out, by their service
	out      map[string]bool       // folded targets that are left out, with all below them
}

// placed is a key of the file with the place it gets.
type placed struct {
	Key
	to metabase.Path
}

func (p *planner) bad(line int, format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...)))
}

func (p *planner) remark(v Verdict, line int, at metabase.Path, property, format string, args ...any) {
	p.report.Remarks = append(p.report.Remarks, Remark{v, line, at, property, fmt.Sprintf(format, args...)})
}

// choose takes the keys that are wanted, and gives each its place.
func (p *planner) choose() []placed {
	var keys []placed
	var top metabase.Path
	for _, k := range p.file.Keys {
		if p.file.Foreign && p.opts.Part != "" && !k.Path.Within(p.opts.Part) {
			p.left[service(k.Path)]++
			continue
		}
		if top == "" || !k.Path.Within(top) && top.Within(k.Path) {
			top = k.Path
		}
		keys = append(keys, placed{Key: k, to: k.Path})
	}
	for _, at := range slices.Sorted(maps.Keys(p.left)) {
		p.remark(Ignored, 0, at, "", "%d keys: not below %s", p.left[at], p.opts.Part)
	}
	if p.opts.At == "" {
		return keys
	}
	for i, k := range keys {
		if !k.Path.Within(top) {
			p.bad(k.Line, "%s is not below %s, so it has no place below %s", k.Path, top, p.opts.At)
			continue
		}
		to, err := metabase.ParsePath(string(p.opts.At) + "/" + string(k.Path)[len(top):])
		if err != nil {
			p.bad(k.Line, "%w", err)
		}
		keys[i].to = to
	}
	return keys
}

// service is the first two elements of a path.
func service(path metabase.Path) metabase.Path {
	for strings.Count(string(path), "/") > 2 {
		path = path.Parent()
	}
	return path
}

// above adds the keys that the first one stands below, where they are missing.
func (p *planner) above(first metabase.Path) {
	var missing []metabase.Path
	for at := first.Parent(); at != metabase.Root && !p.snap.Has(at); at = at.Parent() {
		missing = append(missing, at)
	}
	for _, at := range slices.Backward(missing) {
		p.ops = append(p.ops, metabase.AddKey{Path: at})
		p.seen[fold(at)] = 0
	}
}

func fold(path metabase.Path) string { return strings.ToLower(string(path)) }

func (p *planner) key(k placed) {
	if first, ok := p.seen[fold(k.to)]; ok {
		p.bad(k.Line, "%s stands in line %d already", k.to, first)
		return
	}
	class, ok := p.class(k)
	if !ok {
		p.out[fold(k.to)] = k.to != metabase.Root && !p.snap.Has(k.to)
		return
	}
	p.seen[fold(k.to)] = k.Line
	p.report.Keys++
	exists := p.snap.Has(k.to)
	switch was := p.snap.Class(k.to); {
	case !exists:
		p.ops = append(p.ops, metabase.AddKey{Path: k.to, Class: class})
	case !strings.EqualFold(was, class) && class != "":
		p.ops = append(p.ops, metabase.Set{Path: k.to, Property: metabase.Property{
			ID: metabase.KeyType, UserType: metabase.UTServer, Value: metabase.String(class)}})
	}
	named := map[metabase.ID]bool{metabase.KeyType: true}
	for _, it := range k.Items {
		p.item(k, it, named)
	}
	if p.opts.Merge || !exists {
		return
	}
	for _, old := range p.snap.Properties(k.to) {
		if !named[old.ID] && old.Attr&staying == 0 {
			p.ops = append(p.ops, metabase.Unset{Path: k.to, ID: old.ID})
		}
	}
}

// class finds the key's class; ok is false when the key is left out.
func (p *planner) class(k placed) (string, bool) {
	if p.out[fold(k.to.Parent())] {
		p.remark(Ignored, k.Line, k.to, "", "%s is left out", k.to.Parent())
		return "", false
	}
	if k.Element == noClass || k.Element == "IIsObject" {
		if p.file.Foreign && p.opts.Class != nil {
			return p.opts.Class(k.to), true
		}
		return "", true
	}
	if spelled, ok := p.schema.Class(k.Element); ok {
		return spelled, true
	}
	if p.file.Foreign {
		p.remark(Ignored, k.Line, k.to, "", "class %s is not known", k.Element)
	} else {
		p.bad(k.Line, "%s: class %s is not known", k.to, k.Element)
	}
	return "", false
}

// item takes one property of the file.
func (p *planner) item(k placed, it Item, named map[metabase.ID]bool) {
	prop, want, err := p.find(it)
	if errors.Is(err, errNoSuchProperty) && p.file.Foreign {
		p.remark(Ignored, it.Line, k.to, it.Name, "is not a property that is known here")
		return
	}
	if err != nil {
		p.bad(it.Line, "%s: %s: %w", k.to, it.Name, err)
		return
	}
	if named[want.ID] {
		if want.ID != metabase.KeyType {
			p.bad(it.Line, "%s: %s stands there twice", k.to, it.Name)
		}
		return
	}
	named[want.ID] = true
	if want.Attr&metabase.Volatile != 0 || prop.Attr&metabase.Volatile != 0 {
		return
	}
	if want.Attr&metabase.Secure != 0 {
		p.secret(k, it, prop, want)
		return
	}
	v, err := value(prop, want.Value.Type(), it)
	switch {
	case err == nil:
		want.Value = v
	case p.file.Foreign && prop.IPList:
		want.Value = metabase.Binary([]byte(it.Value)) // whoever reviews it sees that it is none
	case p.file.Foreign:
		p.remark(Decision, it.Line, k.to, it.Name, "%v, and is left out: %.200q", err, it.Value)
		return
	default:
		p.bad(it.Line, "%s: %s: %w", k.to, it.Name, err)
		return
	}
	if p.file.Foreign && !p.translate(k, it, prop, &want) {
		return
	}
	p.report.Properties++
	if was, ok := p.snap.Stored(k.to, want.ID); ok && was.Attr == want.Attr && was.UserType == want.UserType && was.Value.Equal(want.Value) {
		return
	}
	p.ops = append(p.ops, metabase.Set{Path: k.to, Property: want})
}

// secret keeps what is stored: a file has no secure value that could be read.
// Where nothing is stored yet, a file of ours leaves an empty one, which opens
// nothing and stands where the secret has to be set again.
func (p *planner) secret(k placed, it Item, prop Prop, want metabase.Property) {
	_, stored := p.snap.Stored(k.to, want.ID)
	switch {
	case it.Value != "" && !p.file.Foreign:
		p.bad(it.Line, "%s: %s: a secure value does not stand in a file", k.to, it.Name)
	case it.Value != "":
		text := "is encrypted for the machine that wrote the file: set it again"
		if p.opts.Review != nil {
			if _, _, remark := p.opts.Review(k.to, prop, want.Value); remark != "" {
				text = remark
			}
		}
		p.remark(Decision, it.Line, k.to, it.Name, "%s", text)
	case !stored && !p.file.Foreign:
		p.remark(Decision, it.Line, k.to, it.Name, "is secret and not in the file: set it again")
		p.ops = append(p.ops, metabase.Set{Path: k.to, Property: want})
	}
}

// translate makes a value of another machine ours; false leaves it out.
func (p *planner) translate(k placed, it Item, prop Prop, want *metabase.Property) bool {
	if p.opts.Review != nil {
		v, keep, remark := p.opts.Review(k.to, prop, want.Value)
		if remark != "" {
			p.remark(Decision, it.Line, k.to, it.Name, "%s", remark)
		}
		if !keep {
			return false
		}
		want.Value = v
	}
	old := want.Value.Str()
	if p.opts.Folder == nil || old == "" || !prop.Folder && !strings.ContainsAny(old, `\/`) {
		return true
	}
	folder := p.opts.Folder(k.to, it.Name, old)
	if folder == old {
		return true
	}
	if want.Value.Type() == metabase.ExpandSZType {
		want.Value = metabase.ExpandSZ(folder)
	} else {
		want.Value = metabase.String(folder)
	}
	p.remark(Translated, it.Line, k.to, it.Name, "folder %s is %s here", old, folder)
	return true
}

var errNoSuchProperty = errors.New("there is no such property")

// find gives what the schema says of an item, and the property to store with
// everything but its value. Its Value has only the type.
func (p *planner) find(it Item) (Prop, metabase.Property, error) {
	if !it.Custom {
		prop, ok := p.schema.ByName(it.Name)
		if !ok {
			return Prop{}, metabase.Property{}, errNoSuchProperty
		}
		return prop, metabase.Property{ID: prop.ID, Attr: prop.Attr, UserType: prop.UserType, Value: zero(prop.Type)}, nil
	}
	id, err := strconv.ParseUint(it.ID, 0, 32)
	if err != nil || id == 0 {
		return Prop{}, metabase.Property{}, fmt.Errorf("ID %q is not a number of a property", it.ID)
	}
	t, err1 := parseType(it.Type)
	u, err2 := parseUserType(it.UserType)
	a, err3 := parseAttributes(it.Attr)
	prop, ok := p.schema.ByID(metabase.ID(id))
	if !ok {
		prop = Prop{Name: it.Name, ID: metabase.ID(id), Type: t}
	}
	return prop, metabase.Property{ID: prop.ID, Attr: a, UserType: u, Value: zero(t)}, errors.Join(err1, err2, err3)
}

// zero is an empty value of a type.
func zero(t metabase.Type) metabase.Value {
	switch t {
	case metabase.StringType:
		return metabase.String("")
	case metabase.BinaryType:
		return metabase.Binary(nil)
	case metabase.ExpandSZType:
		return metabase.ExpandSZ("")
	case metabase.MultiSZType:
		return metabase.MultiSZ()
	}
	return metabase.DWord(0)
}

func value(prop Prop, t metabase.Type, it Item) (metabase.Value, error) {
	switch it.Enc {
	case "":
		return parse(prop, t, it.Value)
	case "base64":
		return fromBase64(t, it.Value)
	}
	return metabase.Value{}, fmt.Errorf("encoding %q is not known", it.Enc)
}

// sweep removes the keys that the file does not name, below the topmost ones
// that it does.
func (p *planner) sweep(keys []placed) {
	top := keys[0].to
	var gone metabase.Path
	for path := range p.snap.Walk(top) {
		if gone != "" && path.Within(gone) {
			continue
		}
		if _, ok := p.seen[fold(path)]; !ok {
			p.ops = append(p.ops, metabase.Remove{Path: path, Recursive: true})
			gone = path
		}
	}
}
