// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"restante/metabase"
)

// Options say how a file becomes a batch. The zero value replaces, at the
// place that the file names.
type Options struct {
	At       metabase.Path // put the file's topmost key here; "": where it says
	Merge    bool          // keep what the file does not name
	NodeOnly bool          // the topmost key without those below it
	Part     metabase.Path // of a foreign file take this subtree only; "": all

	// Class gives the class that a key has by its place: above are the classes
	// of the keys over it, the nearest first, ending in "" for the root. It is
	// asked for keys that the file leaves out, and for those of a foreign file
	// that name none. Nil or "" leaves them without.
	Class func(above []string, name string) string

	// Rename gives the place of a key of a foreign file as it is spelled here;
	// nil takes it as it is.
	Rename func(key metabase.Path) metabase.Path

	// Folder maps a folder of another machine, named by the property of the
	// key, to one of ours; nil takes it as it is. It is asked for each text that
	// may name one, and gives what names none as it is.
	Folder func(key metabase.Path, property, folder string) string

	// Review looks at each value of a foreign file before it is taken; nil
	// takes all. The text is the value as it stands in the file. Where that does
	// not read as an IP list, v is zero.
	Review func(key metabase.Path, p Prop, v metabase.Value, text string) Finding
}

// A Finding is what a Review comes to.
type Finding struct {
	Value    metabase.Value // to be stored
	LeaveOut bool           // store nothing
	Verdict  Verdict        // of the remark
	Text     string         // the remark, or ""
}

// Plan makes the operations that bring the tree to what the file says, and the
// report. It changes nothing. The error is [Problems], each with its line; the
// operations beside it are those of the rest.
func Plan(f *File, snap metabase.Snapshot, s Schema, o Options) ([]metabase.Op, *Report, error) {
	p := &planner{
		file: f, snap: snap, schema: s, opts: o, seen: map[string]placed{}, left: map[metabase.Path]int{},
		out: map[string]bool{}, needed: map[string]bool{}, classes: map[string]string{},
	}
	p.report = &Report{Remarks: []Remark{}, keys: p.seen, added: map[string]int{}, find: p.id}
	keys := p.choose()
	if len(keys) == 0 && len(p.problems) == 0 {
		return nil, p.report, errors.New("the file holds no key to take over")
	}
	for _, k := range keys {
		p.key(k)
	}
	if !o.Merge && !o.NodeOnly {
		p.sweep(keys)
	}
	if len(p.problems) > 0 {
		return p.ops, p.report, p.problems
	}
	return p.ops, p.report, nil
}

type planner struct {
	file     *File
	snap     metabase.Snapshot
	schema   Schema
	opts     Options
	ops      []metabase.Op
	report   *Report
	problems Problems
	seen     map[string]placed     // by folded target: what the file has there
	needed   map[string]bool       // folded targets that stand over others
	classes  map[string]string     // by folded target: the class that the key gets
	left     map[metabase.Path]int // keys left out, by their service
	out      map[string]bool       // folded targets that are left out, with all below them
}

// placed is a key of the file with the place it gets.
type placed struct {
	Key
	to metabase.Path
}

func (p *planner) bad(line int, at metabase.Path, property string, err error) {
	p.problems = append(p.problems, Problem{line, at, property, err})
}

func (p *planner) remark(v Verdict, line int, at metabase.Path, property, format string, args ...any) {
	p.report.Remarks = append(p.report.Remarks, Remark{v, line, at, property, fmt.Sprintf(format, args...)})
}

// choose takes the keys that are wanted, gives each its place, and sorts the
// upper ones first.
func (p *planner) choose() []placed {
	p.unplaced()
	var keys []placed
	for _, k := range p.file.Keys {
		if p.file.Foreign && p.opts.Part != "" && !k.Path.Within(p.opts.Part) {
			p.left[service(k.Path)]++
			continue
		}
		to := k.Path
		if p.file.Foreign && p.opts.Rename != nil {
			to = p.opts.Rename(to)
		}
		keys = append(keys, placed{k, to})
	}
	p.inheritAbove(keys)
	for _, at := range slices.Sorted(maps.Keys(p.left)) {
		p.remark(Ignored, 0, at, "", "%d keys: not below %s", p.left[at], p.opts.Part)
	}
	slices.SortStableFunc(keys, func(a, b placed) int { return depth(a.to) - depth(b.to) })
	if p.opts.NodeOnly {
		keys = keys[:min(1, len(keys))]
	}
	if p.opts.At != "" && len(keys) > 0 {
		p.moveTo(p.opts.At, keys)
	}
	return keys
}

