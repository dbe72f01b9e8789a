// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"restante/admin/api"
	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/metabase"
)

// parse parses an ExplainRequest.
func parse(q api.ExplainRequest) (to mail.Address, client netip.Addr, err error) {
	if to, err = mail.ParseAddress(q.Recipient); err == nil && to.IsNull() {
		err = errors.New("the recipient is empty")
	}
	if err != nil {
		return to, client, api.Usage(err.Error(), "")
	}
	if q.From != "" && q.From != "<>" {
		if _, err := mail.ParseAddress(q.From); err != nil {
			return to, client, api.Usage(err.Error(), "")
		}
	}
	client = netip.AddrFrom4([4]byte{192, 0, 2, 255}) // RFC 5737: for documentation only
	if q.Client != "" {
		if client, err = netip.ParseAddr(q.Client); err != nil {
			return to, client, api.Usage(fmt.Sprintf("%q is no IP address", q.Client), "")
		}
	}
	return to, client.Unmap(), nil
}

func (h handlers) explain(ctx context.Context, who api.Caller, q api.ExplainRequest) (api.Explained, error) {
	if _, err := h.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return api.Explained{}, err
	}
	to, client, err := parse(q)
	if err != nil {
		return api.Explained{}, err
	}
	v := h.View(who)
	if err := h.checkAccount(ctx, who, v, q); err != nil {
		return api.Explained{}, err
	}
	s, err := h.load(ctx, who, v, q.Site, to.Domain)
	if err != nil {
		return api.Explained{}, err
	}
	out := api.Explained{
		Site: q.Site, Rev: v.Rev(), Recipient: to.String(), Domain: string(to.Domain),
		Standing: s.Standing(to.Domain).String(), Why: []api.Reason{},
	}
	if domain, ok := s.DomainFor(to.Domain); ok {
		out.Key, out.Turn = domain.Name, domain.AuthTurnList
	}
	h.addAcceptance(&out, v, s, policy.Client{Name: clientName(q), Addr: client, Account: q.Account, TLS: q.TLS}, to)
	r := s.Route(to.Domain)
	out.Route, out.Held = routeText(s, to.Domain), r.Held
	out.Why = append(out.Why, reasons(v, "route", r.Why)...)
	h.addWaiting(&out, to.Domain)
	return out, nil
}

// clientName names the client of a request.
func clientName(q api.ExplainRequest) string {
	switch {
	case q.Account != "":
		return "account " + q.Account
	case q.Client != "":
		return q.Client
	}
	return "an unknown caller"
}

// addAcceptance fills in the answer that a session of this client gets now. A site that the
// service does not run is explained as if it ran.
func (h handlers) addAcceptance(e *api.Explained, v *metabase.View, s *settings.Site, c policy.Client, to mail.Address) {
	stopped := false
	if h.Engine != nil {
		for _, run := range h.Engine.Sites() {
			if run.Number == e.Site {
				c.Paused, c.Connections, stopped = run.State == site.Paused, run.Connections, run.State == site.Stopped
			}
		}
	}
	if stopped {
		e.Refusal = "the site is stopped"
		e.Why = append(e.Why, reasons(v, "accept", s.Reasons("", settings.ServerState))...)
		return
	}
	x := policy.Explain(s, c, to)
	e.Accepted, e.Refusal, e.Reply = x.Refusal == "", x.Refusal, x.Reply.String()
	e.Why = append(e.Why, reasons(v, "accept", x.Reasons)...)
}

// checkAccount checks that the account of the request exists, at its site or for
// all sites.
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
	return api.Missing("account "+q.Account, "there is no such account")
}

// load loads the settings of a site and requires the right to read the deciding
// domain key. A refusal names the recipient's domain instead.
func (h handlers) load(ctx context.Context, who api.Caller, v *metabase.View, n int, to mail.Domain) (*settings.Site, error) {
	s, err := settings.Load(v.Snapshot, n)
	if err != nil {
		if at, hidden := v.Hidden(settings.SitePath(n)); hidden { // the hidden key may be the cause
			return nil, h.Deny(ctx, who, at, metabase.Read, settings.SitePath(n), "")
		}
		return nil, api.RefusedAll(err)
	}
	if domain, ok := s.DomainFor(to); ok {
		if p := settings.DomainPath(n, string(domain.Name)); !v.Sees(p) {
			return nil, h.Deny(ctx, who, p, metabase.Read, settings.DomainPath(n, string(to)), "")
		}
	}
	return s, nil
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
