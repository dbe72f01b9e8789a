// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"restante/engine/account"
	"restante/engine/settings"
	"restante/internal/control"
	"restante/internal/desk"
	"restante/metabase"
	"restante/metabase/schema"
)

// accountName reads [SITE/]NAME.
func (d drawer) accountName(s string) (site int, name string, err error) {
	name = s
	if left, right, ok := strings.Cut(s, "/"); ok {
		if site, err = strconv.Atoi(left); err != nil || site < 1 {
			return 0, "", control.Usage(fmt.Sprintf("%q: an account is NAME or SITE/NAME, with the number of the site", s), "")
		}
		if !desk.HasSite(d.Tree.Snapshot(), site) {
			return 0, "", control.Missing(fmt.Sprintf("site %d", site), "there is no such site")
		}
		name = right
	}
	if !schema.IsAccountName(name) || strings.ContainsAny(name, `/\`) {
		return 0, "", control.Refused(fmt.Sprintf("account %q", name), "a name has 1 to 64 characters, without / and without blanks at its ends")
	}
	return site, name, nil
}

func (d drawer) account(snap metabase.Snapshot, site int, p metabase.Path) control.Account {
	cram, _ := d.Schema.Property("CramSecret")
	_, has := snap.Stored(p, cram.ID)
	a := control.Account{Site: site, Name: p.Base(), CramMD5: has, Domains: []string{}}
	a.Domains = append(a.Domains, d.namedBy(snap, site, p.Base())...)
	return a
}

// namedBy lists the domains, as SITE/DOMAIN, whose mail the account may take.
func (d drawer) namedBy(snap metabase.Snapshot, site int, name string) (out []string) {
	prop, _ := d.Schema.Property("AuthTurnList")
	for _, n := range settings.Numbers(snap) {
		if site != 0 && n != site {
			continue
		}
		for _, p := range snap.DataPaths(settings.SitePath(n).Join("Domain"), prop.ID) {
			item, _ := snap.Stored(p, prop.ID)
			for _, a := range item.Value.Strings() {
				if strings.EqualFold(a, name) {
					out = append(out, strconv.Itoa(n)+"/"+p.Base())
				}
			}
		}
	}
	return out
}

func (d drawer) accounts(ctx context.Context, who control.Caller, q control.SiteRequest) ([]control.Account, error) {
	snap := d.Tree.Snapshot()
	sites := append([]int{0}, settings.Numbers(snap)...)
	if q.Site != 0 {
		if _, err := d.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
			return nil, err
		}
		sites = []int{q.Site}
	}
	out := []control.Account{}
	for _, n := range sites {
		below := settings.UsersPath(n)
		for name := range snap.Children(below) {
			if p := below.Join(name); snap.Allows(who.Who, p, metabase.Read) {
				out = append(out, d.account(snap, n, p))
			}
		}
	}
	return out, nil
}

func (d drawer) accountPut(ctx context.Context, who control.Caller, q control.AccountRequest) (control.Account, error) {
	site, name, err := d.accountName(q.Name)
	if err != nil {
		return control.Account{}, err
	}
	snap := d.Tree.Snapshot()
	p := settings.UserPath(site, name)
	exists := snap.Has(p)
	switch {
	case q.Change && !exists:
		return control.Account{}, control.Missing("account "+q.Name, "there is no such account")
	case !q.Change && exists:
		e := control.AsError(control.Refused("account "+q.Name, "there is such an account already"))
		e.Hint = "account passwd " + q.Name
		return control.Account{}, e
	}
	if exists {
		p = desk.Spelled(snap, p)
		name = p.Base()
	}
	cram := q.CramMD5 || exists && d.account(snap, site, p).CramMD5
	c, err := account.New(name, q.Password, cram)
	if err != nil {
		return control.Account{}, control.Refused("account "+q.Name, err.Error())
	}
	w := writer{schema: d.Schema, snap: snap}
	if !snap.Has(settings.UsersPath(site)) {
		w.add(settings.UsersPath(site), schema.User)
	}
	if !exists {
		w.add(p, schema.User)
	}
	w.set(p, "ScramVerifier", c.Scram)
	if cram {
		w.set(p, "CramSecret", string(c.Secret))
	}
	if w.err != nil {
		return control.Account{}, control.Refused("account "+q.Name, "the password cannot be stored")
	}
	if _, err := d.Tree.Apply(ctx, who.Batch(w.ops...)); err != nil {
		return control.Account{}, err
	}
	return d.account(d.Tree.Snapshot(), site, p), nil
}

func (d drawer) accountDelete(ctx context.Context, who control.Caller, q control.AccountRequest) (control.Deleted, error) {
	site, name, err := d.accountName(q.Name)
	if err != nil {
		return control.Deleted{}, err
	}
	snap := d.Tree.Snapshot()
	p := settings.UserPath(site, name)
	if !snap.Has(p) {
		return control.Deleted{}, control.Missing("account "+q.Name, "there is no such account")
	}
	name = desk.Spelled(snap, p).Base()
	rev, err := d.Tree.Apply(ctx, who.Batch(metabase.Remove{Path: p, Recursive: true}))
	return control.Deleted{Rev: rev, Site: site, Name: name, NamedBy: d.namedBy(snap, site, name)}, err
}
