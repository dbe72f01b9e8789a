// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"restante/engine/mail"
	"restante/engine/settings"
	"restante/internal/control"
	"restante/internal/desk"
	"restante/metabase"
)

// domainAt checks that there is such a domain.
func (d drawer) domainAt(ctx context.Context, who control.Caller, n int, name string, r metabase.Right) (metabase.Path, error) {
	if _, err := d.SiteAt(ctx, who, n, metabase.Read); err != nil {
		return "", err
	}
	p := settings.DomainPath(n, canonicalDomain(name))
	if name == "" || strings.Contains(name, "/") || !d.Tree.Snapshot().Has(p) {
		return "", control.Missing(fmt.Sprintf("site %d: %s", n, name), "there is no such domain")
	}
	return desk.Spelled(d.Tree.Snapshot(), p), d.Allow(ctx, who, p, r)
}

func (d drawer) domain(snap metabase.Snapshot, n int, p metabase.Path) control.Domain {
	action := settings.Action(d.number(snap, p, "RouteAction"))
	out := control.Domain{
		Site: n, Name: p.Base(), RouteAction: action, Held: action.Has(settings.Hold),
		Relay: action.Has(settings.DomainRelay), Turn: append([]string{}, d.texts(snap, p, "AuthTurnList")...),
	}
	switch {
	case action.Has(settings.Default) || strings.EqualFold(p.Base(), canonicalDomain(d.text(snap, settings.SitePath(n), "DefaultDomain"))):
		out.Kind = "default"
	case action.Has(settings.Alias):
		out.Kind = "alias"
	case action.Any(settings.Drop | settings.Deliver):
		out.Kind = "local"
	default:
		out.Kind = "remote"
	}
	if action.Has(settings.SmartRoute) {
		out.SmartHost = d.text(snap, p, "RouteActionString")
	}
	for _, name := range out.Turn {
		if !settings.HasAccount(snap, n, name) {
			out.Unknown = append(out.Unknown, name)
		}
	}
	return out
}

// waiting fills in what the queue has for the domain.
func (d drawer) waiting(out *control.Domain) {
	if d.Engine == nil {
		return
	}
	q, ok := d.Engine.Queue(out.Site)
	if !ok {
		return
	}
	for _, dest := range q.Destinations() {
		if strings.EqualFold(string(dest.Domain), out.Name) {
			out.Messages, out.Bytes = dest.Messages, dest.Bytes
		}
	}
}

func (d drawer) domains(ctx context.Context, who control.Caller, q control.SiteRequest) ([]control.Domain, error) {
	p, err := d.SiteAt(ctx, who, q.Site, metabase.Read)
	if err != nil {
		return nil, err
	}
	snap := d.Tree.Snapshot()
	out := []control.Domain{}
	below := p.Join("Domain")
	for name := range snap.Children(below) {
		if at := below.Join(name); snap.Allows(who.Who, at, metabase.Read) {
			out = append(out, d.domain(snap, q.Site, at))
		}
	}
	return out, nil
}

func (d drawer) domainShow(ctx context.Context, who control.Caller, q control.DomainRequest) (control.Domain, error) {
	p, err := d.domainAt(ctx, who, q.Site, q.Name, metabase.Read)
	if err != nil {
		return control.Domain{}, err
	}
	out := d.domain(d.Tree.Snapshot(), q.Site, p)
	d.waiting(&out)
	return out, nil
}

func (d drawer) domainCreate(ctx context.Context, who control.Caller, q control.DomainCreateRequest) (control.Domain, error) {
	if _, err := d.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return control.Domain{}, err
	}
	name := canonicalDomain(q.Name)
	if _, err := mail.ParseDomain(strings.TrimPrefix(name, "*.")); err != nil {
		return control.Domain{}, control.Refused("", err.Error())
	}
	if q.Alias && (q.Hold || len(q.Turn) > 0 || q.SmartHost != "" || q.Relay) {
		return control.Domain{}, control.Usage("an alias is local: it is neither held, handed over nor relayed", "")
	}
	snap := d.Tree.Snapshot()
	p := settings.DomainPath(q.Site, name)
	if snap.Has(p) {
		return control.Domain{}, control.Refused(fmt.Sprintf("site %d: %s", q.Site, name), "there is such a domain already")
	}
	w := writer{schema: d.Schema, snap: snap}
	var err error
	if w.ops, err = settings.CreateDomain(snap, q.Site, name, action(q)); err != nil {
		return control.Domain{}, control.Refused("", err.Error())
	}
	if q.SmartHost != "" {
		w.set(p, "RouteActionString", q.SmartHost)
	}
	if len(q.Turn) > 0 {
		w.set(p, "AuthTurnList", q.Turn...)
	}
	if w.err != nil {
		return control.Domain{}, w.err
	}
	if _, err := d.Tree.Apply(ctx, who.Batch(w.ops...)); err != nil {
		return control.Domain{}, err
	}
	return d.domain(d.Tree.Snapshot(), q.Site, p), nil
}

