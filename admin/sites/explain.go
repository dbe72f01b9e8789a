// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"restante/admin/api"
	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/recipients"
	"restante/engine/resolver"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/turnrules"
	"restante/metabase"
)

// clientOf reads the client of a request. Without an address it has one that gives
// no rights.
func clientOf(q api.ExplainRequest) (policy.Client, error) {
	c := policy.Client{Addr: netip.AddrFrom4([4]byte{192, 0, 2, 255}), AnyAddr: true, Account: q.Account, TLS: q.TLS} // RFC 5737: for documentation only
	if q.From != "" && q.From != "<>" {
		from, err := mail.ParseMailbox(q.From)
		if err != nil {
			return c, api.Usage(err.Error(), "")
		}
		c.From = from
	}
	if q.Client == "" {
		return c, nil
	}
	addr, err := netip.ParseAddr(q.Client)
	if err != nil {
		return c, api.Usage(fmt.Sprintf("%q is no IP address", q.Client), "")
	}
	c.Addr, c.AnyAddr = addr.Unmap(), false
	return c, nil
}

func (h handlers) explain(ctx context.Context, who api.Caller, q api.ExplainRequest) (api.Explained, error) {
	if _, err := h.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return api.Explained{}, err
	}
	if s := settings.Unchecked(h.Tree.Snapshot(), q.Site); s != nil {
		q.Account = s.AccountName(q.Account)
	}
	client, err := clientOf(q)
	if err != nil {
		return api.Explained{}, err
	}
	v := h.View(who)
	if err := h.checkAccount(ctx, who, v, q); err != nil {
		return api.Explained{}, err
	}
	s, to, err := h.load(ctx, who, v, q)
	if err != nil {
		return api.Explained{}, err
	}
	out := api.Explained{
		Site: q.Site, Rev: v.Rev(), Recipient: to.String(), Domain: string(to.Domain),
		Standing: s.Standing(to.Domain).String(), Why: []api.Reason{},
	}
	if domain, ok := s.DomainFor(to.Domain); ok {
		out.Key, out.Turn, out.Etrn = domain.Name, domain.AuthTurnList, domain.EtrnCallers()
		if domain.Standing == mail.Held {
			out.Why = append(out.Why, reasons(v, "etrn", s.Reasons(to.Domain, settings.EtrnAllow, settings.AuthTurnList, settings.EtrnRequireAuth))...)
			if len(domain.TurnRules) > 0 {
				out.Why = append(out.Why, reasons(v, "turn", s.Reasons(to.Domain, settings.TurnRules))...)
				out.Narrowed = narrowed(s, to.Domain, q, client)
			}
			off, by := settings.ReleaseVerbsOff(v.Snapshot, q.Site)
			out.Off = off
			out.Why = append(out.Why, reasons(v, "verbs", s.Reasons("", by...))...)
		}
	}
	h.addAcceptance(ctx, &out, v, s, client, to)
	if queued := s.Recipient(to); queued != to {
		out.QueuedAs, to = queued.String(), queued
		out.Why = append(out.Why, reasons(v, "queued as", s.Reasons("", settings.DefaultDomain, settings.PostmasterEmail))...)
	}
	r := s.Route(to.Domain)
	out.Route, out.Held = routeText(s, to.Domain), r.Held
	out.Why = append(out.Why, reasons(v, "route", r.Why)...)
	if v.Sees(settings.DomainPath(q.Site, string(to.Domain))) {
		h.addWaiting(&out, to.Domain)
	}
	return out, nil
}

// narrowed tells which calls for a domain the rules refuse now.
func narrowed(s *settings.Site, d mail.Domain, q api.ExplainRequest, c policy.Client) (out []string) {
	if q.Account == "" && c.AnyAddr {
		return nil
	}
	for _, verb := range []string{"ETRN", "TURN", "ATRN"} {
		err := s.Narrow(turnrules.Call{Account: q.Account, Domain: string(d), Verb: verb, From: c.Addr, TLS: q.TLS, At: time.Now()})
		if err != nil {
			out = append(out, err.Error())
		}
	}
	return out
}

