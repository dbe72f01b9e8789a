// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
)

// plan parses the lines of a batch. The error has a problem for every line that
// cannot be parsed, and comes with the operations of the others.
func (d handlers) plan(ctx context.Context, who api.Caller, lines []api.Line) (planned, error) {
	p := lineParser{handlers: d, view: d.View(who), stored: map[string]metabase.Property{}}
	var out planned
	var problems []api.Problem
	var single error
	failed, notFound := 0, 0
	for _, l := range lines {
		op, err := p.line(ctx, who, l)
		if err == nil {
			out.add(op, l.Number)
			continue
		}
		e := api.AsError(err)
		failed++
		if single = e; e.Kind == api.KindNotFound {
			notFound++
		}
		problems = append(problems, atLine(l.Number, e)...)
	}
	switch {
	case failed == 0:
		return out, nil
	case len(lines) == 1 && lines[0].Number == 0:
		return planned{}, single
	case notFound == failed:
		return out, &api.Error{Kind: api.KindNotFound, Problems: problems}
	}
	return out, &api.Error{Kind: api.KindRefused, Problems: problems}
}

// atLine gives what is wrong with a line as problems of it.
func atLine(n int, e *api.Error) (out []api.Problem) {
	for _, p := range e.Problems {
		p.Line = n
		out = append(out, p)
	}
	if e.Text != "" || len(out) == 0 {
		out = append(out, api.Problem{Line: n, Why: e.Text})
	}
	return out
}

// A lineParser makes operations of lines. It remembers what earlier lines do as far
// as later ones depend on it. Of a key that the caller may not read it looks at
// nothing: the tree asks for the rights to the operation, and no answer depends
// on whether the key exists.
type lineParser struct {
	handlers
	view   *metabase.View
	made   []made                       // by add, cp and mv
	stored map[string]metabase.Property // by set and unset: by path and id in lower case
}

// made is a key that an earlier line makes, by copying from where that is set.
type made struct{ path, from metabase.Path }

// exists reports whether an operation may be about the key at path.
func (p *lineParser) exists(path metabase.Path) bool {
	switch {
	case !p.view.Sees(path):
		return !p.namesProperty(path) // PATH/PROP in one word
	case p.view.Has(path):
		return true
	}
	for _, m := range p.made {
		if path.Equal(m.path) {
			return true
		}
		if m.from != "" && path.Within(m.path) {
			from := m.from + path[len(m.path):] // a key that the caller may not read is not copied
			if p.view.Has(from) && p.view.Sees(from) {
				return true
			}
		}
	}
	return false
}

// line parses a line. The error is Denied, and nothing else, where the line is
// about a key that the caller may not read.
func (p *lineParser) line(ctx context.Context, who api.Caller, l api.Line) (metabase.Op, error) {
	c, err := readCall(l)
	if err != nil {
		return nil, err
	}
	op, err := c.parse(p, c)
	for _, word := range c.args[:min(len(c.args), 2)] {
		if at, bad := admin.ParsePath(word); err != nil && bad == nil {
			err = p.Redact(ctx, who, at, err)
		}
	}
	return op, err
}
