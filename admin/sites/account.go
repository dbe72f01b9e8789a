// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/account"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

func noAccount(name string) error { return api.Missing("account "+name, "there is no such account") }

// accountAt parses [SITE/]NAME and returns the account's key, which need not
// exist. One that is concealed from the caller is missing where it is to be an
// existing one. A caller without the right to read it learns nothing, not even whether
// the site exists.
func (h handlers) accountAt(ctx context.Context, who api.Caller, s string, existing bool) (site int, p metabase.Path, err error) {
	name := s
	if left, right, ok := strings.Cut(s, "/"); ok {
		if site, err = strconv.Atoi(left); err != nil || site < 1 {
			return 0, "", api.Usage(fmt.Sprintf("%q: an account is NAME or SITE/NAME, with the number of the site", s), "")
		}
		name = right
	}
	if domain, user, found := schema.CutLogonDomain(name); found && schema.IsAccountName(user) {
		return 0, "", api.Refused(fmt.Sprintf("account %q", name),
			fmt.Sprintf(`accounts have no domain of Windows: name it %s; it can sign in as %s\%s, too`, user, domain, user))
	}
	if !schema.IsAccountName(name) || strings.ContainsAny(name, `/\`) {
		return 0, "", api.Refused(fmt.Sprintf("account %q", name), "a name has 1 to 64 characters, without / and without blanks at its ends")
	}
	p = settings.UserPath(site, name)
	if err := h.Allow(ctx, who, p, metabase.Read); err != nil {
		if existing && h.View(who).Conceals(p, metabase.Read) {
			err = noAccount(s)
		}
		return 0, "", err
	}
	if site != 0 && !admin.HasSite(h.Tree.Snapshot(), site) {
		return 0, "", api.Missing(fmt.Sprintf("site %d", site), "there is no such site")
	}
	return site, p, nil
}

func (h handlers) account(v *metabase.View, site int, p metabase.Path) api.Account {
	cram, _ := h.Schema.Property("CramSecret")
	_, has := v.Stored(p, cram.ID)
	a := api.Account{Site: site, Name: p.Base(), CramMD5: has, Domains: []string{}}
	a.Domains = append(a.Domains, h.namedBy(v, site, p.Base())...)
	if h.Engine != nil {
		for _, l := range h.Engine.LockOuts() {
			if key, ok := settings.AccountPath(v.Snapshot, l.Site, l.Account); ok && key.Equal(p) {
				a.LockOuts = append(a.LockOuts, l)
			}
		}
	}
	return a
}

// namedBy lists the domains, as SITE/DOMAIN, whose mail the account may collect,
// as far as the caller may read them.
func (h handlers) namedBy(v *metabase.View, site int, name string) (out []string) {
	prop, _ := h.Schema.Property("AuthTurnList")
	for _, n := range settings.Numbers(v.Snapshot) {
		if site != 0 && n != site {
			continue
		}
		for _, p := range v.DataPaths(settings.DomainsPath(n), prop.ID) {
			if !v.Sees(p) {
				continue
			}
			item, _ := v.Stored(p, prop.ID)
			for _, a := range item.Value.Strings() {
				if strings.EqualFold(a, name) {
					out = append(out, strconv.Itoa(n)+"/"+p.Base())
				}
			}
		}
	}
	return out
}

func (h handlers) accounts(ctx context.Context, who api.Caller, q api.SiteRequest) ([]api.Account, error) {
	v := h.View(who)
	sites := append([]int{0}, settings.Numbers(v.Snapshot)...)
	if q.Site != 0 {
		if _, err := h.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
			return nil, err
		}
		sites = []int{q.Site}
	}
	out := []api.Account{}
	for _, n := range sites {
		below := settings.UsersPath(n)
		for name := range v.Children(below) {
			if p := below.Join(name); v.Sees(p) {
				out = append(out, h.account(v, n, p))
			}
		}
	}
	return out, nil
}

func (h handlers) accountPut(ctx context.Context, who api.Caller, q api.AccountRequest) (api.Account, error) {
	site, p, err := h.accountAt(ctx, who, q.Name, q.Change)
	if err != nil {
		return api.Account{}, err
	}
	v := h.View(who)
	snap := v.Snapshot
	exists := snap.Has(p)
	switch {
	case q.Change && !exists:
		return api.Account{}, noAccount(q.Name)
	case !q.Change && exists:
		e := api.AsError(api.Refused("account "+q.Name, "there is such an account already"))
		e.Hint = "account passwd " + q.Name
		return api.Account{}, e
	}
	p = admin.Canonical(snap, p)
	cram := q.CramMD5 || exists && h.account(v, site, p).CramMD5
	c, err := account.New(p.Base(), q.Password, cram)
	if err != nil {
		return api.Account{}, api.Refused("account "+q.Name, err.Error())
	}
	w := opBuilder{schema: h.Schema, snap: snap}
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
		return api.Account{}, api.Refused("account "+q.Name, "the password cannot be stored")
	}
	_, err = h.As(who).Apply(ctx, who.Batch(w.ops...))
	a := h.account(h.View(who), site, p)
	a.Ended = h.endVoid()
	return a, err
}

// endVoid ends the sessions whose account is gone or has another password, and
// gives their number.
func (h handlers) endVoid() int {
	if h.Engine == nil {
		return 0
	}
	return h.Engine.EndVoidSessions()
}

func (h handlers) accountDelete(ctx context.Context, who api.Caller, q api.AccountRequest) (api.Deleted, error) {
	site, p, err := h.accountAt(ctx, who, q.Name, true)
	if err != nil {
		return api.Deleted{}, err
	}
	v := h.View(who)
	if !v.Has(p) {
		return api.Deleted{}, noAccount(q.Name)
	}
	name := admin.Canonical(v.Snapshot, p).Base()
	rev, err := h.As(who).Apply(ctx, who.Batch(metabase.Remove{Path: p, Recursive: true}))
	return api.Deleted{Rev: rev, Site: site, Name: name, NamedBy: h.namedBy(v, site, name), Ended: h.endVoid()}, err
}
