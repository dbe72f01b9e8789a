// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/settings"
	"restante/metabase"
)

// domainAt checks that the domain exists and that the caller has the right.
func (h handlers) domainAt(ctx context.Context, who api.Caller, n int, name string, r metabase.Right) (metabase.Path, error) {
	if _, err := h.SiteAt(ctx, who, n, metabase.Read); err != nil {
		return "", err
	}
	missing := api.Missing(fmt.Sprintf("site %d: %s", n, name), "there is no such domain")
	if name == "" || strings.Contains(name, "/") {
		return "", missing
	}
	p := settings.DomainPath(n, canonicalDomain(name))
	snap := h.Tree.Snapshot()
	return admin.Canonical(snap, p), h.Require(ctx, who, p, r, snap.Has(p), missing)
}

// hasNoAccount reports whether site n lacks the account, to a caller who may read
// the key that it would have.
func hasNoAccount(v *metabase.View, n int, name string) bool {
	return v.Sees(settings.UserPath(n, name)) && v.Sees(settings.UserPath(0, name)) && !settings.HasAccount(v.Snapshot, n, name)
}

func (h handlers) domain(v *metabase.View, n int, p metabase.Path) api.Domain {
	snap := v.Snapshot
	action := settings.Action(h.number(snap, p, "RouteAction"))
	isDefault := strings.EqualFold(p.Base(), canonicalDomain(h.text(snap, settings.SitePath(n), "DefaultDomain")))
	standing := action.Standing(isDefault)
	out := api.Domain{
		Site: n, Name: p.Base(), RouteAction: action, Held: standing == mail.Held,
		Relay: action.Has(settings.DomainRelay), Turn: append([]string{}, h.texts(snap, p, "AuthTurnList")...),
		Etrn: append([]string{}, settings.DomainAt(snap, p).EtrnCallers()...),
	}
	boxes := settings.DomainAt(snap, p).Mailboxes
	out.Recipients, out.File, out.Directories = len(boxes.Recipients), boxes.RecipientsFile, h.texts(snap, p, "RecipientsLdapUrls")
	if out.Held {
		out.Off, _ = settings.ReleaseVerbsOff(snap, n)
	}
	switch {
	case action.Has(settings.Default) || isDefault:
		out.Kind = "default"
	case standing != mail.Local:
		out.Kind = "remote"
	case action.Has(settings.Alias):
		out.Kind = "alias"
	default:
		out.Kind = "local"
	}
	if action.Has(settings.SmartRoute) {
		out.SmartHost = h.text(snap, p, "RouteActionString")
	}
	for _, name := range out.Turn {
		if hasNoAccount(v, n, name) {
			out.Unknown = append(out.Unknown, name)
		}
	}
	return out
}

// waiting fills in what the queue has for the domain.
func (h handlers) waiting(out *api.Domain) {
	for _, dest := range h.destinations(out.Site, out.Name) {
		out.Messages += dest.Messages
		out.Bytes += dest.Bytes
		out.LastError = cmp.Or(out.LastError, dest.LastError)
		if out.Oldest.IsZero() || !dest.Oldest.IsZero() && dest.Oldest.Before(out.Oldest) {
			out.Oldest = dest.Oldest
		}
		if e := dest.Expires; out.Expires.IsZero() || !e.IsZero() && e.Before(out.Expires) {
			out.Expires = e
		}
	}
}

// destinations are those of the queue that the key of a domain decides over.
func (h handlers) destinations(n int, domain string) []queue.DestinationState {
	if h.Engine == nil {
		return nil
	}
	q, ok := h.Engine.Queue(n)
	if !ok {
		return nil
	}
	s := settings.Unchecked(h.Tree.Snapshot(), n)
	return slices.DeleteFunc(q.Destinations(), func(d queue.DestinationState) bool {
		key, ok := s.DomainFor(d.Domain)
		return !ok || !strings.EqualFold(key.Name, domain)
	})
}

func (h handlers) domains(ctx context.Context, who api.Caller, q api.SiteRequest) ([]api.Domain, error) {
	p, err := h.SiteAt(ctx, who, q.Site, metabase.Read)
	if err != nil {
		return nil, err
	}
	v := h.View(who)
	out := []api.Domain{}
	below := p.Join("Domain")
	for name := range v.Children(below) {
		if at := below.Join(name); v.Sees(at) {
			out = append(out, h.domain(v, q.Site, at))
		}
	}
	return out, nil
}

func (h handlers) domainShow(ctx context.Context, who api.Caller, q api.DomainRequest) (api.Domain, error) {
	p, err := h.domainAt(ctx, who, q.Site, q.Name, metabase.Read)
	if err != nil {
		return api.Domain{}, err
	}
	out := h.domain(h.View(who), q.Site, p)
	h.waiting(&out)
	return out, h.holding(ctx, who, &out)
}

