// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"net/netip"
	"slices"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// secretIDs are the secrets of a route.
var secretIDs = []metabase.ID{RoutePassword, RouteOauthSecret, RouteOauthRefreshToken}

// passwordIDs are the properties that decide whether, where and how a stored
// RoutePassword is sent, and the secrets of RouteOauth. With the right to write one of them alone, a caller
// could have a password that they may not read sent to a host of their own.
var passwordIDs = []metabase.ID{
	RouteOauth, RouteOauthClientId, RouteOauthScopes, RouteOauthSecret, RouteOauthRefreshToken, // to which server, for what
	RoutePassword, RouteUserName, // whose password it is, and at which key; without a name it is not sent
	RouteAction,                                 // whether, by which mechanism, and TLS
	RouteActionString, SmartHost, SmartHostType, // to which host
	DefaultDomain,              // the mail of a local domain goes to no host
	RemoteSmtpPort, DnsServers, // which server answers to the name
	AlwaysUseSsl, RouteClearTextAuth, // through which connection
	SmtpSSLRequireTrustedCA, SmtpSSLCertHostnameValidation,
}

// A passwordUse says how the route of a domain or a site sends a password.
type passwordUse struct {
	key   metabase.Path // of the password
	hosts []string      // with their ports
	dns   []netip.AddrPort

	shown    bool // the host sees it, otherwise a proof of it
	tls      bool // there is TLS whenever it is sent
	verified [2]bool

	grant [3]string // token server, client and scopes, of a secret of RouteOauth
}

// routeKey is the key whose properties decide the route of a domain.
func (s *Site) routeKey(name string) metabase.Path {
	if path, _ := s.domainKey(mail.Domain(name)); path != "" {
		return path
	}
	return SitePath(s.Number)
}

// passwordUse returns the use of a secret at the key of a domain, or with "" at that of the
// site; ok is false where the route sends no such secret, or there is no site. Those of
// RouteOauth go to the token server, and what it gives goes to the hosts.
func (s *Site) passwordUse(name string, id metabase.ID) (u passwordUse, ok bool) {
	if s == nil {
		return u, false
	}
	route := s.Route(mail.Domain(name))
	in := route.SignIn
	if in == nil || (in.Grant == nil) != (id == RoutePassword) || in.Grant == nil && in.Password == "" {
		return u, false
	}
	shown := in.Grant != nil || slices.ContainsFunc(in.Mechanisms, account.Shows)
	u = passwordUse{key: in.From, dns: s.Out.DnsServers, shown: shown, tls: route.NeedTLS || shown && !in.InClear}
	u.verified = [2]bool{route.NeedTLS && s.Out.SmtpSSLRequireTrustedCA, route.NeedTLS && s.Out.SmtpSSLCertHostnameValidation}
	if g := in.Grant; g != nil {
		_, u.key, _ = s.snap.Effective(s.routeKey(name), id)
		u.grant = [3]string{g.TokenURL, g.ClientID, g.Scopes}
	}
	for _, h := range route.Hosts {
		if h.Port == 0 {
			h.Port = s.Out.RemoteSmtpPort
		}
		u.hosts = append(u.hosts, fmt.Sprintf("%s %d", h.Name, h.Port))
	}
	return u, true
}

// covers reports whether the password of next goes nowhere that it does not go by
// u, and is protected no less.
func (u passwordUse) covers(next passwordUse) bool {
	foreign := func(host string) bool { return !slices.Contains(u.hosts, host) }
	return u.key.Equal(next.key) && u.grant == next.grant && !slices.ContainsFunc(next.hosts, foreign) && slices.Equal(u.dns, next.dns) &&
		(u.shown || !next.shown) && (next.tls || !u.tls) &&
		(next.verified[0] || !u.verified[0]) && (next.verified[1] || !u.verified[1])
}

