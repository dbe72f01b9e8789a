// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"slices"

	"restante/admin/api"
	"restante/metabase"
)

// An Eye sees of a change what its caller may: what is open to him by the lists
// of today, and by those before and after the change. A list that goes away,
// with its key or alone, opens nothing of what it kept.
type Eye struct {
	Who                api.Caller
	Now, Before, After metabase.Snapshot
}

// May says whether the caller has the right at p.
func (e Eye) May(p metabase.Path, r metabase.Right) bool {
	for _, snap := range []metabase.Snapshot{e.Now, e.Before, e.After} {
		if !snap.Allows(e.Who.Who, p, r) {
			return false
		}
	}
	return true
}

// Sees says whether the caller may read p.
func (e Eye) Sees(p metabase.Path) bool { return e.May(p, metabase.Read) }

// Eye looks at the present state.
func (d *API) Eye(who api.Caller) Eye {
	now := d.Tree.Snapshot()
	return Eye{who, now, now, now}
}

// EyeOn looks at one revision.
func (d *API) EyeOn(ctx context.Context, who api.Caller, r metabase.Record) (e Eye, err error) {
	e = d.Eye(who)
	if r.Rev < e.Now.Rev() {
		if e.After, err = d.Tree.At(ctx, r.Rev); err != nil {
			return e, err
		}
	}
	e.Before = e.After
	return e, d.Back(ctx, &e, r)
}

// Back takes an Eye from the state after a revision to the revision. States
// that have the same lists are one to it: most revisions cost nothing.
func (d *API) Back(ctx context.Context, e *Eye, r metabase.Record) (err error) {
	e.After = e.Before
	if changesLists(r) {
		e.Before, err = d.Tree.At(ctx, r.Rev-1)
	}
	return err
}

// Forth takes an Eye from the revision before one, or the state before it, to
// that one.
func (d *API) Forth(ctx context.Context, e *Eye, r metabase.Record) (err error) {
	e.Before = e.After
	if changesLists(r) {
		e.After, err = d.Tree.At(ctx, r.Rev)
	}
	return err
}

// changesLists says whether a revision changed an access list.
func changesLists(r metabase.Record) bool {
	return slices.ContainsFunc(r.Changes, func(c metabase.DiffLine) bool { return c.ID == metabase.AccessList })
}