// lastCall fills in when the host of a held domain has called, and will call. Of the names
// of a wildcard, it is the last one's.
func (h handlers) lastCall(who api.Caller, out *api.Domain, interval time.Duration) {
	if h.Engine == nil || !h.Tree.Snapshot().Allows(who.Who, settings.SitePath(out.Site), metabase.Write) {
		return // as queue list
	}
	log, ok := h.Engine.Calls(out.Site)
	if !ok {
		return
	}
	names := []mail.Domain{mail.Domain(out.Name)}
	for _, dest := range h.destinations(out.Site, out.Name) {
		names = append(names, dest.Domain)
	}
	for _, d := range names {
		last := log.Last(d)
		if last.Verb == "" || out.LastCall != nil && last.Begin.Before(out.LastCall.Begin) {
			continue
		}
		out.LastCall, out.NextCall = &last.Call, last.Next(interval)
	}
}

// holding fills in what is told of one held domain alone, because it takes longer.
func (h handlers) holding(ctx context.Context, who api.Caller, out *api.Domain) error {
	set, name := settings.Unchecked(h.Tree.Snapshot(), out.Site), mail.Domain(out.Name)
	hold, held := set.HoldOf(name)
	if !held {
		return nil
	}
	out.Link = set.LinkOf("", name).Name
	out.SizeCeiling, out.LinkMissing = set.CeilingOf(name)
	h.lastCall(who, out, hold.CallInterval)
	if h.Engine != nil && set.Pushes(name) {
		list, err := h.Engine.Sources().Pushed.Find(out.Site, name)
		if err != nil {
			return err
		}
		if list != nil {
			out.Pushed = &api.PushedList{Count: len(list.Hashes()), At: list.At, By: list.By}
		}
	}
	for _, dest := range h.destinations(out.Site, out.Name) {
		q, ok := h.Engine.Queue(out.Site)
		if !ok { // the site was stopped meanwhile
			break
		}
		sum, err := q.Summary(ctx, dest.Domain)
		if err != nil {
			return err
		}
		out.Largest, out.InDoubt = max(out.Largest, sum.Largest), out.InDoubt+sum.InDoubt
		if out.SizeCeiling > 0 {
			n, octets := q.Above(dest.Domain, out.SizeCeiling)
			out.TooLarge, out.TooLargeBytes = out.TooLarge+n, out.TooLargeBytes+octets
		}
	}
	if hold.HoldMaxMessages > 0 || hold.HoldMaxBytes > 0 || hold.HoldReserveBytes > 0 {
		out.Quota = &api.HoldQuota{MaxMessages: hold.HoldMaxMessages, MaxBytes: hold.HoldMaxBytes, ReserveBytes: hold.HoldReserveBytes}
		out.Quota.Percent = hold.Percent(out.Messages, out.Bytes)
	}
	return nil
}

func (h handlers) domainCreate(ctx context.Context, who api.Caller, q api.DomainCreateRequest) (api.Domain, error) {
	if _, err := h.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return api.Domain{}, err
	}
	name := canonicalDomain(q.Name)
	if _, err := mail.ParseDomain(strings.TrimPrefix(name, "*.")); err != nil {
		return api.Domain{}, api.Refused("", err.Error())
	}
	if q.Alias && (q.Hold || len(q.Turn) > 0 || q.SmartHost != "" || q.Relay) {
		return api.Domain{}, api.Usage("an alias is local: it is neither held, handed over nor relayed", "")
	}
	snap := h.Tree.Snapshot()
	p := settings.DomainPath(q.Site, name)
	if err := h.Allow(ctx, who, p, metabase.Read); err != nil {
		return api.Domain{}, err
	}
	if snap.Has(p) {
		return api.Domain{}, api.Refused(fmt.Sprintf("site %d: %s", q.Site, name), "there is such a domain already")
	}
	w := opBuilder{schema: h.Schema, snap: snap}
	var err error
	if w.ops, err = settings.CreateDomain(snap, q.Site, name, action(q)); err != nil {
		return api.Domain{}, api.Refused("", err.Error())
	}
	if q.SmartHost != "" {
		w.set(p, "RouteActionString", q.SmartHost)
	}
	if len(q.Turn) > 0 {
		w.set(p, "AuthTurnList", q.Turn...)
	}
	if w.err != nil {
		return api.Domain{}, w.err
	}
	_, err = h.As(who).Apply(ctx, who.Batch(w.ops...))
	return h.domain(h.View(who), q.Site, p), err
}

// action returns the RouteAction of a new domain. With accounts it is 514, as in
// IIS's documentation of TURN.
func action(q api.DomainCreateRequest) settings.Action {
	if q.Alias {
		return settings.Alias
	}
	var a settings.Action
	if q.Hold {
		a |= settings.Hold
	}
	if len(q.Turn) > 0 {
		a |= settings.Hold | settings.SmartRoute
	}
	if q.SmartHost != "" {
		a |= settings.SmartRoute
	}
	if q.Relay {
		a |= settings.DomainRelay
	}
	return a
}

