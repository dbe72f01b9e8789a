// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"restante/admin/api"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/metabase"
)

// A barrier is a Tree whose changes are acknowledged when they are in force.
type barrier struct {
	Tree
	api *API
	who api.Caller
}

func (b barrier) Apply(ctx context.Context, batch metabase.Batch) (metabase.Rev, error) {
	kept, err := b.keepWaiting(ctx, batch.Waiting, func() (metabase.Change, error) { return b.Try(ctx, batch) })
	if err != nil {
		return 0, err
	}
	before := b.Snapshot().Rev()
	rev, err := b.Tree.Apply(ctx, batch)
	b.noteMade(ctx, before, rev)
	err = b.wait(ctx, before, rev, batch.Ops, err)
	kept(madeSince(before, rev))
	return rev, err
}

func (b barrier) Revert(ctx context.Context, rev metabase.Rev, below metabase.Path, batch metabase.Batch) (metabase.Rev, error) {
	kept, err := b.keepWaiting(ctx, batch.Waiting, func() (metabase.Change, error) { return b.TryRevert(ctx, rev, below, batch) })
	if err != nil {
		return 0, err
	}
	before := b.Snapshot().Rev()
	made, err := b.Tree.Revert(ctx, rev, below, batch)
	b.noteMade(ctx, before, made)
	err = b.wait(ctx, before, made, nil, err)
	kept(madeSince(before, made))
	return made, err
}

func (b barrier) Confirm(ctx context.Context, rev metabase.Rev) (metabase.Rev, error) {
	before := b.Snapshot().Rev()
	made, err := b.Tree.Confirm(ctx, rev)
	return made, b.wait(ctx, before, made, nil, err)
}

// madeSince is rev, or 0 where that is no new one.
func madeSince(before, rev metabase.Rev) metabase.Rev {
	if rev <= before {
		return 0
	}
	return rev
}

// noteMade tells the caller of a revision that was just made for him, and until when it
// is to be confirmed.
func (b barrier) noteMade(ctx context.Context, before, made metabase.Rev) {
	if made <= before {
		return
	}
	n := api.Noted{Rev: made}
	for _, p := range b.Pending() {
		if p.Rev == made && b.who.Confirm != nil {
			n.Until = p.Until
		}
	}
	api.Forward(ctx, n)
}

// A Stored is the error of a change that is stored all the same: an act of the
// batch failed, or the change is not in force at some site.
type Stored struct{ Err error }

func (e Stored) Error() string { return e.Err.Error() }

// Unwrap gives the cause, in the form of a joined error, which it may be.
func (e Stored) Unwrap() []error { return []error{e.Err} }

// IsStored reports whether err is about a change that is stored all the same.
func IsStored(err error) bool { return errors.As(err, new(Stored)) }

// wait returns when made is in force at every site. The error is err, or else
// names the sites where it is not in force, as far as the change concerns them.
// A batch of acts stores nothing, but its states are in the tree after wait. A
// batch whose values are stored already is answered as the one that stored them.
func (b barrier) wait(ctx context.Context, before, made metabase.Rev, ops []metabase.Op, err error) error {
	if made == 0 {
		return err
	}
	var late []site.Status
	var waitErr error
	if b.api.Engine != nil {
		late, waitErr = b.api.Engine.Await(ctx, made)
	}
	switch {
	case err != nil && made <= before:
		return err
	case err != nil:
		return Stored{err}
	case waitErr != nil:
		return Stored{fmt.Errorf("revision %d is stored; wait until it is in force: %w", made, waitErr)}
	case made <= before && len(late) == 0:
		return nil
	case made <= before:
		return notInForce(ctx, b.api.View(b.who), metabase.Record{Rev: made, Changes: subjects(ops)}, late)
	}
	stopped := b.api.stopped()
	if len(late) == 0 && len(stopped) == 0 {
		return nil
	}
	record, err := b.Record(ctx, made)
	if err != nil && len(late) == 0 {
		return nil // the history has dropped it already
	}
	if err != nil {
		return Stored{fmt.Errorf("revision %d is stored, but not in force at every site: %w", made, err)}
	}
	v := b.api.View(b.who)
	noteStopped(ctx, v, record, stopped)
	return notInForce(ctx, v, record, late)
}