// inheritAbove adds to the topmost key of Part what it inherits in the file from
// keys that are not taken over.
func (p *planner) inheritAbove(keys []placed) {
	top := slices.IndexFunc(keys, func(k placed) bool { return k.Path.Equal(p.opts.Part) })
	if !p.file.Foreign || p.opts.Part == "" || top < 0 {
		return
	}
	named := map[metabase.ID]bool{metabase.KeyType: true}
	for _, it := range keys[top].Items {
		named[p.id(it)] = true
	}
	class, _ := p.class(keys[top])
	for at := p.opts.Part; at != metabase.Root; {
		at = at.Parent()
		above := slices.IndexFunc(p.file.Keys, func(k Key) bool { return k.Path.Equal(at) })
		if above < 0 {
			continue
		}
		for _, it := range p.file.Keys[above].Items {
			prop, want, faults := p.find(it)
			if len(faults) > 0 || named[want.ID] || prop.Name == "" || want.Attr&metabase.Inherit == 0 || !p.schema.Holds(class, want.ID) {
				continue
			}
			named[want.ID] = true
			keys[top].Items = append(keys[top].Items, it)
			p.remark(Translated, it.Line, keys[top].to, it.Name, "is inherited from %s there, and stored here", at)
		}
	}
}

// unplaced tells of elements that name no place.
func (p *planner) unplaced() {
	for _, no := range p.file.Problems {
		if p.file.Foreign {
			p.remark(Decision, no.Line, "", "", "%v, and is left out", no.Err)
		} else {
			p.problems = append(p.problems, no)
		}
	}
}

// moveTo puts the topmost key, which is the first, at another place, and the
// others below it.
func (p *planner) moveTo(at metabase.Path, keys []placed) {
	top := keys[0].to
	for i, k := range keys {
		if !k.to.Within(top) {
			p.bad(k.Line, k.to, "", fmt.Errorf("is not below %s, so it has no place below %s", top, at))
			continue
		}
		below := slices.Collect(k.to.Elements())[depth(top):]
		to, err := metabase.ParsePath(string(at) + "/" + strings.Join(below, "/"))
		if err != nil {
			p.bad(k.Line, k.to, "", err)
			continue
		}
		keys[i].to = to
	}
}

// depth counts the elements of a path.
func depth(p metabase.Path) int {
	if p == metabase.Root {
		return 0
	}
	return strings.Count(string(p), "/")
}

// service is the first two elements of a path.
func service(path metabase.Path) metabase.Path {
	for depth(path) > 2 {
		path = path.Parent()
	}
	return path
}

func (p *planner) key(k placed) {
	if p.without(k) {
		return
	}
	if first, twice := p.seen[fold(k.to)]; twice {
		p.twice(k, first)
		return
	}
	class, ok := p.class(k)
	if !ok {
		p.out[fold(k.to)] = k.to != metabase.Root && !p.snap.Has(k.to)
		p.look(k)
		return
	}
	p.parents(k)
	p.seen[fold(k.to)] = k
	p.report.Keys++
	p.place(k, class)
	named := map[metabase.ID]bool{metabase.KeyType: true}
	for _, it := range k.Items {
		p.item(k, it, named)
	}
	if p.opts.Merge || !p.snap.Has(k.to) {
		return
	}
	for _, old := range p.snap.Properties(k.to) {
		if !named[old.ID] && old.Attr&staying == 0 {
			p.ops = append(p.ops, metabase.Unset{Path: k.to, ID: old.ID})
		}
	}
}

// without says that k is left out because a key above it is.
func (p *planner) without(k placed) bool {
	for at := k.to.Parent(); at != metabase.Root; at = at.Parent() {
		if !p.out[fold(at)] {
			continue
		}
		p.out[fold(k.to)] = true
		if p.file.Foreign {
			p.remark(Ignored, k.Line, k.to, "", "%s is left out", at)
		}
		p.look(k)
		return true
	}
	return false
}

// look finds what is wrong with the properties of a key of our own file that
// is not taken: all problems are told at once.
func (p *planner) look(k placed) {
	if p.file.Foreign {
		return
	}
	ops, report := p.ops, *p.report
	for _, it := range k.Items {
		p.item(k, it, map[metabase.ID]bool{})
	}
	p.ops, *p.report = ops, report
}

// twice tells of a key whose place another one has. That the places are one
// here, and were two there, is no fault of a foreign file.
func (p *planner) twice(k, first placed) {
	if p.file.Foreign && !k.Path.Equal(first.Path) {
		p.remark(Decision, k.Line, k.Path, "", "is %s here, which stands in line %d already, and is left out", k.to, first.Line)
		return
	}
	p.bad(k.Line, "", "", fmt.Errorf("%s stands in line %d already", k.to, first.Line))
}

