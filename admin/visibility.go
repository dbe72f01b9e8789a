// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"restante/admin/api"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// As gives the tree for changes in the caller's name. A change is in force when
// it is acknowledged.
func (d *API) As(who api.Caller) Tree { return barrier{d.Tree, d, who} }

// View gives the present state as the caller may see it.
func (d *API) View(who api.Caller) *metabase.View { return d.Tree.Snapshot().View(who.Who) }

// ChangeView gives a view of no change: the present state before and after.
func (d *API) ChangeView(who api.Caller) metabase.ChangeView {
	now := d.Tree.Snapshot()
	return metabase.ChangeView{Who: who.Who, Now: now, Before: now, After: now}
}

// ViewRecord gives a view of what one revision changed.
func (d *API) ViewRecord(ctx context.Context, who api.Caller, r metabase.Record) (metabase.ChangeView, error) {
	v := d.ChangeView(who)
	err := v.Load(ctx, d.Tree.At, r)
	return v, err
}

// Allow returns a Denied if the caller has not the right at p.
func (d *API) Allow(ctx context.Context, who api.Caller, p metabase.Path, r metabase.Right) error {
	principals := who.Who
	if len(principals) == 0 {
		return &metabase.Error{Path: p, Kind: metabase.Denied, Err: errors.New("the caller has no name")}
	}
	return d.Tree.Allow(ctx, principals, who.Origin, p, r)
}

// AllowNamed is Allow at a key that the caller takes for existing. A key that is
// concealed from the caller is answered as one that does not exist.
func (d *API) AllowNamed(ctx context.Context, who api.Caller, p metabase.Path, r metabase.Right) error {
	err := d.Allow(ctx, who, p, r)
	if err != nil && d.View(who).Conceals(p, r) {
		return api.Missing(string(p), "not found")
	}
	return err
}

// Redact returns err if the caller may read p, and otherwise the error of
// AllowNamed: err's text could reveal whether p exists.
func (d *API) Redact(ctx context.Context, who api.Caller, p metabase.Path, err error) error {
	if err == nil || d.View(who).Sees(p) {
		return err
	}
	return d.AllowNamed(ctx, who, p, metabase.Read)
}

// Deny returns a Denied about the key named, which the caller has named, for
// want of a right at p. The audit gets p. Current access lists may allow the
// right where those of an earlier state do not.
func (d *API) Deny(ctx context.Context, who api.Caller, p metabase.Path, r metabase.Right, named metabase.Path, why string) error {
	if d.Allow(ctx, who, p, r) == nil && d.Audit != nil {
		d.Audit(ctx, metabase.Refusal{Time: time.Now(), Actor: who.Who[0], Origin: who.Origin, Path: p, Need: r})
	}
	e := &metabase.Error{Path: named, Kind: metabase.Denied}
	if why != "" {
		e.Err = errors.New(why)
	}
	return e
}

// Require returns missing if the key at p does not exist or is concealed from the
// caller, and a Denied if the caller has not the right there. A caller without the
// right to read p gets the same answer whether it exists or not.
func (d *API) Require(ctx context.Context, who api.Caller, p metabase.Path, r metabase.Right, exists bool, missing error) error {
	if !exists && d.View(who).Sees(p) {
		return missing
	}
	err := d.Allow(ctx, who, p, r)
	if exists && (err == nil || !d.View(who).Conceals(p, r)) {
		return err
	}
	if err != nil && !exists {
		return err
	}
	return missing
}

// SiteAt checks that site n exists and that the caller has the right there.
func (d *API) SiteAt(ctx context.Context, who api.Caller, n int, r metabase.Right) (metabase.Path, error) {
	p := settings.SitePath(n)
	missing := api.Missing(fmt.Sprintf("site %d", n), "there is no such site")
	return p, d.Require(ctx, who, p, r, HasSite(d.Tree.Snapshot(), n), missing)
}

// HasSite reports whether site n exists.
func HasSite(snap metabase.Snapshot, n int) bool {
	return strings.EqualFold(snap.Class(settings.SitePath(n)), schema.Server)
}

// MailSites lists the sites whose mail the caller may see to. It is denied to a caller who
// may see to none, where there are any.
func (d *API) MailSites(ctx context.Context, who api.Caller) (mine []int, err error) {
	snap := d.Tree.Snapshot()
	var denied []metabase.Path
	for _, n := range settings.Numbers(snap) {
		if p := settings.SitePath(n); snap.Allows(who.Who, p, metabase.Write) {
			mine = append(mine, n)
		} else {
			denied = append(denied, p)
		}
	}
	if len(mine) == 0 && len(denied) > 0 {
		return nil, d.Deny(ctx, who, denied[0], metabase.Write, settings.Service, "you may see to no site's mail")
	}
	return mine, nil
}
