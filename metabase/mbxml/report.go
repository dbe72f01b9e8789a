// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"restante/metabase"
)

// A Verdict says what the import does with a part of the file.
type Verdict string

// The verdicts of a report.
const (
	Translated Verdict = "translated"
	NoEffect   Verdict = "without effect" // stored, but nothing acts on it
	Decision   Verdict = "needs a decision"
	Ignored    Verdict = "ignored"
)

// A Remark is one line of the report.
type Remark struct {
	Verdict  Verdict       `json:"verdict"`
	Line     int           `json:"line,omitempty"`
	Path     metabase.Path `json:"path"` // "" where no key is meant
	Property string        `json:"property,omitempty"`
	Text     string        `json:"text"`
}

// A Report says what an import does.
type Report struct {
	Keys       int      `json:"keys"`       // imported
	Properties int      `json:"properties"` // imported, translated ones included
	Counts     Counts   `json:"counts"`     // set by Finish
	Remarks    []Remark `json:"remarks"`

	keys     map[string]placed     // the keys of the file, by folded path
	added    map[string]int        // the keys added above them: the line that needs one
	imported map[importedItem]bool // those of Keys and Properties; false: left out after all
	names    map[propertyName]bool
}

// Line returns the line of a property in the file; id 0 is the key itself. For a
// property that the file does not have it is the line of the key, for a key
// that was added above another the line of that one, else 0. Exact reports
// whether the file has the property or key itself.
func (r *Report) Line(path metabase.Path, id metabase.ID) (line int, exact bool) {
	k, ok := r.keys[path.Fold()]
	if !ok {
		return r.added[path.Fold()], false
	}
	if line, ok := k.lines[id]; ok {
		return line, true
	}
	return k.Line, id == 0
}

// Finish counts, and orders the remarks by line, those without one last.
func (r *Report) Finish() {
	r.count()
	slices.SortStableFunc(r.Remarks, func(a, b Remark) int {
		return cmp.Compare(uint(a.Line-1), uint(b.Line-1))
	})
}

// A Problem is an error in a file.
type Problem struct {
	Line     int
	Path     metabase.Path // "" where no key is meant
	Property string        // "" where the key itself is meant
	Err      error
}

// Error prints line, path, property and reason.
func (p Problem) Error() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	for _, part := range []string{string(p.Path), p.Property} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	return b.String() + p.Err.Error()
}

// Unwrap returns the reason.
func (p Problem) Unwrap() error { return p.Err }

// Problems are all errors in a file.
type Problems []Problem

// Error prints one problem per line.
func (list Problems) Error() string {
	lines := make([]string, len(list))
	for i, p := range list {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// A Shadow is a property in the tree that hides what a key of the file inherits
// there: the file has another value at a key above, and none at this one.
type Shadow struct {
	Path   metabase.Path     // the key that stores the property in the tree
	Stored metabase.Property // as the tree stores it
	From   metabase.Path     // the nearest key above that has it in the file
	Says   metabase.Value    // the value that the file has there
}

// Shadows lists the shadows that a merge would leave, by key: ops are applied to
// snap. Secure and volatile values are in no file, and so are left out.
func (r *Report) Shadows(snap metabase.Snapshot, ops []metabase.Op) (list []Shadow) {
	m := merged{report: r, snap: snap, set: map[string]map[metabase.ID]metabase.Property{}}
	for _, op := range ops {
		set, ok := op.(metabase.Set)
		if !ok {
			continue
		}
		at := set.Path.Fold()
		if m.set[at] == nil {
			m.set[at] = map[metabase.ID]metabase.Property{}
		}
		m.set[at][set.Property.ID] = set.Property
	}
	for _, path := range r.affected() {
		for _, item := range snap.Properties(path) {
			if s, hidden := m.shadow(path, item); hidden {
				list = append(list, s)
			}
		}
	}
	return list
}

// affected lists the keys of the file and those above them, the upper ones
// first.
func (r *Report) affected() []metabase.Path {
	paths := map[string]metabase.Path{}
	for at, k := range r.keys {
		paths[at] = k.to
		for up := k.to; up != metabase.Root; {
			up = up.Parent()
			if _, known := paths[up.Fold()]; known {
				break
			}
			paths[up.Fold()] = up
		}
	}
	return slices.Sorted(maps.Values(paths))
}

// merged is the tree after a merge.
type merged struct {
	report *Report
	snap   metabase.Snapshot
	set    map[string]map[metabase.ID]metabase.Property // by folded path: what the operations store
}

// shadow reports whether a property that the merge keeps hides a value of the
// file.
func (m merged) shadow(path metabase.Path, item metabase.Property) (Shadow, bool) {
	if item.ID == metabase.KeyType || item.Attr&(metabase.Secure|metabase.Volatile) != 0 || path == metabase.Root {
		return Shadow{}, false
	}
	if _, ok := m.says(path, item.ID); ok {
		return Shadow{}, false
	}
	for at := path; at != metabase.Root; {
		at = at.Parent()
		if said, ok := m.says(at, item.ID); ok {
			return Shadow{path, item, at, said.Value}, said.Attr&metabase.Inherit != 0 && !said.Value.Equal(item.Value)
		}
	}
	return Shadow{}, false
}

// says returns what the merge stores for the file at a key.
func (m merged) says(path metabase.Path, id metabase.ID) (metabase.Property, bool) {
	at := path.Fold()
	if p, ok := m.set[at][id]; ok {
		return p, true
	}
	if _, named := m.report.keys[at].lines[id]; !named {
		return metabase.Property{}, false
	}
	return m.snap.Stored(path, id) // the same as in the file, or the file's was left out
}
