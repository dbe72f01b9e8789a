// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"restante/engine/mail"
	"restante/engine/settings"
	"restante/metabase"
)

// The calls about domains and who may take their mail.
const (
	DomainList   Method[SiteRequest, []Domain]       = "domain/list"
	DomainShow   Method[DomainRequest, Domain]       = "domain/show"
	DomainCreate Method[DomainCreateRequest, Domain] = "domain/create"
	DomainDelete Method[DomainRequest, Deleted]      = "domain/delete"
	TurnList     Method[TurnListRequest, []Grant]    = "turn/list"
	TurnSet      Method[TurnRequest, Domain]         = "turn/set"
)

// A Domain is a domain of a site as it is shown.
type Domain struct {
	Site        int             `json:"site"`
	Name        string          `json:"name"`
	Kind        string          `json:"kind"` // default, alias, local or remote
	RouteAction settings.Action `json:"route_action"`
	Held        bool            `json:"held"`
	Turn        []string        `json:"turn"` // accounts that may take its mail
	SmartHost   string          `json:"smart_host,omitempty"`
	Relay       bool            `json:"relay"`
	Messages    int             `json:"messages,omitempty"` // that wait for it
	Bytes       int64           `json:"bytes,omitempty"`
	Unknown     []string        `json:"unknown_accounts,omitempty"` // of Turn, that there are no accounts for yet
}

// A DomainRequest names a domain of a site.
type DomainRequest struct {
	Site int    `json:"site"`
	Name string `json:"name"`
}

// A DomainCreateRequest says what becomes of mail to a domain.
type DomainCreateRequest struct {
	Site      int      `json:"site"`
	Name      string   `json:"name"`
	Alias     bool     `json:"alias,omitempty"` // of the default domain; else remote
	Hold      bool     `json:"hold,omitempty"`
	Turn      []string `json:"turn,omitempty"`
	SmartHost string   `json:"smart_host,omitempty"`
	Relay     bool     `json:"relay,omitempty"`
}

// A TurnListRequest asks who may take which domain's mail; 0 and "" for all.
type TurnListRequest struct {
	Site    int    `json:"site,omitempty"`
	Account string `json:"account,omitempty"`
}

// A Grant lets an account take a domain's mail.
type Grant struct {
	Site    int    `json:"site"`
	Domain  string `json:"domain"`
	Account string `json:"account"`
}

// A TurnRequest grants or revokes.
type TurnRequest struct {
	Site    int    `json:"site"`
	Domain  string `json:"domain"`
	Account string `json:"account"`
	Revoke  bool   `json:"revoke,omitempty"`
}

// domainAt checks that there is such a domain.
func (d *Desk) domainAt(ctx context.Context, who Caller, n int, name string, r metabase.Right) (metabase.Path, error) {
	if _, err := d.siteAt(ctx, who, n, metabase.Read); err != nil {
		return "", err
	}
	p := settings.DomainPath(n, canonicalDomain(name))
	if name == "" || strings.Contains(name, "/") || !d.tree.Snapshot().Has(p) {
		return "", missing(fmt.Sprintf("site %d: %s", n, name), "there is no such domain")
	}
	return spelled(d.tree.Snapshot(), p), d.allow(ctx, who, p, r)
}

func (d *Desk) domain(snap metabase.Snapshot, n int, p metabase.Path) Domain {
	action := settings.Action(d.number(snap, p, "RouteAction"))
	out := Domain{
		Site: n, Name: p.Base(), RouteAction: action, Held: action.Has(settings.Hold),
		Relay: action.Has(settings.DomainRelay), Turn: append([]string{}, d.texts(snap, p, "AuthTurnList")...),
	}
	switch {
	case action.Has(settings.Default) || strings.EqualFold(p.Base(), canonicalDomain(d.text(snap, sitePath(n), "DefaultDomain"))):
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
		if !hasAccount(snap, n, name) {
			out.Unknown = append(out.Unknown, name)
		}
	}
	return out
}

// waiting fills in what the queue has for the domain.
func (d *Desk) waiting(out *Domain) {
	if d.engine == nil {
		return
	}
	q, ok := d.engine.Queue(out.Site)
	if !ok {
		return
	}
	for _, dest := range q.Destinations() {
		if strings.EqualFold(string(dest.Domain), out.Name) {
			out.Messages, out.Bytes = dest.Messages, dest.Bytes
		}
	}
}

func (d *Desk) domains(ctx context.Context, who Caller, q SiteRequest) ([]Domain, error) {
	p, err := d.siteAt(ctx, who, q.Site, metabase.Read)
	if err != nil {
		return nil, err
	}
	snap := d.tree.Snapshot()
	out := []Domain{}
	below := p.Join("Domain")
	for name := range snap.Children(below) {
		if at := below.Join(name); snap.Allows(who.Who, at, metabase.Read) {
			out = append(out, d.domain(snap, q.Site, at))
		}
	}
	return out, nil
}

func (d *Desk) domainShow(ctx context.Context, who Caller, q DomainRequest) (Domain, error) {
	p, err := d.domainAt(ctx, who, q.Site, q.Name, metabase.Read)
	if err != nil {
		return Domain{}, err
	}
	out := d.domain(d.tree.Snapshot(), q.Site, p)
	d.waiting(&out)
	return out, nil
}

