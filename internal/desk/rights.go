// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"restante/engine/settings"
	"restante/internal/control"
	"restante/metabase"
	"restante/metabase/schema"
)

// Allow asks whether the caller has the right at p.
func (d *Desk) Allow(ctx context.Context, who control.Caller, p metabase.Path, r metabase.Right) error {
	principals := who.Who
	if len(principals) == 0 {
		return &metabase.Error{Path: p, Kind: metabase.Denied, Err: errors.New("nobody asks")}
	}
	return d.Tree.Allow(ctx, principals, who.Origin, p, r)
}

// SiteAt checks that there is such a site and that the caller has the right.
func (d *Desk) SiteAt(ctx context.Context, who control.Caller, n int, r metabase.Right) (metabase.Path, error) {
	p := settings.SitePath(n)
	if !HasSite(d.Tree.Snapshot(), n) {
		return "", control.Missing(fmt.Sprintf("site %d", n), "there is no such site")
	}
	return p, d.Allow(ctx, who, p, r)
}

// HasSite says whether there is a site of that number.
func HasSite(snap metabase.Snapshot, n int) bool {
	return strings.EqualFold(snap.Class(settings.SitePath(n)), schema.Server)
}
