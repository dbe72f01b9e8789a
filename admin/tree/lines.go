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

// planned is the operations of a batch in words, each with the number of its
// line, 0 where it has none.
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
		return err // it is another error that speaks
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
	nothing = iota
	nearby  // it stores something else there or above
	told    // and the problem speaks of that
	above   // it stores the property above
	around  // it makes, fills or takes away the key
	exactly // it stores or removes the property there
)

// line is the number of the last line that p comes from, 0 where that is a
// guess.
func (b planned) line(p metabase.Problem) (line int) {
	most, several := nothing, false
	for i, op := range b.ops {
		n := bearing(op, p)
		if n == nothing || n < most {
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

func bearing(op metabase.Op, p metabase.Problem) int {
	switch op := op.(type) {
	case metabase.Set:
		return ofItem(op.Path, op.Property.ID, p)
	case metabase.SetBits:
		return ofItem(op.Path, op.Property.ID, p)
	case metabase.Unset:
		return ofItem(op.Path, op.ID, p)
	case metabase.Lock:
		return ofItem(op.Path, op.ID, p)
	case metabase.AddKey:
		return ofKey(p.Path.Equal(op.Path))
	case metabase.Remove:
		return ofKey(p.Path.Within(op.Path))
	case metabase.RemoveChildren:
		return ofKey(p.Path.Within(op.Path))
	case metabase.Copy:
		return ofKey(p.Path.Within(op.To) || p.ID == 0 && p.Path.Equal(op.From))
	case metabase.Move:
		return ofKey(p.Path.Within(op.To) || p.Path.Within(op.From))
	case metabase.Clear:
		return ofKey(p.Path.Equal(op.Path))
	case metabase.CopyData:
		return ofKey(p.Path.Equal(op.To) || p.ID == 0 && p.Path.Equal(op.From))
	case metabase.Touch:
		return ofKey(p.Path.Equal(op.Path))
	}
	return nothing
}

func ofKey(is bool) int {
	if is {
		return around
	}
	return nothing
}

// ofItem is for an operation on the property id at path.
func ofItem(path metabase.Path, id metabase.ID, p metabase.Problem) int {
	switch {
	case !p.Path.Within(path):
		if path.Within(p.Path) && speaksOf(p.Err, id) {
			return told // it does not go with what stands above
		}
		return nothing
	case p.Path.Equal(path) && id == p.ID:
		return exactly
	case id == p.ID:
		return above
	case p.Path.Equal(path) && p.ID == 0:
		return around
	case speaksOf(p.Err, id):
		return told
	}
	return nearby
}

// speaksOf says that the reason names a property.
func speaksOf(why error, id metabase.ID) bool {
	prop, known := schema.IIS().ByID(id)
	if !known || prop.Name == "" || why == nil {
		return false
	}
	words := strings.FieldsFunc(why.Error(), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.Contains(words, prop.Name)
}
