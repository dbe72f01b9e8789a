// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"context"
	"fmt"
	"sort"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/settings"
	"restante/metabase"
)

// A state is the configuration of a revision, for one caller.
type state struct {
	handlers
	site *settings.Site // without the domains whose keys are hidden from the caller
	snap metabase.Snapshot
	past bool // snap is that of a revision that was asked for
	who  api.Caller
	made map[metabase.Rev]*api.Provenance
}

// sees reports whether the caller may read a key: by the lists of today and by those of
// then, so that a key that is gone shows nothing that it did not show.
func (st *state) sees(p metabase.Path) bool {
	return st.snap.View(st.who.Who).Sees(p) && (!st.past || st.View(st.who).Sees(p))
}

// stateAt gives the configuration that a request is about, to a caller who may read its
// site. The site is not loaded.
func (h handlers) stateAt(ctx context.Context, who api.Caller, q api.ExplainRequest) (*state, error) {
	st := &state{handlers: h, snap: h.Tree.Snapshot(), who: who, made: map[metabase.Rev]*api.Provenance{}}
	if q.Rev == nil && q.At.IsZero() {
		_, err := h.SiteAt(ctx, who, q.Site, metabase.Read)
		return st, err
	}
	if q.Rev != nil && !q.At.IsZero() {
		return nil, api.Usage("a revision and a time exclude each other", "")
	}
	p, what := settings.SitePath(q.Site), fmt.Sprintf("site %d", q.Site)
	err := h.Require(ctx, who, p, metabase.Read, true, api.Missing(what, "there is no such site"))
	var rev metabase.Rev
	switch {
	case err != nil:
	case q.Rev != nil:
		rev = *q.Rev
	default:
		rev, err = h.revAt(ctx, q.At)
	}
	if err == nil {
		st.snap, err = h.Tree.At(ctx, rev)
	}
	if err != nil {
		return nil, err
	}
	st.past = true
	missing := api.Missing(what, fmt.Sprintf("there is no such site at revision %d", rev))
	if v := st.snap.View(who.Who); !v.Sees(p) {
		if v.Conceals(p, metabase.Read) {
			return nil, missing
		}
		return nil, h.Deny(ctx, who, p, metabase.Read, p, "")
	}
	if !admin.HasSite(st.snap, q.Site) {
		return nil, missing
	}
	return st, nil
}

// revAt is the revision that was in force at a time.
func (h handlers) revAt(ctx context.Context, at time.Time) (metabase.Rev, error) {
	now, oldest := h.Tree.Snapshot(), h.Tree.Oldest()
	if at.After(time.Now()) {
		return 0, api.Usage(fmt.Sprintf("%s is in the future", at.Format(time.RFC3339)), "")
	}
	var failed error
	later := sort.Search(int(now.Rev()-oldest), func(i int) bool {
		r, err := h.Tree.Record(ctx, oldest+1+metabase.Rev(i))
		failed = cmp.Or(failed, err)
		return r.Time.After(at)
	})
	if failed != nil {
		return 0, failed
	}
	if later == 0 {
		return 0, api.Missing(at.Format(time.RFC3339), fmt.Sprintf("the history that is kept begins with revision %d, which is later", oldest+1))
	}
	return oldest + metabase.Rev(later), nil
}

// load loads the settings of site n. A domain's key that the caller may not read is
// answered as one that does not exist.
func (st *state) load(ctx context.Context, n int) (*settings.Site, error) {
	s, err := settings.Load(st.snap, n)
	if err != nil {
		p := settings.SitePath(n)
		if at, hidden := st.View(st.who).Hidden(p); hidden { // the hidden key may be the cause
			return nil, st.Deny(ctx, st.who, at, metabase.Read, p, "")
		}
		if at, hidden := st.snap.View(st.who.Who).Hidden(p); hidden {
			return nil, st.Deny(ctx, st.who, at, metabase.Read, p, "")
		}
		return nil, api.RefusedAll(err)
	}
	return s.Without(func(p metabase.Path) bool { return !st.sees(p) }), nil
}

// reasons omits properties of keys that the caller may not read. Values that the
// site inherits count as the site's own.
func (st *state) reasons(ctx context.Context, step string, why []settings.Reason) (out []api.Reason) {
	for _, r := range why {
		if r.Path != "" && len(r.Path) > len(settings.Service) && !st.sees(r.Path) {
			continue
		}
		out = append(out, api.Reason{Step: step, Property: r.Property, Value: r.Text, From: r.Path, Made: st.provenance(ctx, r.Rev)})
	}
	return out
}

// provenance tells who made a revision; where the history does not reach back so far, the
// number must do.
func (st *state) provenance(ctx context.Context, rev metabase.Rev) *api.Provenance {
	if rev == 0 {
		return nil
	}
	if st.made[rev] == nil {
		st.made[rev] = &api.Provenance{Rev: rev}
		if r, err := st.Tree.Record(ctx, rev); err == nil {
			st.made[rev] = &api.Provenance{Rev: r.Rev, Time: r.Time, Actor: r.Actor, Origin: r.Origin, Comment: r.Comment}
		}
	}
	return st.made[rev]
}
