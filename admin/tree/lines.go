// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
	"unicode"

	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

// planned are the operations of the lines that could be parsed, each with the
// number of its line, 0 where it has none.
type planned struct {
	ops   []metabase.Op
	lines []int
}

func (b *planned) add(op metabase.Op, line int) {
	b.ops, b.lines = append(b.ops, op), append(b.lines, line)
}

// numbered gives each problem of err the line that it comes from, where that is
// known, and puts them in the order of the lines.
func (b planned) numbered(err error) error {
	var refused *metabase.Refused
	if !errors.As(err, &refused) || !slices.ContainsFunc(b.lines, func(n int) bool { return n > 0 }) {
		return err
	}
	e := api.AsError(refused)
	if len(e.Problems) != len(refused.Problems) {
		return err // it is not refused that is shown
	}
	for i, p := range refused.Problems {
		e.Problems[i].Line = b.line(p)
	}
	sortByLine(e.Problems)
	return e
}

// sortByLine puts problems without a line last.
func sortByLine(list []api.Problem) {
	key := func(p api.Problem) int {
		if p.Line == 0 {
			return math.MaxInt
		}
		return p.Line
	}
	slices.SortStableFunc(list, func(a, b api.Problem) int { return cmp.Compare(key(a), key(b)) })
}

// How much an operation has to do with a problem.
const (
	unrelated = iota
	nearby    // it stores another property there or above
	mentioned // and the problem mentions that property
	above     // it stores the property above
	around    // it makes, fills or removes the key
	exactly   // it stores or removes the property there
)

// line is the number of the last line that p comes from, 0 where that is a
// guess.
func (b planned) line(p metabase.Problem) (line int) {
	most, several := unrelated, false
	for i, op := range b.ops {
		n := relation(op.Scope(), p)
		if n == unrelated || n < most {
			continue
		}
		several = n == most && line != b.lines[i]
		most, line = n, b.lines[i]
	}
	if most == nearby && several {
		return 0
	}
	return line
}

func relation(s metabase.Scope, p metabase.Problem) int {
	if s.ID == 0 {
		about := func(at metabase.Path) bool { return p.Path.Equal(at) || s.Deep && p.Path.Within(at) }
		ofSource := s.From != "" && (p.ID == 0 || errors.Is(p.Err, metabase.Denied))
		if about(s.Path) || ofSource && about(s.From) {
			return around
		}
		return unrelated
	}
	switch {
	case !p.Path.Within(s.Path):
		if s.Path.Within(p.Path) && mentions(p.Err, s.ID) {
			return mentioned // it does not go with what is stored above
		}
		return unrelated
	case p.Path.Equal(s.Path) && s.ID == p.ID:
		return exactly
	case s.ID == p.ID:
		return above
	case p.Path.Equal(s.Path) && p.ID == 0:
		return around
	case mentions(p.Err, s.ID):
		return mentioned
	}
	return nearby
}

// mentions reports whether an error names a property.
func mentions(why error, id metabase.ID) bool {
	prop, known := schema.IIS().ByID(id)
	if !known || prop.Name == "" || why == nil {
		return false
	}
	words := strings.FieldsFunc(why.Error(), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.Contains(words, prop.Name)
}
