// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/internal/casefold"
)

// A Verdict says what the import does with a part of the file.
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
	Path     metabase.Path `json:"path"` // "" where no key is meant
	Property string        `json:"property,omitempty"`
	Text     string        `json:"text"`
}

// A Report says what an import does.
type Report struct {
	Keys       int      `json:"keys"`       // imported
	Properties int      `json:"properties"` // imported, translated ones included
	Remarks    []Remark `json:"remarks"`

	keys  map[string]placed // the keys of the file, by folded path
	added map[string]int    // the keys added above them: the line that needs one
}

// Line returns the line of a property in the file; id 0 is the key itself. For a
// property that the file does not have it is the line of the key, for a key
// that was added above another the line of that one, else 0. Exact reports
// whether the file has the property or key itself.
func (r *Report) Line(path metabase.Path, id metabase.ID) (line int, exact bool) {
	k, ok := r.keys[fold(path)]
	if !ok {
		return r.added[fold(path)], false
	}
	if line, ok := k.lines[id]; ok {
		return line, true
	}
	return k.Line, id == 0
}

// Sort orders the remarks by line, those without one last.
func (r *Report) Sort() {
	slices.SortStableFunc(r.Remarks, func(a, b Remark) int {
		return cmp.Compare(uint(a.Line-1), uint(b.Line-1))
	})
}

func fold(path metabase.Path) string { return casefold.Fold(string(path)) }

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
