// SPDX-License-Identifier: Apache-2.0

// Package explain answers what would happen to a message and what became of one, and which
// properties decide that. It decides nothing: it asks the code that does.
package explain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/account/ldap"
	"restante/engine/delivery"
	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/queue"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/turnrules"
	"restante/metabase"
)

// An Engine answers as the running sites do, also where none runs: *engine.Engine and
// engine.Offline.
type Engine interface {
	NextHosts(ctx context.Context, s *settings.Site, d mail.Domain) []delivery.Stage
	Schedule(s *settings.Site, d mail.Domain) queue.Schedule
	Sources() policy.Sources
	HostNames(ctx context.Context, client netip.Addr) ([]string, error)
}

type handlers struct {
	*admin.API
	engine Engine
}

// Register puts the handlers on an API.
func Register(on *admin.API, e Engine) {
	on.AddPart(func(d *admin.API) { Register(d, e) })
	h := handlers{on, e}
	admin.Handle(on, api.Explain, h.explain)
	admin.Handle(on, api.ExplainMessage, h.message)
}

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
	st, err := h.stateAt(ctx, who, q)
	if err != nil {
		return api.Explained{}, err
	}
	if s := settings.Unchecked(st.snap, q.Site); s != nil {
		q.Account = s.AccountName(q.Account)
	}
	client, err := clientOf(q)
	if err != nil {
		return api.Explained{}, err
	}
	if err := st.checkAccount(ctx, q); err != nil {
		return api.Explained{}, err
	}
	if st.site, err = st.load(ctx, q.Site); err != nil {
		return api.Explained{}, err
	}
	to, bad := policy.Recipient(st.site, q.Recipient)
	if bad.Code != 0 {
		what := fmt.Sprintf("recipient %q", q.Recipient)
		if bad.Cause != nil {
			what = bad.Cause.Error()
		}
		return api.Explained{}, api.Usage(fmt.Sprintf("%s: RCPT is answered %q", what, bad.String()), "")
	}
	out := api.Explained{Site: q.Site, Recipient: to.String()}
	st.addAcceptance(ctx, &out, client, to)
	accept := out.Why
	queued := st.site.Recipient(to)
	if queued != to {
		out.QueuedAs = queued.String()
		accept = append(accept, st.reasons(ctx, "queued as", st.site.Reasons("", settings.DefaultDomain, settings.PostmasterEmail))...)
	}
	out.WayOut = st.wayOut(ctx, queued.Domain, true)
	out.Why = append(accept, out.Why...)
	out.Narrowed = st.narrowed(queued.Domain, q, client)
	if queued.Domain != to.Domain { // what the recipient's own is
		key, _ := st.site.DomainFor(to.Domain)
		out.Domain, out.Key, out.Standing = to.Domain, key.Name, st.site.Standing(to.Domain).String()
	}
	return out, nil
}

// narrowed tells which calls for a domain its rules refuse to the account and the client.
func (st *state) narrowed(d mail.Domain, q api.ExplainRequest, c policy.Client) (out []string) {
	domain, ok := st.site.DomainFor(d)
	if !ok || domain.Standing != mail.Held || q.Account == "" && c.AnyAddr || !st.sees(domain.Path) {
		return nil
	}
	at := q.At
	if at.IsZero() {
		at = time.Now()
	}
	for _, verb := range []string{"ETRN", "TURN", "ATRN"} {
		err := st.site.Narrow(turnrules.Call{Account: q.Account, Domain: string(d), Verb: verb, From: c.Addr, TLS: q.TLS, At: at})
		if err != nil {
			out = append(out, err.Error())
		}
	}
	return out
}

// addAcceptance fills in the answer that a session of this client gets now. A site that the
// service does not run is explained as if it ran.
func (st *state) addAcceptance(ctx context.Context, e *api.Explained, c policy.Client, to mail.Address) {
	from := st.engine.Sources()
	switch {
	case st.past:
		from.Asked = func(context.Context, *settings.Site, ldap.Config, mail.Address) (bool, error) {
			return false, errors.New("directories are asked by the configuration of now alone")
		}
	case st.IsTrial():
		from.Asked = nil // what such a directory answers, and whether it is down, is nothing of the site's
	}
	if !st.past && st.Engine != nil {
		if st.isStopped(e.Site, &c) {
			e.Refusal = "the site is stopped"
			e.Why = append(e.Why, st.reasons(ctx, "accept", st.site.Reasons("", settings.ServerState))...)
			return
		}
		if q, ok := st.Engine.Queue(e.Site); ok && !st.IsTrial() {
			c.CheckQuota = q.CheckQuota
		}
	}
	if !c.AnyAddr {
		c.Names = func() ([]string, error) { return st.engine.HostNames(ctx, c.Addr) }
	}
	c.From = c.From.In(st.site.DefaultDomain)
	x := policy.Explain(ctx, st.site, from, c, to)
	e.Accepted, e.Refusal, e.Reply = x.Refusal == "", x.Refusal, x.Reply.String()
	e.Why = append(e.Why, st.reasons(ctx, "accept", x.Reasons)...)
}

// isStopped reports whether site n is, and otherwise says to c who is connected.
func (st *state) isStopped(n int, c *policy.Client) bool {
	for _, run := range st.Engine.Sites() {
		if run.Number != n {
			continue
		}
		if !c.AnyAddr {
			list, _ := st.Engine.Sessions(n) // none of a site that has just gone
			c.FromAddress = site.CountFrom(list, c.Addr)
		}
		c.Paused, c.Connections = run.State == site.Paused, run.Connections
		return run.State == site.Stopped
	}
	return false
}

// checkAccount checks that the account of the request exists, at its site or for
// all sites, or may exist in a directory.
func (st *state) checkAccount(ctx context.Context, q api.ExplainRequest) error {
	if q.Account == "" {
		return nil
	}
	for _, n := range []int{q.Site, 0} {
		p := settings.UserPath(n, q.Account)
		if !st.sees(p) {
			return st.Deny(ctx, st.who, p, metabase.Read, p, "")
		}
		if st.snap.Has(p) {
			return nil
		}
	}
	if settings.HasDirectory(st.snap, q.Site) {
		return nil // it may be one that is not kept here
	}
	return api.Missing("account "+q.Account, "there is no such account")
}
