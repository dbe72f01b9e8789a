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
)

func (d drawer) apply(ctx context.Context, who control.Caller, q control.ApplyRequest) (control.Applied, error) {
	wait, err := confirmTime(q.Confirm)
	if err != nil {
		return control.Applied{}, err
	}
	p, err := d.plan(ctx, who, q.Lines)
	if err != nil {
		return control.Applied{}, d.alsoRefused(ctx, who, p, err)
	}
	b := who.Batch(p.ops...)
	b.IfRev, b.Confirm = q.IfRev, wait
	a, err := d.commit(ctx, b, q.DryRun)
	return a, p.numbered(err)
}

// maxConfirm is the longest time that a change may wait to be confirmed.
const maxConfirm = 10 * 365 * 24 * time.Hour

// confirmTime reads the seconds to be confirmed in, nil for none: what was
// given and comes to nothing would keep for good what is only tried.
func confirmTime(seconds *float64) (time.Duration, error) {
	if seconds == nil {
		return 0, nil
	}
	if s := *seconds; s >= 1e-9 && s <= maxConfirm.Seconds() { // and no NaN
		return time.Duration(s * float64(time.Second)), nil
	}
	return 0, control.Usage("the time to confirm must be greater than 0 and at most ten years", "help mb apply")
}

// alsoRefused adds to err, about lines that cannot be understood, what stands
// against the others: all problems are told at once.
func (d drawer) alsoRefused(ctx context.Context, who control.Caller, p planned, err error) error {
	var refused *metabase.Refused
	if len(p.ops) == 0 {
		return err
	}
	if _, tried := d.Tree.Try(ctx, who.Batch(p.ops...)); !errors.As(tried, &refused) {
		return err
	}
	e, more := *control.AsError(err), control.AsError(p.numbered(refused))
	e.Problems = append(slices.Clone(e.Problems), more.Problems...)
	sortByLine(e.Problems)
	if more.Kind != control.KindNotFound {
		e.Kind = control.KindRefused
	}
	return &e
}

// commit applies the batch or tries it, and tells what changes.
func (d drawer) commit(ctx context.Context, b metabase.Batch, dry bool) (control.Applied, error) {
	if dry {
		return d.tried(d.Tree.Try(ctx, b))
	}
	before := d.Tree.Snapshot().Rev()
	rev, err := d.Tree.Apply(ctx, b)
	if err != nil {
		return control.Applied{}, err
	}
	a := control.Applied{Rev: rev, Made: rev != before, Changes: []control.Change{}}
	if !a.Made {
		return a, nil
	}
	if r, err := d.Tree.Record(ctx, rev); err == nil {
		a.Changes = d.changes(r.Changes)
		a.Until = r.Until
	}
	return a, nil
}

// tried tells of a batch that has not been made what it would do.
func (d drawer) tried(c metabase.Change, err error) (control.Applied, error) {
	if err != nil {
		return control.Applied{}, err
	}
	touches := d.touches(c)
	return control.Applied{Rev: c.Old.Rev(), DryRun: true, Changes: d.changes(c.Diff()), Touches: &touches}, nil
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
	t := control.Touches{Heirs: []control.Heirs{}, Sites: []control.SiteTouched{}}
	impact := settings.Assess(c)
	for _, h := range impact.Heirs {
		name := h.Property
		if name == "" {
			name = number(h.ID)
		}
		t.Heirs = append(t.Heirs, control.Heirs{
			Path: h.Path, Property: name, Sites: append([]int{}, h.Sites...),
			Domains: h.Domains, Accounts: h.Accounts, Keys: h.Keys,
		})
	}
	for _, s := range impact.Sites {
		out := control.SiteTouched{Site: s.Number, Relay: s.Relay, RelayAll: s.After, RelayAuth: s.RelayAuth, OpenDomains: append([]string{}, s.OpenDomain...)}
		if out.Relay == nil {
			out.Relay, out.RelayAll = new(big.Int), new(big.Int)
		}
		out.Rerouted = d.rerouted(s)
		t.Rerouted += out.Rerouted
		t.Sites = append(t.Sites, out)
	}
	return t
}

// rerouted counts the messages in a site's queue that would go another way.
func (d drawer) rerouted(s settings.SiteImpact) (n int) {
	if d.Engine == nil {
		return 0
	}
	q, ok := d.Engine.Queue(s.Number)
	if !ok {
		return 0
	}
	for _, dest := range q.Destinations() {
		if s.Reroutes(dest.Domain) {
			n += dest.Messages
		}
	}
	return n
}