func (h handlers) domainDelete(ctx context.Context, who api.Caller, q api.DomainRequest) (api.Deleted, error) {
	p, err := h.domainAt(ctx, who, q.Site, q.Name, metabase.Read)
	if err != nil {
		return api.Deleted{}, err
	}
	was := h.domain(h.View(who), q.Site, p)
	if was.Kind == "default" {
		return api.Deleted{}, api.Refused(fmt.Sprintf("site %d: %s", q.Site, was.Name), "the default domain cannot be deleted: make another one the default first")
	}
	h.waiting(&was)
	rev, err := h.As(who).Apply(ctx, who.Batch(metabase.Remove{Path: p, Recursive: true}))
	return api.Deleted{Rev: rev, Site: q.Site, Name: was.Name, Messages: was.Messages, Bytes: was.Bytes}, err
}

func (h handlers) turnList(ctx context.Context, who api.Caller, q api.TurnListRequest) ([]api.Grant, error) {
	v := h.View(who)
	sites := settings.Numbers(v.Snapshot)
	if q.Site != 0 {
		if _, err := h.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
			return nil, err
		}
		sites = []int{q.Site}
	}
	out := []api.Grant{}
	for _, n := range sites {
		for _, g := range h.grants(v, n) {
			if q.Account == "" || strings.EqualFold(g.Account, q.Account) {
				out = append(out, g)
			}
		}
	}
	return out, nil
}

// grants lists the grants of a site as far as the caller may read their keys.
func (h handlers) grants(v *metabase.View, n int) (out []api.Grant) {
	hidden := func(domain string) bool { return !v.Sees(settings.DomainPath(n, domain)) }
	// The domains have their keys even if the site does not load.
	for _, g := range settings.Unchecked(v.Snapshot, n).Grants() {
		if !hidden(g.Domain) {
			out = append(out, api.Grant{Site: n, Domain: g.Domain, Account: g.Account, Rules: g.Rules, Except: slices.DeleteFunc(g.Except, hidden)})
		}
	}
	return out
}

// turnSet grants or revokes. A grant also holds the domain's mail, as in IIS's
// documentation of TURN. Revoking the last grant leaves it held: mail must not be
// routed elsewhere because of it.
func (h handlers) turnSet(ctx context.Context, who api.Caller, q api.TurnRequest) (api.Domain, error) {
	p, err := h.domainAt(ctx, who, q.Site, q.Domain, metabase.Read)
	if err != nil {
		return api.Domain{}, err
	}
	releasing := h.releasing(q.Site, q.Account, p.Base())
	// The list is read and written: no concurrent grant may be lost.
	_, err = h.applyPlan(ctx, who, func(snap metabase.Snapshot) ([]metabase.Op, error) {
		return h.turnOps(snap.View(who.Who), p, q)
	})
	v := h.View(who)
	out := h.domain(v, q.Site, p)
	if q.Revoke && err == nil {
		out.Ended = releasing // each behind its next message
	}
	if !q.Revoke && strings.HasPrefix(out.Name, "*.") {
		for _, g := range h.grants(v, q.Site) {
			if g.Domain == out.Name && strings.EqualFold(g.Account, q.Account) {
				out.Except = g.Except
			}
		}
	}
	return out, err
}

// releasing counts the releases under way by which an account takes mail that
// the key of a domain decides over.
func (h handlers) releasing(n int, account, domain string) (count int) {
	active := slices.ContainsFunc(h.destinations(n, domain), func(d queue.DestinationState) bool { return d.State == queue.Active })
	if !active {
		return 0
	}
	sessions, _ := h.Engine.Sessions(n) // the site exists
	for _, one := range sessions {
		if one.Activity == "release" && strings.EqualFold(one.Account, account) {
			count++
		}
	}
	return count
}

func (h handlers) turnOps(v *metabase.View, p metabase.Path, q api.TurnRequest) ([]metabase.Op, error) {
	was := h.domain(v, q.Site, p)
	same := func(name string) bool { return strings.EqualFold(name, q.Account) }
	w := opBuilder{schema: h.Schema, snap: v.Snapshot}
	switch has := slices.ContainsFunc(was.Turn, same); {
	case q.Revoke && !has:
		return nil, api.Missing(fmt.Sprintf("site %d: %s: %s", q.Site, was.Name, q.Account), "the account may not take that domain's mail anyway")
	case q.Revoke:
		if left := slices.DeleteFunc(was.Turn, same); len(left) > 0 {
			w.amend(p, "AuthTurnList", left...)
		} else {
			w.amend(p, "AuthTurnList", q.Account) // or what was revoked and is not confirmed would be lost
			w.unset(p, "AuthTurnList")
		}
	case was.Kind != "remote" && !was.Held:
		return nil, api.Refused(fmt.Sprintf("site %d: %s", q.Site, was.Name), "is a local domain: its mail is not held")
	default:
		list := was.Turn
		if !has {
			list = append(list, q.Account)
		}
		w.amend(p, "AuthTurnList", list...)
		w.amend(p, "RouteAction", strconv.Itoa(int(was.RouteAction|settings.Hold|settings.SmartRoute)))
	}
	return w.ops, w.err
}

// canonicalDomain returns s as a key's name. The schema refuses an invalid one.
func canonicalDomain(s string) string {
	rest, wild := strings.CutPrefix(s, "*.")
	d, err := mail.ParseDomain(rest)
	switch {
	case err != nil:
		return s
	case wild:
		return "*." + string(d)
	}
	return string(d)
}
