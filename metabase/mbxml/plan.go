// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// Options adjust a Plan. The zero value replaces the tree at the place that the
// file names.
type Options struct {
	At       metabase.Path // where to put the file's topmost key; "": at its own place
	Merge    bool          // keep what the file does not name
	NodeOnly bool          // the topmost key without those below it
	Part     metabase.Path // the only subtree to import of a foreign file; "": all

	// Class returns the class that a key has by its place: above are the classes
	// of the keys over it, the nearest first, ending in "" for the root. It is
	// called for keys that the file leaves out, and for keys of a foreign file
	// without a class. Nil or "" leaves them without.
	Class func(above []string, name string) string

	// Rename returns the place of a key of a foreign file in this tree; nil keeps
	// it.
	Rename func(key metabase.Path) metabase.Path

	// Folder maps a folder of another machine, in a property of the key, to one of
	// this machine; nil keeps it. It is called for each text that may be a folder,
	// and returns any other text unchanged.
	Folder func(key metabase.Path, property, folder string) string

	// Review decides on each value of a foreign file; nil accepts all. The text
	// is the value in the file; v is zero for an IP list that does not parse.
	Review func(key metabase.Path, p schema.Prop, v metabase.Value, text string) Finding
}

// A Finding is the result of a Review.
type Finding struct {
	Value    metabase.Value // to be stored
	LeaveOut bool           // store nothing
	Verdict  Verdict        // of the remark
	Text     string         // the remark, or ""
}

// Plan returns the operations that import a file into the tree of snap, and the
// report. The error is [Problems], each with its line; the operations returned
// with it are those of the rest.
func Plan(f *File, snap metabase.Snapshot, s Schema, o Options) ([]metabase.Op, *Report, error) {
	p := &planner{
		file: f, snap: snap, schema: s, opts: o, imported: map[string]placed{}, outside: maps.Clone(f.outside),
		skipped: map[string]bool{}, needed: map[string]bool{}, classes: map[string]string{},
	}
	if p.outside == nil {
		p.outside = map[metabase.Path]int{}
	}
	p.report = &Report{
		Remarks: []Remark{}, keys: p.imported, added: map[string]int{},
		imported: map[importedItem]bool{}, names: map[propertyName]bool{},
	}
	keys := p.selectKeys()
	if len(keys) == 0 && len(p.problems) == 0 {
		return nil, p.report, p.noKey()
	}
	for _, k := range keys {
		p.importKey(k)
	}
	if !o.Merge && !o.NodeOnly {
		p.removeUnnamed(keys)
	}
	if len(p.problems) > 0 {
		return p.ops, p.report, p.problems
	}
	return p.ops, p.report, nil
}

// noKey is the error of a file of which no key is taken over. It names what the file
// has in their place.
func (p *planner) noKey() error {
	text := "the file holds no key to take over"
	if len(p.file.Problems) > 0 {
		return fmt.Errorf("%s: %w", text, p.file.Problems[0])
	}
	for _, at := range slices.Sorted(maps.Keys(p.outside)) {
		return fmt.Errorf("%s: none is below %s; %s has %d", text, p.opts.Part, at, p.outside[at])
	}
	return errors.New(text)
}

type planner struct {
	file     *File
	snap     metabase.Snapshot
	schema   Schema
	opts     Options
	ops      []metabase.Op
	report   *Report
	problems Problems
	imported map[string]placed     // by folded target: what the file has there
	needed   map[string]bool       // folded targets that are above others
	classes  map[string]string     // by folded target: the class that the key gets
	outside  map[metabase.Path]int // keys left out, by their service
	skipped  map[string]bool       // folded targets that are left out, with all below them
}

// placed is a key of the file with its place in this tree.
type placed struct {
	Key
	to    metabase.Path
	lines map[metabase.ID]int // of the properties that are imported
}

func (p *planner) problem(line int, at metabase.Path, property string, err error) {
	p.problems = append(p.problems, Problem{line, at, property, err})
}

func (p *planner) remark(v Verdict, line int, at metabase.Path, property, format string, args ...any) {
	p.report.Remarks = append(p.report.Remarks, Remark{v, line, at, property, fmt.Sprintf(format, args...)})
}

