// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"context"
	"errors"
	"math/big"
	"slices"
	"time"

	"restante/engine/settings"
	"restante/internal/control"
	"restante/metabase"
	"restante/metabase/schema"
)

func (d drawer) apply(ctx context.Context, who control.Caller, q control.ApplyRequest) (control.Applied, error) {
	ops, err := d.plan(ctx, who, q.Lines)
	if err != nil {
		return control.Applied{}, d.alsoRefused(ctx, who.Batch(ops...), err)
	}
	b := who.Batch(ops...)
	b.IfRev, b.Confirm = q.IfRev, time.Duration(q.Confirm*float64(time.Second))
	return d.commit(ctx, b, q.DryRun)
}

// alsoRefused adds to err, about lines that cannot be understood, what stands
// against the others: all problems are told at once.
func (d drawer) alsoRefused(ctx context.Context, b metabase.Batch, err error) error {
	var refused *metabase.Refused
	if len(b.Ops) == 0 {
		return err
	}
	if _, tried := d.Tree.Try(ctx, b); !errors.As(tried, &refused) {
		return err
	}
	e, more := *control.AsError(err), control.AsError(refused)
	e.Problems = append(slices.Clone(e.Problems), more.Problems...)
	if more.Kind != control.KindNotFound {
		e.Kind = control.KindRefused
	}
	return &e
}

// commit applies the batch or tries it, and tells what changes.
func (d drawer) commit(ctx context.Context, b metabase.Batch, dry bool) (control.Applied, error) {
	if dry {
		c, err := d.Tree.Try(ctx, b)
		if err != nil {
			return control.Applied{}, err
		}
		touches := d.touches(c)
		return control.Applied{Rev: c.Old.Rev(), DryRun: true, Changes: d.changes(c.Diff()), Touches: &touches}, nil
	}
	before := d.Tree.Snapshot().Rev()
	rev, err := d.Tree.Apply(ctx, b)
	if err != nil {
		return control.Applied{}, err
	}
	a := control.Applied{Rev: rev, Changes: []control.Change{}}
	if rev == before {
		return a, nil
	}
	if r, err := d.Tree.Record(ctx, rev); err == nil {
		a.Changes = d.changes(r.Changes)
		a.Until = r.Until
	}
	return a, nil
}

func (d drawer) confirm(ctx context.Context, who control.Caller, q control.ConfirmRequest) (control.Applied, error) {
	rev, err := d.mayConfirm(ctx, who, q.Rev)
	if err != nil {
		return control.Applied{}, err
	}
	rev, err = d.Tree.Confirm(ctx, rev)
	return control.Applied{Rev: rev, Changes: []control.Change{}}, err
}

// mayConfirm finds the revision that waits and that the caller may keep: who
// may write at every key that it changed. Rev 0 is the newest such.
func (d drawer) mayConfirm(ctx context.Context, who control.Caller, rev metabase.Rev) (metabase.Rev, error) {
	snap, waits := d.Tree.Snapshot(), false
	for _, p := range d.Tree.Pending() {
		if rev != 0 && p.Rev != rev {
			continue
		}
		waits = true
		r, err := d.Tree.Record(ctx, p.Rev)
		if err != nil {
			return 0, err
		}
		if !slices.ContainsFunc(r.Changes, func(c metabase.Changed) bool { return !snap.Allows(who.Who, c.Path, metabase.Write) }) {
			return p.Rev, nil
		}
	}
	if waits {
		return 0, d.Allow(ctx, who, metabase.Root, metabase.Write)
	}
	return rev, nil
}

// touches looks at both states of the tree, and at the mail that waits.
func (d drawer) touches(c metabase.Change) control.Touches {
	t := control.Touches{Heirs: []control.Heirs{}, Sites: []control.SiteTouched{}, Unseen: []int{}}
	impact := settings.Ground{Data: d.Place.Data}.Assess(c)
	for _, h := range impact.Heirs {
		name := h.Property
		if name == "" {
			name = number(h.ID)
		}
		t.Heirs = append(t.Heirs, control.Heirs{
			Path: h.Path, Property: name, Sites: append([]int{}, h.Sites...),
			Domains: h.Domains, Accounts: h.Accounts, DomainNames: h.Names(schema.Domain), AccountNames: h.Names(schema.User), Keys: h.Keys,
		})
	}
	for _, s := range impact.Sites {
		out := control.SiteTouched{Site: s.Number, Relay: s.Relay, RelayAll: s.After, RelayAuth: s.RelayAuth, OpenDomains: append([]string{}, s.OpenDomain...), Becomes: append([]string{}, s.Becomes...)}
		if out.Relay == nil {
			out.Relay, out.RelayAll = new(big.Int), new(big.Int)
		}
		var seen bool
		if out.Rerouted, seen = d.rerouted(s); !seen {
			t.Unseen = append(t.Unseen, s.Number)
		}
		t.Rerouted += out.Rerouted
		t.Sites = append(t.Sites, out)
	}
	return t
}

// rerouted counts the messages in a site's queue that would go another way, and
// says whether it could. A site that is new has none.
func (d drawer) rerouted(s settings.SiteImpact) (n int, seen bool) {
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
