// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"restante/engine/account"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// The calls about accounts.
const (
	AccountList   Method[SiteRequest, []Account]  = "account/list"
	AccountPut    Method[AccountRequest, Account] = "account/put"
	AccountDelete Method[AccountRequest, Deleted] = "account/delete"
)

// An Account is who may sign in, at one site or with site 0 at all of them.
type Account struct {
	Site    int      `json:"site"`
	Name    string   `json:"name"`
	CramMD5 bool     `json:"cram_md5"`
	Domains []string `json:"domains"` // whose mail it may take, SITE/DOMAIN
}

// An AccountRequest names an account as [SITE/]NAME, and where one is needed
// has its password.
type AccountRequest struct {
	Name     string `json:"name"`
	Password string `json:"password,omitempty"`
	CramMD5  bool   `json:"cram_md5,omitempty"`
	Change   bool   `json:"change,omitempty"` // it must exist; else it must not
}

// hasAccount says whether there is such an account for a site.
func hasAccount(snap metabase.Snapshot, site int, name string) bool {
	return snap.Has(settings.UserPath(site, name)) || snap.Has(settings.UserPath(0, name))
}

// accountName reads [SITE/]NAME.
func (d *Desk) accountName(s string) (site int, name string, err error) {
	name = s
	if left, right, ok := strings.Cut(s, "/"); ok {
		if site, err = strconv.Atoi(left); err != nil || site < 1 {
			return 0, "", usage(fmt.Sprintf("%q: an account is NAME or SITE/NAME, with the number of the site", s), "")
		}
		if !isClass(d.tree.Snapshot(), sitePath(site), schema.Server) {
			return 0, "", missing(fmt.Sprintf("site %d", site), "there is no such site")
		}
		name = right
	}
	if !schema.IsAccountName(name) || strings.ContainsAny(name, `/\`) {
		return 0, "", refused(fmt.Sprintf("account %q", name), "a name has 1 to 64 characters, without / and without blanks at its ends")
	}
	return site, name, nil
}

func (d *Desk) account(snap metabase.Snapshot, site int, p metabase.Path) Account {
	cram, _ := d.schema.Property("CramSecret")
	_, has := snap.Stored(p, cram.ID)
	a := Account{Site: site, Name: p.Base(), CramMD5: has, Domains: []string{}}
	a.Domains = append(a.Domains, d.namedBy(snap, site, p.Base())...)
	return a
}

// namedBy lists the domains, as SITE/DOMAIN, whose mail the account may take.
func (d *Desk) namedBy(snap metabase.Snapshot, site int, name string) (out []string) {
	prop, _ := d.schema.Property("AuthTurnList")
	for _, n := range settings.Numbers(snap) {
		if site != 0 && n != site {
			continue
		}
		for _, p := range snap.DataPaths(sitePath(n).Join("Domain"), prop.ID) {
			item, _ := snap.Stored(p, prop.ID)
			for _, a := range item.Value.Strings() {
				if strings.EqualFold(a, name) {
					out = append(out, itoa(n)+"/"+p.Base())
				}
			}
		}
	}
	return out
}

func (d *Desk) accounts(ctx context.Context, who Caller, q SiteRequest) ([]Account, error) {
	snap := d.tree.Snapshot()
	sites := append([]int{0}, settings.Numbers(snap)...)
	if q.Site != 0 {
		if _, err := d.siteAt(ctx, who, q.Site, metabase.Read); err != nil {
			return nil, err
		}
		sites = []int{q.Site}
	}
	out := []Account{}
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

func (d *Desk) accountPut(ctx context.Context, who Caller, q AccountRequest) (Account, error) {
	site, name, err := d.accountName(q.Name)
	if err != nil {
		return Account{}, err
	}
	snap := d.tree.Snapshot()
	p := settings.UserPath(site, name)
	exists := snap.Has(p)
	switch {
	case q.Change && !exists:
		return Account{}, missing("account "+q.Name, "there is no such account")
	case !q.Change && exists:
		e := AsError(refused("account "+q.Name, "there is such an account already"))
		e.Hint = "account passwd " + q.Name
		return Account{}, e
	}
	if exists {
		p = spelled(snap, p)
		name = p.Base()
	}
	cram := q.CramMD5 || exists && d.account(snap, site, p).CramMD5
	c, err := account.New(name, q.Password, cram)
	if err != nil {
		return Account{}, refused("account "+q.Name, err.Error())
	}
	w := writer{schema: d.schema, snap: snap}
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
		return Account{}, refused("account "+q.Name, "the password cannot be stored")
	}
	if _, err := d.tree.Apply(ctx, who.batch(w.ops...)); err != nil {
		return Account{}, err
	}
	return d.account(d.tree.Snapshot(), site, p), nil
}

func (d *Desk) accountDelete(ctx context.Context, who Caller, q AccountRequest) (Deleted, error) {
	site, name, err := d.accountName(q.Name)
	if err != nil {
		return Deleted{}, err
	}
	snap := d.tree.Snapshot()
	p := settings.UserPath(site, name)
	if !snap.Has(p) {
		return Deleted{}, missing("account "+q.Name, "there is no such account")
	}
	name = spelled(snap, p).Base()
	rev, err := d.tree.Apply(ctx, who.batch(metabase.Remove{Path: p, Recursive: true}))
	return Deleted{Rev: rev, Site: site, Name: name, NamedBy: d.namedBy(snap, site, name)}, err
}