// addAcceptance fills in the answer that a session of this client gets now. A site that the
// service does not run is explained as if it ran.
func (h handlers) addAcceptance(ctx context.Context, e *api.Explained, v *metabase.View, s *settings.Site, c policy.Client, to mail.Address) {
	stopped := false
	if h.Engine != nil {
		for _, run := range h.Engine.Sites() {
			if run.Number == e.Site {
				if !c.AnyAddr {
					list, _ := h.Engine.Sessions(run.Number) // none of a site that has just gone
					c.FromAddress = site.CountFrom(list, c.Addr)
				}
				c.Paused, c.Connections, stopped = run.State == site.Paused, run.Connections, run.State == site.Stopped
			}
		}
	}
	if stopped {
		e.Refusal = "the site is stopped"
		e.Why = append(e.Why, reasons(v, "accept", s.Reasons("", settings.ServerState))...)
		return
	}
	switch {
	case c.AnyAddr:
	case h.Engine == nil:
		c.Names = func() ([]string, error) {
			return resolver.New(resolver.Options{}).Names(ctx, c.Addr, resolver.Query{})
		}
	default:
		c.Names = func() ([]string, error) { return h.Engine.HostNames(ctx, c.Addr) }
	}
	from := policy.Sources{Lists: &recipients.Files{Dir: h.Env.Data}}
	if h.Engine != nil {
		from = h.Engine.Sources()
	}
	switch {
	case h.Engine == nil:
	case h.IsTrial():
		from.Asked = nil // what such a directory answers, and whether it is down, is nothing of the site's
	default:
		if q, ok := h.Engine.Queue(e.Site); ok {
			c.CheckQuota = q.CheckQuota
		}
	}
	c.From = c.From.In(s.DefaultDomain)
	x := policy.Explain(ctx, s, from, c, to)
	e.Accepted, e.Refusal, e.Reply = x.Refusal == "", x.Refusal, x.Reply.String()
	e.Why = append(e.Why, reasons(v, "accept", x.Reasons)...)
}

// checkAccount checks that the account of the request exists, at its site or for
// all sites, or may exist in a directory.
func (h handlers) checkAccount(ctx context.Context, who api.Caller, v *metabase.View, q api.ExplainRequest) error {
	if q.Account == "" {
		return nil
	}
	for _, site := range []int{q.Site, 0} {
		p := settings.UserPath(site, q.Account)
		if !v.Sees(p) {
			return h.Deny(ctx, who, p, metabase.Read, p, "")
		}
		if v.Has(p) {
			return nil
		}
	}
	if settings.HasDirectory(v.Snapshot, q.Site) {
		return nil // it may be one that is not kept here
	}
	return api.Missing("account "+q.Account, "there is no such account")
}

// load loads the settings of a site and reads the recipient. A domain's key that
// the caller may not read is answered as one that does not exist.
func (h handlers) load(ctx context.Context, who api.Caller, v *metabase.View, q api.ExplainRequest) (*settings.Site, mail.Address, error) {
	s, err := settings.Load(v.Snapshot, q.Site)
	if err != nil {
		if at, hidden := v.Hidden(settings.SitePath(q.Site)); hidden { // the hidden key may be the cause
			return nil, mail.Address{}, h.Deny(ctx, who, at, metabase.Read, settings.SitePath(q.Site), "")
		}
		return nil, mail.Address{}, api.RefusedAll(err)
	}
	to, bad := policy.Recipient(s, q.Recipient)
	if bad.Code != 0 {
		what := fmt.Sprintf("recipient %q", q.Recipient)
		if bad.Cause != nil {
			what = bad.Cause.Error()
		}
		return nil, to, api.Usage(fmt.Sprintf("%s: RCPT is answered %q", what, bad.String()), "")
	}
	return s.Without(func(p metabase.Path) bool { return !v.Sees(p) }), to, nil
}

// reasons omits properties of keys that the caller may not read. Values that the
// site inherits count as the site's own.
func reasons(v *metabase.View, step string, why []settings.Reason) (out []api.Reason) {
	for _, r := range why {
		if r.Path != "" && len(r.Path) > len(settings.Service) && !v.Sees(r.Path) {
			continue
		}
		out = append(out, api.Reason{Step: step, Property: r.Property, Value: r.Text, From: r.Path})
	}
	return out
}

// addWaiting fills in the state of the destination in the queue.
func (h handlers) addWaiting(e *api.Explained, domain mail.Domain) {
	if h.Engine == nil {
		return
	}
	q, ok := h.Engine.Queue(e.Site)
	if !ok {
		return
	}
	for _, dest := range q.Destinations() {
		if dest.Domain == domain {
			e.Waiting, e.NextTry = dest.Messages, dest.NextTry
		}
	}
}

// routeText describes the route of a domain's mail.
func routeText(s *settings.Site, name mail.Domain) string {
	r := s.Route(name)
	var b strings.Builder
	switch r.Way {
	case settings.ToFolder:
		b.WriteString("into the folder " + r.Folder)
	case settings.BySmartHost:
		hosts := make([]string, len(r.Hosts))
		for i, h := range r.Hosts {
			hosts[i] = h.Name
			if h.Port != 0 {
				hosts[i] += ":" + strconv.Itoa(int(h.Port))
			}
		}
		b.WriteString("by the smart host " + strings.Join(hosts, ", "))
		if r.DirectFirst {
			b.WriteString(", after its own hosts")
		}
	default:
		b.WriteString("by DNS")
	}
	if r.Held {
		b.WriteString(", when its host calls")
	}
	return b.String()
}
