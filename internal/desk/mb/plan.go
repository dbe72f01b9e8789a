// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"context"

	"restante/internal/control"
	"restante/metabase"
)

// plan makes the operations of a batch in words. Every line that cannot be
// understood is in the error, which comes with the operations of the others.
func (d drawer) plan(ctx context.Context, who control.Caller, lines []control.Line) (planned, error) {
	p := planner{desk: d, snap: d.Tree.Snapshot(), set: map[string]metabase.Property{}}
	var out planned
	var problems []control.Problem
	var single error
	failed, notFound := 0, 0
	for _, l := range lines {
		op, err := p.line(l)
		if err == nil {
			out.add(op, l.Number)
			continue
		}
		if c, _ := readCall(l); len(c.args) > 0 {
			err = d.veil(ctx, who, c.args[0], err)
		}
		e := control.AsError(err)
		failed++
		if single = e; e.Kind == control.KindNotFound {
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
		return out, &control.Error{Kind: control.KindNotFound, Problems: problems}
	}
	return out, &control.Error{Kind: control.KindRefused, Problems: problems}
}

// atLine gives what is wrong with a line as problems of it.
func atLine(n int, e *control.Error) (out []control.Problem) {
	for _, p := range e.Problems {
		p.Line = n
		out = append(out, p)
	}
	if e.Text != "" || len(out) == 0 {
		out = append(out, control.Problem{Line: n, Why: e.Text})
	}
	return out
}

// A planner turns words into operations, and remembers what earlier ones did
// as far as later ones ask for it.
type planner struct {
	desk drawer
	snap metabase.Snapshot
	made []made                       // by add, cp and mv
	set  map[string]metabase.Property // by set and unset: by path and id in small letters
}

// made is a key that an earlier line makes, by copying from where that is set.
type made struct{ path, from metabase.Path }

func (p *planner) has(path metabase.Path) bool {
	if p.snap.Has(path) {
		return true
	}
	for _, m := range p.made {
		if path.Equal(m.path) {
			return true
		}
		if m.from != "" && path.Within(m.path) && p.snap.Has(m.from+path[len(m.path):]) {
			return true
		}
	}
	return false
}

func (p *planner) line(l control.Line) (metabase.Op, error) {
	c, err := readCall(l)
	if err != nil {
		return nil, err
	}
	switch c.verb {
	case "set":
		return p.setOp(c)
	case "unset":
		return p.unsetOp(c)
	case "lock", "unlock":
		return p.lockOp(c.verb, c.args)
	case "add":
		return p.addOp(c)
	case "rm":
		return p.rmOp(c)
	case "clear":
		return p.clearOp(c)
	case "cpdata":
		return p.cpdataOp(c)
	case "touch":
		return p.touchOp(c)
	}
	return p.copyOp(c)
}

// lockOp locks what is stored at a key against being overridden below it, or
// lets it be overridden again.
func (p *planner) lockOp(verb string, args []string) (metabase.Op, error) {
	t, err := p.desk.find(p.has, args)
	if err == nil && len(t.rest) > 0 {
		err = control.Usage(verb+" takes PATH PROP", "")
	}
	if err != nil {
		return nil, err
	}
	return metabase.Lock{Path: t.path, ID: t.prop.ID, Off: verb == "unlock"}, nil
}