// stopped lists the sites that do not run and have a reason.
func (a *API) stopped() (out []site.Status) {
	if a.Engine == nil {
		return nil
	}
	for _, st := range a.Engine.Sites() {
		if st.State == site.Stopped && st.Why != "" {
			out = append(out, st)
		}
	}
	return out
}

// noteStopped tells the caller why a site that the revision configures does not
// run.
func noteStopped(ctx context.Context, v *metabase.View, r metabase.Record, stopped []site.Status) {
	for _, st := range stopped {
		p := settings.SitePath(st.Number)
		configures := slices.ContainsFunc(r.Changes, func(c metabase.DiffLine) bool {
			own, _ := settings.Concerns(c, st.Number)
			return own
		})
		if configures && v.Sees(p) {
			api.Note(ctx, string(p), "does not run: "+WithoutHiddenSites(v, st.Why))
		}
	}
}

// NotInForce is the error of a change that is stored and has no effect at some of
// the sites that it concerns. It has a problem for each of Sites.
type NotInForce struct {
	Rev   metabase.Rev
	Sites []site.Status // with the reasons that the caller may read
}

func (e *NotInForce) Error() string { return e.Unwrap().Error() }

// Unwrap gives the error in the form in which it travels.
func (e *NotInForce) Unwrap() error {
	out := &api.Error{
		Kind: api.KindRefused, Hint: "status",
		Text: fmt.Sprintf("revision %d is stored, but not in force at every site", e.Rev),
	}
	for _, st := range e.Sites {
		out.Problems = append(out.Problems, api.Problem{Path: string(settings.SitePath(st.Number)), Why: st.Why})
	}
	return out
}

// subjects lists the keys whose stored properties ops are about.
func subjects(ops []metabase.Op) (out []metabase.DiffLine) {
	for _, op := range ops {
		if s := op.Scope(); s.ID != settings.ServerCommand && s.ID != settings.EndSession {
			out = append(out, metabase.DiffLine{Path: s.Path, ID: s.ID, To: s.From})
		}
	}
	return out
}

// notInForce gives the sites that a revision changed without effect, nil for
// none. Where a part of the change took effect, it tells the caller of the rest.
func notInForce(ctx context.Context, v *metabase.View, r metabase.Record, late []site.Status) error {
	e := &NotInForce{Rev: r.Rev}
	for _, st := range late {
		p := settings.SitePath(st.Number)
		changes := slices.DeleteFunc(slices.Clone(r.Changes), func(c metabase.DiffLine) bool { return !concerns(c, st) })
		kept := slices.DeleteFunc(slices.Clone(changes), func(c metabase.DiffLine) bool {
			return !slices.ContainsFunc(st.Kept, func(part site.Part) bool { return settings.IsOfPart(c.ID, string(part)) })
		})
		st.Why = WithoutHiddenSites(v, st.Why)
		switch {
		case !v.Sees(p) || len(changes) == 0:
		case len(st.Kept) == 0 || len(kept) == len(changes):
			e.Sites = append(e.Sites, st)
		case len(kept) > 0:
			api.Note(ctx, string(p), st.Why)
		}
	}
	if len(e.Sites) == 0 {
		return nil
	}
	return Stored{e}
}

// concerns reports whether a change is one of the site's own settings, or, for
// a site that runs, of those that it inherits or shares with other sites.
func concerns(c metabase.DiffLine, st site.Status) bool {
	own, shared := settings.Concerns(c, st.Number)
	return own || shared && st.Running != 0
}

// InForce waits until the newest revision is in force, so that what is read of
// the sites afterwards is not older than the tree. An automatic roll-back, which
// no call waits for, is in force, too.
func (d *API) InForce(ctx context.Context) error {
	if d.Engine == nil {
		return nil
	}
	_, err := d.Engine.Await(ctx, cmp.Or(d.base, d.Tree.Snapshot().Rev()))
	return err
}

var siteNumber = regexp.MustCompile(`\bsite (\d+)\b`)

// WithoutHiddenSites is a text about a site without the numbers of those that
// the caller may not read.
func WithoutHiddenSites(v *metabase.View, text string) string {
	return siteNumber.ReplaceAllStringFunc(text, func(s string) string {
		n, err := strconv.Atoi(strings.TrimPrefix(s, "site "))
		if err == nil && v.Sees(settings.SitePath(n)) {
			return s
		}
		return "another site"
	})
}