// checkPasswords asks for write_secret at the key of a stored password where a
// change sends it to another host, or with less protection. A caller who stores a
// password, or moves its key, has that right already.
func checkPasswords(c metabase.Change) (problems []metabase.Problem) {
	k := &passwordCheck{Change: c, old: map[int]*Site{}, next: map[int]*Site{}, may: map[metabase.Path]bool{}}
	seen := map[metabase.Path]bool{}
	for t := range c.PropertyChanges() {
		if !slices.Contains(passwordIDs, t.ID) {
			continue
		}
		for n, name := range k.affected(t.Path) {
			path := SitePath(n)
			if name != "" {
				path = DomainPath(n, name)
			}
			for _, secret := range secretIDs {
				if !seen[path] && !k.allowed(n, name, secret) {
					seen[path] = true
					problems = append(problems, k.problem(t, path, secret))
				}
			}
		}
	}
	return problems
}

type passwordCheck struct {
	metabase.Change
	old, next map[int]*Site
	may       map[metabase.Path]bool // by key of a password
}

// affected yields the sites, and with a name their domains, whose routes a change
// at a key can alter.
func (k *passwordCheck) affected(at metabase.Path) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		if n, name, ok := domainOf(at); ok {
			_ = !k.New.Has(at) || yield(n, name)
			return
		}
		numbers := Numbers(k.New)
		if n, _, ok := siteOf(at); ok {
			numbers = slices.DeleteFunc(numbers, func(m int) bool { return m != n })
		}
		for _, n := range numbers {
			if !yield(n, "") {
				return
			}
			for name := range k.New.Names(DomainsPath(n)) {
				if !yield(n, name) {
					return
				}
			}
		}
	}
}

// allowed reports whether the actor may have a secret of a route sent as it would be
// after the change.
func (k *passwordCheck) allowed(n int, name string, secret metabase.ID) bool {
	path := SitePath(n)
	if name != "" {
		path = DomainPath(n, name)
	}
	now, from, ok := k.New.Effective(path, secret)
	if !ok || k.mayAt(from) {
		return true
	}
	if was, ok := k.Old.Stored(from, secret); !ok || !was.Value.Equal(now.Value) {
		return true // stored by this change, which takes the right
	}
	use, ok := k.site(k.next, k.New, n).passwordUse(name, secret)
	if !ok {
		return true
	}
	if was, ok := k.site(k.old, k.Old, n).passwordUse(name, secret); ok && was.covers(use) {
		return true
	}
	return k.wasUsed(use, secret)
}

// mayAt reports whether the actor has write_secret at the key of a password.
func (k *passwordCheck) mayAt(p metabase.Path) bool {
	ok, known := k.may[p]
	if !known {
		ok = allows(k.Change, p, metabase.WriteSecret)
		k.may[p] = ok
	}
	return ok
}

// site reads site n once.
func (k *passwordCheck) site(sites map[int]*Site, snap metabase.Snapshot, n int) *Site {
	if sites[n] == nil {
		sites[n] = Unchecked(snap, n)
	}
	return sites[n]
}

// wasUsed reports whether any route sent the password so before: a key that is
// moved or copied sends it as before.
func (k *passwordCheck) wasUsed(next passwordUse, secret metabase.ID) bool {
	for _, n := range Numbers(k.Old) {
		s := k.site(k.old, k.Old, n)
		if was, ok := s.passwordUse("", secret); ok && was.covers(next) {
			return true
		}
		for name := range k.Old.Names(DomainsPath(n)) {
			if was, ok := s.passwordUse(name, secret); ok && was.covers(next) {
				return true
			}
		}
	}
	return false
}

func (k *passwordCheck) problem(t metabase.PropertyChange, path metabase.Path, secret metabase.ID) metabase.Problem {
	_, from, _ := k.New.Effective(path, secret)
	prop, _ := schema.IIS().ByID(secret)
	at := "at " + string(from)
	if !allows(k.Change, from, metabase.Read) {
		at = "at the key that stores it"
	}
	p := problem(t.Path, t.ID, invalid(
		"would send a stored %s to another host, or with less protection: that takes the right %s %s, or a %s of its own", prop.Name, metabase.WriteSecret, at, prop.Name))
	if !path.Equal(t.Path) {
		p.Other = path
	}
	return p
}
