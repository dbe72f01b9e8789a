// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

func (d handlers) apply(ctx context.Context, who api.Caller, q api.ApplyRequest) (api.Applied, error) {
	p, err := d.plan(ctx, who, q.Lines)
	if err != nil {
		return api.Applied{}, d.alsoRefused(ctx, who, p, err)
	}
	a, err := d.commit(ctx, who, who.Batch(p.ops...), q.DryRun)
	if err == nil {
		d.noteValues(ctx, p.ops)
	}
	return a, p.numbered(err)
}

// alsoRefused adds to err, about lines that cannot be understood, what stands
// against the others: all problems are told at once.
func (d handlers) alsoRefused(ctx context.Context, who api.Caller, p planned, err error) error {
	var refused *metabase.Refused
	if len(p.ops) == 0 {
		return err
	}
	if _, tried := d.As(who).Try(ctx, who.Batch(p.ops...)); !errors.As(tried, &refused) {
		return err
	}
	e, more := *api.AsError(err), api.AsError(p.numbered(refused))
	e.Problems = append(slices.Clone(e.Problems), more.Problems...)
	sortByLine(e.Problems)
	if more.Kind != api.KindNotFound {
		e.Kind = api.KindRefused
	}
	return &e
}

// commit applies the batch or tries it, and tells what changes.
func (d handlers) commit(ctx context.Context, who api.Caller, b metabase.Batch, dry bool) (api.Applied, error) {
	if dry {
		c, err := d.As(who).Try(ctx, b)
		if err != nil {
			return api.Applied{}, err
		}
		return d.tried(who, c), nil
	}
	before := d.Tree.Snapshot().Rev()
	rev, err := d.As(who).Apply(ctx, b)
	return d.made(ctx, who, before, rev), err
}

func (d handlers) confirm(ctx context.Context, who api.Caller, q api.ConfirmRequest) (api.Applied, error) {
	rev, err := q.Rev, error(nil)
	if rev == 0 {
		rev, err = d.newestOf(ctx, who)
	} else {
		err = d.mayConfirm(ctx, who, rev)
	}
	if err != nil {
		return api.Applied{}, err
	}
	rev, err = d.As(who).Confirm(ctx, rev)
	return api.Applied{Rev: rev, Changes: []api.Change{}}, err
}

// newestOf finds the newest revision that waits and that the caller may keep;
// 0 when none waits. Where he may keep none of those that wait, the error is
// about the newest.
func (d handlers) newestOf(ctx context.Context, who api.Caller) (metabase.Rev, error) {
	var no error
	for _, p := range d.Tree.Pending() {
		err := d.mayConfirm(ctx, who, p.Rev)
		if err == nil {
			return p.Rev, nil
		}
		if no == nil {
			no = err
		}
	}
	return 0, no
}