// action is the RouteAction of a new domain. With accounts it is the 514 of
// IIS's own recipe.
func action(q control.DomainCreateRequest) settings.Action {
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

func (d drawer) domainDelete(ctx context.Context, who control.Caller, q control.DomainRequest) (control.Deleted, error) {
	p, err := d.domainAt(ctx, who, q.Site, q.Name, metabase.Read)
	if err != nil {
		return control.Deleted{}, err
	}
	was := d.domain(d.Tree.Snapshot(), q.Site, p)
	if was.Kind == "default" {
		return control.Deleted{}, control.Refused(fmt.Sprintf("site %d: %s", q.Site, was.Name), "the default domain cannot be deleted: make another one the default first")
	}
	d.waiting(&was)
	rev, err := d.Tree.Apply(ctx, who.Batch(metabase.Remove{Path: p, Recursive: true}))
	return control.Deleted{Rev: rev, Site: q.Site, Name: was.Name, Messages: was.Messages, Bytes: was.Bytes}, err
}

func (d drawer) turnList(ctx context.Context, who control.Caller, q control.TurnListRequest) ([]control.Grant, error) {
	snap := d.Tree.Snapshot()
	sites := settings.Numbers(snap)
	if q.Site != 0 {
		if _, err := d.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
			return nil, err
		}
		sites = []int{q.Site}
	}
	prop, _ := d.Schema.Property("AuthTurnList")
	out := []control.Grant{}
	for _, n := range sites {
		for _, p := range snap.DataPaths(settings.SitePath(n).Join("Domain"), prop.ID) {
			item, _ := snap.Stored(p, prop.ID)
			for _, account := range item.Value.Strings() {
				fits := q.Account == "" || strings.EqualFold(account, q.Account)
				if fits && snap.Allows(who.Who, p, metabase.Read) {
					out = append(out, control.Grant{Site: n, Domain: p.Base(), Account: account})
				}
			}
		}
	}
	return out, nil
}

// turnSet grants or revokes. Who is granted a domain's mail gets it held, as
// IIS's recipe does; to revoke the last grant leaves it held, for mail must not
// go elsewhere for that.
func (d drawer) turnSet(ctx context.Context, who control.Caller, q control.TurnRequest) (control.Domain, error) {
	p, err := d.domainAt(ctx, who, q.Site, q.Domain, metabase.Read)
	if err != nil {
		return control.Domain{}, err
	}
	// The list is read and written: nobody's grant gets lost on the way.
	_, err = d.atOnce(ctx, who, func(snap metabase.Snapshot) ([]metabase.Op, error) {
		return d.turnOps(snap, p, q)
	})
	if err != nil {
		return control.Domain{}, err
	}
	return d.domain(d.Tree.Snapshot(), q.Site, p), nil
}

func (d drawer) turnOps(snap metabase.Snapshot, p metabase.Path, q control.TurnRequest) ([]metabase.Op, error) {
	was := d.domain(snap, q.Site, p)
	same := func(name string) bool { return strings.EqualFold(name, q.Account) }
	w := writer{schema: d.Schema, snap: snap}
	switch has := slices.ContainsFunc(was.Turn, same); {
	case q.Revoke && !has:
		return nil, control.Missing(fmt.Sprintf("site %d: %s: %s", q.Site, was.Name, q.Account), "the account may not take that domain's mail anyway")
	case q.Revoke:
		if left := slices.DeleteFunc(was.Turn, same); len(left) > 0 {
			w.set(p, "AuthTurnList", left...)
		} else {
			w.unset(p, "AuthTurnList")
		}
	case was.Kind != "remote":
		return nil, control.Refused(fmt.Sprintf("site %d: %s", q.Site, was.Name), "is a local domain: its mail is not held")
	default:
		if !has {
			w.set(p, "AuthTurnList", append(was.Turn, q.Account)...)
		}
		w.set(p, "RouteAction", strconv.Itoa(int(was.RouteAction|settings.Hold|settings.SmartRoute)))
	}
	return w.ops, w.err
}

// canonicalDomain is s as a key's name; what is no domain is left for the
// schema to refuse.
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
