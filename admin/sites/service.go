// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/settings"
	"restante/metabase"
)

func (h handlers) status(ctx context.Context, who api.Caller, _ struct{}) (api.Service, error) {
	if h.Engine == nil {
		return api.Service{}, api.ErrNoService
	}
	v := h.View(who)
	if !v.Leads(metabase.Root) {
		return api.Service{}, h.Deny(ctx, who, metabase.Root, metabase.Read, metabase.Root, "")
	}
	sites, err := h.sites(ctx, who, struct{}{})
	if err != nil {
		return api.Service{}, err
	}
	out := api.Service{
		Version: h.Env.Version, Data: h.Env.Data, PID: os.Getpid(),
		Revision: v.Rev(), Changed: v.Time(), Sites: sites,
	}
	out.Stopping = h.Stopping != nil && h.Stopping()
	for _, p := range h.Tree.Pending() {
		if h.canReadAll(ctx, who, p.Rev) {
			out.Pending = append(out.Pending, api.Unconfirmed{Rev: p.Rev, Until: p.Until})
		}
	}
	if v.Sees(settings.Service) {
		out.Trace = h.TraceState()
	}
	for _, s := range sites {
		out.Messages += s.Messages
		out.Held += s.Held
		out.Connections += s.Connections
	}
	return out, nil
}

// canReadAll reports whether the caller may read everything that a revision changed.
func (h handlers) canReadAll(ctx context.Context, who api.Caller, rev metabase.Rev) bool {
	r, err := h.Tree.Record(ctx, rev)
	if err != nil {
		return false
	}
	v, err := h.ViewRecord(ctx, who, r)
	return err == nil && !slices.ContainsFunc(r.Changes, func(c metabase.DiffLine) bool { return !v.Sees(c.Path) })
}

func (h handlers) complete(ctx context.Context, who api.Caller, q api.CompleteRequest) ([]string, error) {
	v := h.View(who)
	out := []string{}
	add := func(word string) {
		if len(word) >= len(q.Prefix) && strings.EqualFold(word[:len(q.Prefix)], q.Prefix) {
			out = append(out, word)
		}
	}
	switch q.Kind {
	case "path":
		completePath(v, q.Prefix, add)
	case "property":
		for p := range h.Schema.Props() {
			add(p.Name)
		}
	case "site":
		for _, n := range sitesOf(v) {
			add(strconv.Itoa(n))
		}
	case "domain":
		for _, n := range settings.Numbers(v.Snapshot) {
			for name := range v.Children(settings.DomainsPath(n)) {
				if v.Sees(settings.DomainPath(n, name)) {
					add(name)
				}
			}
		}
	case "account":
		all, err := h.accounts(ctx, who, api.SiteRequest{})
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			if a.Site != 0 {
				add(strconv.Itoa(a.Site) + "/" + a.Name)
			} else {
				add(a.Name)
			}
		}
	}
	return out, nil
}

// sitesOf lists the sites that the caller may read.
func sitesOf(v *metabase.View) []int {
	return slices.DeleteFunc(settings.Numbers(v.Snapshot), func(n int) bool { return !v.Sees(settings.SitePath(n)) })
}

func completePath(v *metabase.View, prefix string, add func(string)) {
	above := "/"
	if i := strings.LastIndex(prefix, "/"); i >= 0 {
		above = prefix[:i+1]
	}
	p, err := admin.ParsePath(above)
	if err != nil {
		return
	}
	for name := range v.Children(p) {
		if v.Leads(p.Join(name)) {
			add(above + name)
		}
	}
}