func (d *Desk) domainCreate(ctx context.Context, who Caller, q DomainCreateRequest) (Domain, error) {
	if _, err := d.siteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return Domain{}, err
	}
	name := canonicalDomain(q.Name)
	if _, err := mail.ParseDomain(strings.TrimPrefix(name, "*.")); err != nil {
		return Domain{}, refused("", err.Error())
	}
	if q.Alias && (q.Hold || len(q.Turn) > 0 || q.SmartHost != "" || q.Relay) {
		return Domain{}, usage("an alias is local: it is neither held, handed over nor relayed", "")
	}
	snap := d.tree.Snapshot()
	p := settings.DomainPath(q.Site, name)
	if snap.Has(p) {
		return Domain{}, refused(fmt.Sprintf("site %d: %s", q.Site, name), "there is such a domain already")
	}
	w := writer{schema: d.schema, snap: snap}
	var err error
	if w.ops, err = settings.CreateDomain(snap, q.Site, name, q.action()); err != nil {
		return Domain{}, refused("", err.Error())
	}
	if q.SmartHost != "" {
		w.set(p, "RouteActionString", q.SmartHost)
	}
	if len(q.Turn) > 0 {
		w.set(p, "AuthTurnList", q.Turn...)
	}
	if w.err != nil {
		return Domain{}, w.err
	}
	if _, err := d.tree.Apply(ctx, who.batch(w.ops...)); err != nil {
		return Domain{}, err
	}
	return d.domain(d.tree.Snapshot(), q.Site, p), nil
}

// action is the RouteAction of a new domain. With accounts it is the 514 of
// IIS's own recipe.
func (q DomainCreateRequest) action() settings.Action {
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

func (d *Desk) domainDelete(ctx context.Context, who Caller, q DomainRequest) (Deleted, error) {
	p, err := d.domainAt(ctx, who, q.Site, q.Name, metabase.Read)
	if err != nil {
		return Deleted{}, err
	}
	was := d.domain(d.tree.Snapshot(), q.Site, p)
	if was.Kind == "default" {
		return Deleted{}, refused(fmt.Sprintf("site %d: %s", q.Site, was.Name), "the default domain cannot be deleted: make another one the default first")
	}
	d.waiting(&was)
	rev, err := d.tree.Apply(ctx, who.batch(metabase.Remove{Path: p, Recursive: true}))
	return Deleted{Rev: rev, Site: q.Site, Name: was.Name, Messages: was.Messages, Bytes: was.Bytes}, err
}

func (d *Desk) turnList(ctx context.Context, who Caller, q TurnListRequest) ([]Grant, error) {
	snap := d.tree.Snapshot()
	sites := settings.Numbers(snap)
	if q.Site != 0 {
		if _, err := d.siteAt(ctx, who, q.Site, metabase.Read); err != nil {
			return nil, err
		}
		sites = []int{q.Site}
	}
	prop, _ := d.schema.Property("AuthTurnList")
	out := []Grant{}
	for _, n := range sites {
		for _, p := range snap.DataPaths(sitePath(n).Join("Domain"), prop.ID) {
			item, _ := snap.Stored(p, prop.ID)
			for _, account := range item.Value.Strings() {
				fits := q.Account == "" || strings.EqualFold(account, q.Account)
				if fits && snap.Allows(who.Who, p, metabase.Read) {
					out = append(out, Grant{n, p.Base(), account})
				}
			}
		}
	}
	return out, nil
}

// turnSet grants or revokes. Who is granted a domain's mail gets it held, as
// IIS's recipe does; to revoke the last grant leaves it held, for mail must not
// go elsewhere for that.
func (d *Desk) turnSet(ctx context.Context, who Caller, q TurnRequest) (Domain, error) {
	p, err := d.domainAt(ctx, who, q.Site, q.Domain, metabase.Read)
	if err != nil {
		return Domain{}, err
	}
	// The list is read and written: nobody's grant gets lost on the way.
	_, err = d.atOnce(ctx, who, func(snap metabase.Snapshot) ([]metabase.Op, error) {
		return d.turnOps(snap, p, q)
	})
	if err != nil {
		return Domain{}, err
	}
	return d.domain(d.tree.Snapshot(), q.Site, p), nil
}

func (d *Desk) turnOps(snap metabase.Snapshot, p metabase.Path, q TurnRequest) ([]metabase.Op, error) {
	was := d.domain(snap, q.Site, p)
	same := func(name string) bool { return strings.EqualFold(name, q.Account) }
	w := writer{schema: d.schema, snap: snap}
	switch has := slices.ContainsFunc(was.Turn, same); {
	case q.Revoke && !has:
		return nil, missing(fmt.Sprintf("site %d: %s: %s", q.Site, was.Name, q.Account), "the account may not take that domain's mail anyway")
	case q.Revoke:
		if left := slices.DeleteFunc(was.Turn, same); len(left) > 0 {
			w.set(p, "AuthTurnList", left...)
		} else {
			w.unset(p, "AuthTurnList")
		}
	case was.Kind != "remote":
		return nil, refused(fmt.Sprintf("site %d: %s", q.Site, was.Name), "is a local domain: its mail is not held")
	default:
		if !has {
			w.set(p, "AuthTurnList", append(was.Turn, q.Account)...)
		}
		w.set(p, "RouteAction", itoa(int(was.RouteAction|settings.Hold|settings.SmartRoute)))
	}
	return w.ops, w.err
}