// parents adds the keys that k stands below and that neither the tree nor the
// file has, and keeps those that the tree has.
func (p *planner) parents(k placed) {
	var missing []metabase.Path
	for at := k.to.Parent(); at != metabase.Root && !p.needed[fold(at)]; at = at.Parent() {
		if p.needed[fold(at)] = true; !p.has(at) {
			missing = append(missing, at)
		}
	}
	for _, at := range slices.Backward(missing) {
		class := p.byPlace(at)
		p.classes[fold(at)], p.report.added[fold(at)] = class, k.Line
		p.ops = append(p.ops, metabase.AddKey{Path: at, Class: class})
		text := "is not in the file, and is added"
		if class != "" {
			text += " with the class of its place, " + class
		}
		p.remark(Translated, k.Line, at, "", "%s", text)
	}
}

func (p *planner) has(at metabase.Path) bool {
	_, made := p.classes[fold(at)]
	return made || p.snap.Has(at)
}

// classAt is the class that a key has, or gets.
func (p *planner) classAt(at metabase.Path) string {
	if class, made := p.classes[fold(at)]; made {
		return class
	}
	return p.snap.Class(at)
}

// byPlace asks for the class that a key has by its place.
func (p *planner) byPlace(path metabase.Path) string {
	if p.opts.Class == nil {
		return ""
	}
	var above []string
	for at := path; at != metabase.Root; {
		at = at.Parent()
		above = append(above, p.classAt(at))
	}
	return p.opts.Class(above, path.Base())
}

// place adds the key, or makes the one that is there what the file says.
func (p *planner) place(k placed, class string) {
	there, exists := p.snap.Key(k.to)
	p.classes[fold(k.to)] = class
	if !exists {
		p.ops = append(p.ops, metabase.AddKey{Path: k.to, Class: class})
		return
	}
	replace := !p.file.Foreign && !p.opts.Merge
	if replace && p.opts.At == "" && there.Path.Base() != k.to.Base() {
		p.ops = append(p.ops, metabase.Move{From: k.to, To: k.to}) // another spelling of its name
	}
	switch {
	case strings.EqualFold(there.Class, class):
	case p.file.Foreign && there.Class != "": // by which what stands below it is judged
		p.classes[fold(k.to)] = there.Class
		if class != "" {
			p.remark(Decision, k.Line, k.to, "", "is of class %s here, and stays so; the file says %s", there.Class, class)
		}
	case class != "":
		p.ops = append(p.ops, metabase.Set{Path: k.to, Property: metabase.Property{
			ID: metabase.KeyType, UserType: metabase.UTServer, Value: metabase.String(class)}})
	case replace:
		p.ops = append(p.ops, metabase.Unset{Path: k.to, ID: metabase.KeyType})
	default:
		p.classes[fold(k.to)] = there.Class
	}
}

// class finds the key's class; ok is false when the key is left out.
func (p *planner) class(k placed) (class string, ok bool) {
	none := strings.EqualFold(k.Element, noClass)
	if p.file.Foreign && (none || strings.EqualFold(k.Element, anyClass)) {
		class = p.byPlace(k.to)
	}
	if none || class != "" {
		return class, true
	}
	if spelled, ok := p.schema.Class(k.Element); ok {
		return spelled, true
	}
	if p.file.Foreign {
		p.remark(Ignored, k.Line, k.to, "", "class %s is not known", k.Element)
	} else {
		p.bad(k.Line, k.to, "", fmt.Errorf("class %s is not known", k.Element))
	}
	return "", false
}

// sweep removes the keys that the file does not name, below the topmost ones
// that it does.
func (p *planner) sweep(keys []placed) {
	for _, k := range keys {
		if p.isTop(k.to) {
			p.sweepBelow(k.to)
		}
	}
}

// isTop says that the file has no key above path.
func (p *planner) isTop(path metabase.Path) bool {
	for at := path; at != metabase.Root; {
		at = at.Parent()
		if _, ok := p.seen[fold(at)]; ok {
			return false
		}
	}
	return true
}

func (p *planner) sweepBelow(top metabase.Path) {
	var gone metabase.Path
	for path := range p.snap.Walk(top) {
		if gone != "" && path.Within(gone) {
			continue
		}
		if _, ok := p.seen[fold(path)]; !ok && !p.needed[fold(path)] {
			p.ops = append(p.ops, metabase.Remove{Path: path, Recursive: true})
			gone = path
		}
	}
}
