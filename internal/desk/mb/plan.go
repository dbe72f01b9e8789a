// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"context"

	"restante/internal/control"
	"restante/internal/desk"
	"restante/metabase"
	"restante/metabase/schema"
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
	set  map[string]metabase.Property // by path and id in small letters
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

// stored is what the key of t holds itself, after the earlier lines.
func (p *planner) stored(t target) (metabase.Property, bool) {
	if item, ok := p.set[t.key()]; ok {
		return item, !item.Value.IsZero()
	}
	return p.snap.Stored(t.path, t.prop.ID)
}

func (p *planner) store(t target, item metabase.Property) metabase.Op {
	p.set[t.key()] = item
	return metabase.Set{Path: t.path, Property: item}
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
	item, ok := p.stored(t)
	path, whole := string(desk.Spelled(p.snap, t.path)), t.prop
	if whole.Syntax == schema.Flag {
		whole, _ = p.desk.Schema.ByID(t.prop.ID) // a flag is locked with the rest of its number
	}
	switch {
	case !ok:
		return nil, control.Missing(path, whole.Label()+": not stored there, so there is nothing to "+verb)
	case verb == "unlock" && item.Attr&metabase.Locked == 0:
		return nil, control.Refused(path, whole.Label()+": is not locked there")
	case item.Attr&(metabase.Inherit|metabase.Volatile) != metabase.Inherit:
		return nil, control.Refused(path, whole.Label()+": is not inherited, so nothing below can override it")
	}
	item.Attr ^= item.Attr & metabase.Locked
	if verb == "lock" {
		item.Attr |= metabase.Locked
	}
	return p.store(t, item), nil
}
