// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
)

// plan makes the operations of a batch in words. Every line that cannot be
// understood is in the error, which comes with the operations of the others.
func (d handlers) plan(ctx context.Context, who api.Caller, lines []api.Line) (planned, error) {
	p := planner{handlers: d, who: who, snap: d.Tree.Snapshot(), set: map[string]metabase.Property{}}
	var out planned
	var problems []api.Problem
	var single error
	failed, notFound := 0, 0
	for _, l := range lines {
		op, err := p.line(ctx, l)
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

// A planner turns words into operations, and remembers what earlier ones did
// as far as later ones ask for it.
type planner struct {
	handlers handlers
	who      api.Caller
	snap     metabase.Snapshot
	made     []made                       // by add, cp and mv
	set      map[string]metabase.Property // by set and unset: by path and id in small letters
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
		if m.from != "" && path.Within(m.path) {
			// What the caller may not read does not come along, nor is it told.
			from := m.from + path[len(m.path):]
			if p.snap.Has(from) && p.snap.Allows(p.who.Who, from, metabase.Read) {
				return true
			}
		}
	}
	return false
}

func (p *planner) line(ctx context.Context, l api.Line) (metabase.Op, error) {
	c, err := readCall(l)
	if err != nil {
		return nil, err
	}
	if err := p.ask(ctx, c); err != nil {
		return nil, err
	}
	op, err := p.op(ctx, c)
	if err != nil && len(c.args) > 0 {
		if at, bad := admin.ParsePath(c.args[0]); bad == nil {
			err = p.handlers.Redact(ctx, p.who, at, err)
		}
	}
	return op, err
}

// ask refuses a line about a key that the caller may neither read nor do that
// to, before anything of the key is looked at. For all others the tree asks.
func (p *planner) ask(ctx context.Context, c call) error {
	for i, any := range verbs[c.verb].asks {
		if i >= len(c.args) {
			break
		}
		at, err := admin.ParsePath(c.args[i])
		if err != nil {
			return err
		}
		if p.snap.Rights(p.who.Who, at)&(metabase.Read|any) == 0 {
			return p.handlers.Deny(ctx, p.who, at, any&-any, at, "") // the least of them
		}
	}
	return nil
}

func (p *planner) op(ctx context.Context, c call) (metabase.Op, error) {
	switch c.verb {
	case "set":
		return p.setOp(c)
	case "unset":
		return p.unsetOp(c)
	case "lock", "unlock":
		return p.lockOp(ctx, c.verb, c.args)
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
func (p *planner) lockOp(ctx context.Context, verb string, args []string) (metabase.Op, error) {
	t, err := p.handlers.find(p.has, args)
	if err == nil && len(t.rest) > 0 {
		err = api.Usage(verb+" takes PATH PROP", "")
	}
	if err != nil {
		return nil, err
	}
	if verb == "lock" {
		if err := p.overrides(ctx, t); err != nil {
			return nil, err
		}
	}
	return metabase.Lock{Path: t.path, ID: t.prop.ID, Off: verb == "unlock"}, nil
}

// overrides refuses a lock that is overridden where the caller may not read:
// the tree would name the place.
func (p *planner) overrides(ctx context.Context, t target) error {
	for _, at := range p.snap.DataPaths(t.path, t.prop.ID) {
		if !p.snap.Allows(p.who.Who, at, metabase.Read) {
			return p.handlers.Deny(ctx, p.who, at, metabase.Read, t.path, belowIt)
		}
	}
	return nil
}