// selectKeys selects the keys to import, with their places, the upper ones first.
func (p *planner) selectKeys() []placed {
	p.reportUnplaced()
	var keys []placed
	for _, k := range p.file.Keys {
		if p.file.Foreign && p.opts.Part != "" && !k.Path.Within(p.opts.Part) {
			p.outside[service(k.Path)]++
			continue
		}
		to := k.Path
		if p.file.Foreign && p.opts.Rename != nil {
			to = p.opts.Rename(to)
		}
		keys = append(keys, placed{k, to, map[metabase.ID]int{metabase.KeyType: k.Line}})
	}
	keys = p.combine(keys)
	p.inheritAbove(keys)
	for _, at := range slices.Sorted(maps.Keys(p.outside)) {
		keys := "keys"
		if p.outside[at] == 1 {
			keys = "key"
		}
		p.remark(Ignored, 0, at, "", "%d %s: not below %s", p.outside[at], keys, p.opts.Part)
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
		_, want, _ := p.find(it)
		named[want.ID] = true
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
			if len(faults) > 0 || named[want.ID] || prop.Name == "" || want.Attr&metabase.Inherit == 0 || !prop.In(class) {
				continue
			}
			named[want.ID] = true
			keys[top].Items = append(keys[top].Items, it)
			p.remark(Translated, it.Line, keys[top].to, it.Name, "the file has it at %s, above the service: it is stored here", at)
		}
	}
}

// reportUnplaced reports the elements without a place.
func (p *planner) reportUnplaced() {
	for _, no := range p.file.Problems {
		if p.file.Foreign {
			p.remark(Decision, no.Line, "", "", "%v, and is left out", no.Err)
		} else {
			p.problems = append(p.problems, no)
		}
	}
}

