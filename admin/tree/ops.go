// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

func (p *lineParser) parseUnset(c call) (metabase.Op, error) {
	t, err := p.find(p.exists, c.args)
	if err == nil && len(t.rest) > 0 {
		err = api.Usage(c.name+" takes "+c.usage, "")
	}
	if err != nil {
		return nil, err
	}
	if t.prop.Syntax == schema.Flag {
		whole, _ := p.Schema.ByID(t.prop.ID)
		path := string(admin.Canonical(p.view.Snapshot, t.path))
		return nil, &api.Error{
			Kind: api.KindRefused,
			Text: fmt.Sprintf("%s: %s: is one bit of %s: set it to false, or unset %s with all its bits", path, t.prop.Label(), whole.Label(), whole.Label()),
			Hint: "mb set " + shellWord(path) + " " + t.prop.Label() + " false",
		}
	}
	p.stored[t.key()] = metabase.Property{}
	return metabase.Unset{Path: t.path, ID: t.prop.ID}, nil
}

// shellWord quotes a word of a hint.
func shellWord(s string) string {
	if strings.ContainsAny(s, " '\"\\$*?[]&;|<>()~#`!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func (p *lineParser) parseAdd(c call) (metabase.Op, error) {
	if err := c.count(1, 2); err != nil {
		return nil, err
	}
	path, err := admin.ParsePath(c.args[0])
	if err != nil {
		return nil, err
	}
	op := metabase.AddKey{Path: path}
	if len(c.args) == 2 {
		class, ok := p.Schema.Class(c.args[1])
		if !ok {
			return nil, api.Missing(string(path), fmt.Sprintf("no class is called %q", c.args[1]))
		}
		op.Class = class.Name
	} else {
		op.Class = p.Schema.ClassAt(p.view.Snapshot, path)
	}
	p.makes(path, "")
	return op, nil
}

// parseLock also parses unlock.
func (p *lineParser) parseLock(c call) (metabase.Op, error) {
	t, err := p.find(p.exists, c.args)
	if err == nil && len(t.rest) > 0 {
		err = api.Usage(c.name+" takes "+c.usage, "")
	}
	return metabase.Lock{Path: t.path, ID: t.prop.ID, Off: c.name == "unlock"}, err
}

// there reads a path that must lead to a key.
func (p *lineParser) there(word string) (metabase.Path, error) {
	path, err := admin.ParsePath(word)
	if err == nil && !p.exists(path) {
		err = api.Missing(string(path), "not found")
	}
	return path, err
}

func (p *lineParser) parseRemove(c call) (metabase.Op, error) {
	if err := c.count(1, 1); err != nil {
		return nil, err
	}
	if c.has("children") && c.has("recursive") {
		return nil, api.Usage("--children and --recursive exclude each other", "")
	}
	if path, err := admin.ParsePath(c.args[0]); err == nil && p.view.Sees(path) {
		if op, ok := p.endsSession(path); ok {
			return op, nil
		}
		if p.isSessions(path) {
			return nil, api.Refused(string(path), "every site has it, for its sessions; to end them: restante site end-session")
		}
	}
	path, err := p.there(c.args[0])
	if err != nil {
		return nil, err
	}
	if c.has("children") {
		return metabase.RemoveChildren{Path: path}, nil
	}
	return metabase.Remove{Path: path, Recursive: c.has("recursive")}, nil
}

// copied reads SRC and DST.
func (p *lineParser) copied(c call) (from, to metabase.Path, err error) {
	if err := c.count(2, 2); err != nil {
		return "", "", err
	}
	if to, err = admin.ParsePath(c.args[1]); err == nil {
		from, err = p.there(c.args[0])
	}
	if err == nil {
		p.makes(to, from)
	}
	return from, to, err
}

func (p *lineParser) parseCopy(c call) (metabase.Op, error) {
	from, to, err := p.copied(c)
	return metabase.Copy{From: from, To: to, Overwrite: c.has("overwrite")}, err
}

func (p *lineParser) parseMove(c call) (metabase.Op, error) {
	from, to, err := p.copied(c)
	return metabase.Move{From: from, To: to, Overwrite: c.has("overwrite")}, err
}

func (p *lineParser) parseClear(c call) (metabase.Op, error) {
	if err := c.count(1, 1); err != nil {
		return nil, err
	}
	f, err := c.filter()
	if err != nil {
		return nil, err
	}
	path, err := p.there(c.args[0])
	return metabase.Clear{Path: path, UserType: f.user, Type: f.typ}, err
}

func (p *lineParser) parseCopyData(c call) (metabase.Op, error) {
	if err := c.count(2, 2); err != nil {
		return nil, err
	}
	f, err := c.filter()
	if err != nil {
		return nil, err
	}
	from, err := p.there(c.args[0])
	if err != nil {
		return nil, err
	}
	to, err := p.there(c.args[1])
	return metabase.CopyData{From: from, To: to, Attr: f.attr, UserType: f.user, Type: f.typ, Move: c.has("move")}, err
}

// The times that a key can hold, in nanoseconds from 1970 on.
var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

func (p *lineParser) parseTouch(c call) (metabase.Op, error) {
	if err := c.count(1, 2); err != nil {
		return nil, err
	}
	op := metabase.Touch{Time: time.Now()}
	var err error
	if len(c.args) == 2 {
		op.Time, err = time.Parse(time.RFC3339, c.args[1])
		if err != nil || op.Time.Before(firstTime) || op.Time.After(lastTime) {
			return nil, api.Usage(fmt.Sprintf("invalid time %q: use RFC 3339, such as 2026-03-01T12:00:00Z, from the year 1678 to 2262", c.args[1]), "")
		}
	}
	op.Path, err = p.there(c.args[0])
	return op, err
}

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
