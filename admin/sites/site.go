// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/alert"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/metabase"
	"restante/metabase/schema"
)

// text returns an effective value as one string.
func (h handlers) text(snap metabase.Snapshot, p metabase.Path, name string) string {
	return strings.Join(h.texts(snap, p, name), " ")
}

func (h handlers) texts(snap metabase.Snapshot, p metabase.Path, name string) []string {
	prop, ok := h.Schema.Property(name)
	if !ok {
		return []string{}
	}
	v, _, ok := h.Schema.Effective(snap, p, prop.ID)
	if !ok || prop.Attr&metabase.Secure != 0 {
		return []string{}
	}
	if s := v.Strings(); s != nil {
		return s
	}
	return prop.Plain(v)
}

func (h handlers) number(snap metabase.Snapshot, p metabase.Path, name string) uint32 {
	prop, _ := h.Schema.Property(name)
	v, _, _ := h.Schema.Effective(snap, p, prop.ID)
	return v.DWord()
}

func (h handlers) site(v *metabase.View, n int) api.Site {
	snap, p := v.Snapshot, settings.SitePath(n)
	s := api.Site{
		Status: site.Status{State: site.Stopped, Listening: []netip.AddrPort{}, Why: "the service does not run"},
		Domain: h.text(snap, p, "DefaultDomain"),
		FQDN:   h.text(snap, p, "FullyQualifiedDomainName"), AutoStart: h.number(snap, p, "ServerAutoStart") != 0,
		Queue: h.text(snap, p, "QueueDirectory"), Domains: v.Count(settings.DomainsPath(n)),
	}
	if h.Engine != nil {
		s.Why = ""
		for _, l := range h.Engine.LockOuts() {
			l.Account = "" // it may be one of another site
			s.LockOuts = append(s.LockOuts, l)
		}
		for _, run := range h.Engine.Sites() {
			if run.Number == n {
				s.Status = run
				s.Why = admin.WithoutHiddenSites(v, run.Why)
				s.Silent = slices.DeleteFunc(slices.Clone(run.Silent), func(a alert.Silence) bool { return !v.Sees(settings.DomainPath(n, a.Domain)) })
			}
		}
	}
	s.Bindings = addresses(h.texts(snap, p, "ServerBindings"))
	s.Number, s.Name, s.Configured = n, settings.SiteName(snap, n), uint64(snap.Rev())
	return s
}

// addresses converts bindings from IIS's form ip:port:host to ADDR:PORT.
func addresses(bindings []string) []string {
	out := make([]string, len(bindings))
	for i, b := range bindings {
		out[i] = b
		if b, err := schemaBinding(b); err == nil {
			out[i] = b
		}
	}
	return out
}

// schemaBinding converts ip:port:host to ADDR:PORT.
func schemaBinding(s string) (string, error) {
	b, err := schema.ParseBinding(s)
	if err != nil {
		return "", err
	}
	addr := b.AddrPort()
	if !addr.Addr().IsValid() || addr.Addr().IsUnspecified() {
		return ":" + strconv.Itoa(int(addr.Port())), nil
	}
	return addr.String(), nil
}

func (h handlers) sites(ctx context.Context, who api.Caller, _ struct{}) ([]api.Site, error) {
	v := h.View(who)
	if err := h.InForce(ctx); err != nil {
		return nil, err
	}
	out := []api.Site{}
	for _, n := range sitesOf(v) {
		out = append(out, h.site(v, n))
	}
	return out, nil
}

func (h handlers) siteShow(ctx context.Context, who api.Caller, q api.SiteRequest) (api.Site, error) {
	if _, err := h.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return api.Site{}, err
	}
	if err := h.InForce(ctx); err != nil {
		return api.Site{}, err
	}
	return h.site(h.View(who), q.Site), nil
}

func (h handlers) siteCreate(ctx context.Context, who api.Caller, q api.SiteCreateRequest) (api.Site, error) {
	if err := h.Allow(ctx, who, settings.Service, metabase.Create); err != nil {
		return api.Site{}, err
	}
	var n int
	// Two concurrent calls must not get the same number.
	_, err := h.applyPlan(ctx, who, func(snap metabase.Snapshot) (ops []metabase.Op, err error) {
		n, ops, err = settings.CreateSite(snap, settings.NewSite{
			Name: q.Name, Bindings: q.Bind, ODMR: q.Odmr, Domain: q.Domain, Dir: strings.TrimRight(q.Dir, `/\`),
		})
		if err != nil {
			return nil, api.Refused("", err.Error())
		}
		return ops, nil
	})
	return h.site(h.View(who), n), err
}

func (h handlers) siteSet(ctx context.Context, who api.Caller, q api.SiteSetRequest) (api.Site, error) {
	p, err := h.SiteAt(ctx, who, q.Site, metabase.Read)
	if err != nil {
		return api.Site{}, err
	}
	w := opBuilder{schema: h.Schema}
	if q.Name != "" {
		w.set(p, "ServerComment", q.Name)
	}
	if len(q.Bind) > 0 {
		w.set(p, "ServerBindings", q.Bind...)
	}
	if w.err != nil {
		return api.Site{}, w.err
	}
	_, err = h.As(who).Apply(ctx, who.Batch(w.ops...))
	return h.site(h.View(who), q.Site), err
}

func (h handlers) siteCommand(ctx context.Context, who api.Caller, q api.SiteCommandRequest) (api.Site, error) {
	p, err := h.SiteAt(ctx, who, q.Site, metabase.Read)
	if err != nil {
		return api.Site{}, err
	}
	if h.Engine == nil {
		return api.Site{}, api.ErrNoService
	}
	w := opBuilder{schema: h.Schema}
	w.set(p, "ServerCommand", q.Command)
	if w.err != nil {
		return api.Site{}, w.err
	}
	if _, err := h.As(who).Apply(ctx, who.Batch(w.ops...)); err != nil {
		return api.Site{}, err
	}
	return h.site(h.View(who), q.Site), nil
}

func (h handlers) sessions(ctx context.Context, who api.Caller, q api.SiteRequest) ([]site.Session, error) {
	if _, err := h.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return nil, err
	}
	if h.Engine == nil {
		return nil, api.ErrNoService
	}
	all, err := h.Engine.Sessions(q.Site)
	return append([]site.Session{}, all...), err
}

func (h handlers) endSession(ctx context.Context, who api.Caller, q api.EndRequest) (api.Ended, error) {
	if _, err := h.SiteAt(ctx, who, q.Site, metabase.Write); err != nil {
		return api.Ended{}, err
	}
	if h.Engine == nil {
		return api.Ended{}, api.ErrNoService
	}
	all, err := h.Engine.Sessions(q.Site)
	if err != nil {
		return api.Ended{}, err
	}
	if !q.All {
		if !slices.ContainsFunc(all, func(s site.Session) bool { return string(s.ID) == q.ID }) {
			return api.Ended{}, api.Missing(fmt.Sprintf("site %d: session %s", q.Site, q.ID), "there is no such session")
		}
		return api.Ended{Sessions: 1}, h.Engine.EndSession(q.Site, q.ID)
	}
	return api.Ended{Sessions: len(all)}, h.Engine.EndSession(q.Site, "")
}