// moveTo moves the topmost key, which is the first, and those below it to another
// place.
func (p *planner) moveTo(at metabase.Path, keys []placed) {
	top := keys[0].to
	for i, k := range keys {
		if !k.to.Within(top) {
			p.problem(k.Line, k.to, "", fmt.Errorf("is not below %s, so it has no place below %s", top, at))
			continue
		}
		below := slices.Collect(k.to.Elements())[depth(top):]
		to, err := metabase.ParsePath(string(at) + "/" + strings.Join(below, "/"))
		if err != nil {
			p.problem(k.Line, k.to, "", err)
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

func (p *planner) importKey(k placed) {
	if p.skippedAbove(k) {
		return
	}
	if first, twice := p.imported[k.to.Fold()]; twice {
		p.reportDuplicate(k, first)
		return
	}
	class, ok := p.class(k)
	if !ok {
		p.skipped[k.to.Fold()] = k.to != metabase.Root && !p.snap.Has(k.to)
		p.reportSkipped(k)
		return
	}
	p.addParents(k)
	p.imported[k.to.Fold()] = k
	p.report.Keys++
	p.report.imports(k.to, 0, "")
	p.putKey(k, class)
	for _, it := range k.Items {
		p.importItem(k, it)
	}
	if p.opts.Merge || !p.snap.Has(k.to) {
		return
	}
	for _, old := range p.snap.Properties(k.to) {
		if _, named := k.lines[old.ID]; !named && old.Attr&localAttrs == 0 {
			p.ops = append(p.ops, metabase.Unset{Path: k.to, ID: old.ID})
		}
	}
}

// skippedAbove reports whether k is left out because a key above it is.
func (p *planner) skippedAbove(k placed) bool {
	for at := k.to.Parent(); at != metabase.Root; at = at.Parent() {
		if !p.skipped[at.Fold()] {
			continue
		}
		p.skipped[k.to.Fold()] = true
		if p.file.Foreign {
			p.remark(Ignored, k.Line, k.to, "", "%s is left out", at)
		}
		p.reportSkipped(k)
		return true
	}
	return false
}

// reportSkipped reports the problems of the properties of a key that is left out. Only an
// own file needs that: it is refused with all of its problems.
func (p *planner) reportSkipped(k placed) {
	if p.file.Foreign {
		return
	}
	ops, report := p.ops, *p.report
	for _, it := range k.Items {
		p.importItem(k, it)
	}
	p.ops, *p.report = ops, report
}

// reportDuplicate reports a key whose place another one has. In a foreign file the places
// may differ: Rename can map two to one.
func (p *planner) reportDuplicate(k, first placed) {
	if p.file.Foreign && !k.Path.Equal(first.Path) {
		p.remark(Decision, k.Line, k.Path, "", "is %s here, which line %d has already, and is left out", k.to, first.Line)
		return
	}
	p.problem(k.Line, "", "", fmt.Errorf("line %d has %s already", first.Line, k.to))
}

// addParents adds the keys above k that neither the tree nor the file has, and keeps
// those that the tree has.
func (p *planner) addParents(k placed) {
	var missing []metabase.Path
	for at := k.to.Parent(); at != metabase.Root && !p.needed[at.Fold()]; at = at.Parent() {
		if p.needed[at.Fold()] = true; !p.has(at) {
			missing = append(missing, at)
		}
	}
	for _, at := range slices.Backward(missing) {
		class := p.classByPlace(at)
		p.classes[at.Fold()], p.report.added[at.Fold()] = class, k.Line
		p.ops = append(p.ops, metabase.AddKey{Path: at, Class: class})
		text := "is not in the file, and is added"
		if class != "" {
			text += " with the class of its place, " + class
		}
		p.remark(Translated, k.Line, at, "", "%s", text)
	}
}

func (p *planner) has(at metabase.Path) bool {
	_, made := p.classes[at.Fold()]
	return made || p.snap.Has(at)
}

// classAt is the class that a key has after the import.
func (p *planner) classAt(at metabase.Path) string {
	if class, made := p.classes[at.Fold()]; made {
		return class
	}
	return p.snap.Class(at)
}

// classByPlace is the class that a key has by its place.
func (p *planner) classByPlace(path metabase.Path) string {
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

// putKey adds the key, or changes the class and spelling of the one in the tree.
func (p *planner) putKey(k placed, class string) {
	there, exists := p.snap.Key(k.to)
	p.classes[k.to.Fold()] = class
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
	case p.file.Foreign && there.Class != "":
		p.classes[k.to.Fold()] = there.Class
		if class != "" {
			p.remark(Decision, k.Line, k.to, "", "is of class %s here, and stays so; the file says %s", there.Class, class)
		}
	case class != "":
		p.ops = append(p.ops, metabase.Set{Path: k.to, Property: metabase.Property{
			ID: metabase.KeyType, UserType: metabase.UTServer, Value: metabase.String(class)}})
	case replace:
		p.ops = append(p.ops, metabase.Unset{Path: k.to, ID: metabase.KeyType})
	default:
		p.classes[k.to.Fold()] = there.Class
	}
}

// class returns the key's class; ok is false if the key is left out.
func (p *planner) class(k placed) (class string, ok bool) {
	none := strings.EqualFold(k.Element, noClass)
	if p.file.Foreign && (none || strings.EqualFold(k.Element, anyClass)) {
		class = p.classByPlace(k.to)
	}
	if none || class != "" {
		return class, true
	}
	if c, ok := p.schema.Class(k.Element); ok {
		return c.Name, true
	}
	if p.file.Foreign {
		p.remark(Ignored, k.Line, k.to, "", "class %s is not known", k.Element)
	} else {
		p.problem(k.Line, k.to, "", fmt.Errorf("class %s is not known", k.Element))
	}
	return "", false
}

// removeUnnamed removes the keys that the file does not name, below its topmost ones.
func (p *planner) removeUnnamed(keys []placed) {
	for _, k := range keys {
		if p.isTop(k.to) {
			p.removeUnnamedBelow(k.to)
		}
	}
}

// isTop reports whether the file has no key above path.
func (p *planner) isTop(path metabase.Path) bool {
	for at := path; at != metabase.Root; {
		at = at.Parent()
		if _, ok := p.imported[at.Fold()]; ok {
			return false
		}
	}
	return true
}

func (p *planner) removeUnnamedBelow(top metabase.Path) {
	var gone metabase.Path
	for path := range p.snap.Walk(top) {
		if gone != "" && path.Within(gone) {
			continue
		}
		if _, ok := p.imported[path.Fold()]; !ok && !p.needed[path.Fold()] {
			p.ops = append(p.ops, metabase.Remove{Path: path, Recursive: true})
			gone = path
		}
	}
}