// mayConfirm asks for the right to write at every key that a revision changed,
// also by the lists that it changed; at the root where what it changed is
// forgotten. One that does not wait is for the tree to tell of.
func (d handlers) mayConfirm(ctx context.Context, who api.Caller, rev metabase.Rev) error {
	if rev <= d.Tree.Oldest() {
		return d.Allow(ctx, who, metabase.Root, metabase.Write)
	}
	r, err := d.Tree.Record(ctx, rev)
	if errors.Is(err, metabase.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v, err := d.ViewRecord(ctx, who, r)
	if err != nil {
		return err
	}
	for _, c := range r.Changes {
		if v.Allows(c.Path, metabase.Write) {
			continue
		}
		named := c.Path
		if !v.Sees(named) {
			named = "" // the log has it
		}
		return d.Deny(ctx, who, c.Path, metabase.Write, named, fmt.Sprintf("revision %d changed what you may not write", rev))
	}
	return nil
}

// touches looks at both states of the tree, and at the mail that waits, as far
// as the caller may.
func (d handlers) touches(v metabase.ChangeView, c metabase.Change) api.Impact {
	t := api.Impact{Inheritors: []api.Inheritors{}, Sites: []api.SiteImpact{}, Uninspected: []int{}}
	impact := settings.Layout{Data: d.Env.Data}.Assess(c)
	for _, h := range impact.Inheritors {
		if out := inheritors(v, c, h); len(out.Keys) > 0 {
			t.Inheritors = append(t.Inheritors, out)
		}
	}
	for _, s := range impact.Sites {
		if !v.Sees(settings.SitePath(s.Number)) {
			continue
		}
		out := api.SiteImpact{
			Site: s.Number, Relay: s.Relay.More, RelayFewer: s.Relay.Fewer, RelayAll: s.Relay.All, RelayAuth: s.RelayAuth,
			Connect: s.Connect.More, ConnectFewer: s.Connect.Fewer, ConnectAll: s.Connect.All,
			OpenDomains: []string{}, Becomes: append([]string{}, s.Summary...),
		}
		for _, d := range s.ToDomain {
			if v.Sees(settings.DomainPath(s.Number, d.Name)) {
				out.Becomes = append(out.Becomes, reachWords(d)...)
			}
		}
		for _, name := range s.OpenDomain {
			if v.Sees(settings.DomainPath(s.Number, name)) {
				out.OpenDomains = append(out.OpenDomains, name)
			}
		}
		var seen bool
		if out.Rerouted, seen = d.rerouted(s); !seen {
			t.Uninspected = append(t.Uninspected, s.Number)
		}
		t.Rerouted += out.Rerouted
		t.Sites = append(t.Sites, out)
	}
	return t
}

// reachWords words how many addresses more and fewer may relay to a domain.
func reachWords(d settings.DomainReach) (out []string) {
	if d.More.Sign() > 0 {
		out = append(out, fmt.Sprintf("%s more addresses may relay to %s, %s in all", d.More, d.Name, d.All))
	}
	if d.Fewer.Sign() > 0 {
		out = append(out, fmt.Sprintf("%s fewer addresses may relay to %s, %s in all", d.Fewer, d.Name, d.All))
	}
	return out
}

// inheritors returns those of h that the caller may read.
func inheritors(v metabase.ChangeView, c metabase.Change, h settings.Inheritors) api.Inheritors {
	out := api.Inheritors{Path: h.Path, Property: h.Property, Sites: []int{}}
	if out.Property == "" {
		out.Property = number(h.ID)
	}
	for _, n := range h.Sites {
		if v.Sees(settings.SitePath(n)) {
			out.Sites = append(out.Sites, n)
		}
	}
	for _, p := range h.Keys {
		if !v.Sees(p) {
			continue
		}
		out.Keys = append(out.Keys, p)
		switch class := c.New.Class(p); {
		case strings.EqualFold(class, schema.Server):
		case strings.EqualFold(class, schema.Domain):
			out.Domains++
		default:
			out.Accounts++
		}
	}
	mine := settings.Inheritors{Keys: out.Keys}
	out.DomainNames, out.AccountNames = mine.Names(schema.Domain), mine.Names(schema.User)
	return out
}

// rerouted counts the messages in a site's queue that would go another way, and
// says whether it could. A site that is new has none.
func (d handlers) rerouted(s settings.SiteImpact) (n int, seen bool) {
	if s.IsNew() {
		return 0, true
	}
	if d.Engine == nil {
		return 0, false
	}
	q, ok := d.Engine.Queue(s.Number)
	if !ok {
		return 0, false
	}
	for _, dest := range q.Destinations() {
		if s.Reroutes(dest.Domain) {
			n += dest.Messages
		}
	}
	return n, true
}

// plan parses the lines of a batch. The error has a problem for every line that
// cannot be parsed, and comes with the operations of the others.
func (d handlers) plan(ctx context.Context, who api.Caller, lines []api.Line) (planned, error) {
	p := lineParser{handlers: d, view: d.View(who), made: map[string][]metabase.Path{}, stored: map[string]metabase.Property{}}
	var out planned
	var problems []api.Problem
	var single error
	failed, notFound := 0, 0
	for _, l := range lines {
		op, err := p.line(ctx, who, l)
		ops := []metabase.Op{op}
		if err == nil && l.AsIIS {
			ops, err = p.asIIS(ctx, op)
		}
		if err == nil {
			for _, op := range ops {
				out.add(op, l.Number)
			}
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
	made   map[string][]metabase.Path   // by add, cp and mv: by folded path, what it is copied from, or ""
	stored map[string]metabase.Property // by set and unset: by folded path and id
}

func (p *lineParser) makes(path, from metabase.Path) {
	p.made[path.Fold()] = append(p.made[path.Fold()], from)
}

// sources yields what earlier lines copy to path, with a key above it or alone;
// "" where a line adds it.
func (p *lineParser) sources(path metabase.Path) iter.Seq[metabase.Path] {
	return func(yield func(metabase.Path) bool) {
		for up := range path.Parents() {
			for _, from := range p.made[up.Fold()] {
				if from != "" {
					from = from.Join(strings.TrimPrefix(string(path[len(up):]), "/"))
				}
				if (from != "" || up == path) && !yield(from) {
					return
				}
			}
		}
	}
}

// exists reports whether an operation may be about the key at path.
func (p *lineParser) exists(path metabase.Path) bool {
	switch {
	case !p.view.Sees(path):
		return !p.namesProperty(path) && !p.view.Conceals(path, metabase.Read) // PATH/PROP in one word
	case p.view.Has(path):
		return true
	}
	if len(p.made[path.Fold()]) > 0 {
		return true
	}
	for from := range p.sources(path) {
		if p.view.Has(from) && p.view.Sees(from) { // a key that the caller may not read is not copied
			return true
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
	if err == nil {
		return op, nil
	}
	for _, word := range c.args[:min(len(c.args), c.paths)] {
		if at, bad := admin.ParsePath(word); bad == nil && !p.view.Sees(at) {
			return nil, p.Redact(ctx, who, at, err)
		}
	}
	return nil, err
}
