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

// Allow asks whether the caller has the right at p.
func (d *API) Allow(ctx context.Context, who api.Caller, p metabase.Path, r metabase.Right) error {
	principals := who.Who
	if len(principals) == 0 {
		return &metabase.Error{Path: p, Kind: metabase.Denied, Err: errors.New("nobody asks")}
	}
	return d.Tree.Allow(ctx, principals, who.Origin, p, r)
}

// Deny refuses the right at p, whatever the lists of today say: the log has p,
// and the caller is told of what he named himself, and why where that tells
// nothing of p.
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

// Veil gives err, about the key at p, to a caller who may read it. Whoever may
// not is refused that, and told nothing else: whether there is such a key would
// show in what is wrong with it.
func (d *API) Veil(ctx context.Context, who api.Caller, p metabase.Path, err error) error {
	if err == nil || d.View(who).Sees(p) {
		return err
	}
	return d.Deny(ctx, who, p, metabase.Read, p, "")
}

// Present asks for the right at p, and gives missing where there is no such
// key.
func (d *API) Present(ctx context.Context, who api.Caller, p metabase.Path, r metabase.Right, there bool, missing error) error {
	if !there && d.View(who).Sees(p) {
		return missing
	}
	if err := d.Allow(ctx, who, p, r); err != nil {
		return err
	}
	if !there {
		return missing
	}
	return nil
}

// SiteAt checks that there is such a site and that the caller has the right.
func (d *API) SiteAt(ctx context.Context, who api.Caller, n int, r metabase.Right) (metabase.Path, error) {
	p := settings.SitePath(n)
	missing := api.Missing(fmt.Sprintf("site %d", n), "there is no such site")
	return p, d.Present(ctx, who, p, r, HasSite(d.Tree.Snapshot(), n), missing)
}

// HasSite says whether there is a site of that number.
func HasSite(snap metabase.Snapshot, n int) bool {
	return strings.EqualFold(snap.Class(settings.SitePath(n)), schema.Server)
}
