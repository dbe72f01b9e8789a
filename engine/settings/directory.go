// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/engine/account"
	"restante/engine/account/ldap"
	"restante/metabase"
	"restante/metabase/schema"
)

// Ldap says which directory knows the accounts that are not kept here. Without
// LdapUrls there is none. LdapBindPassword is read where it is used.
type Ldap struct {
	LdapUrls             []string
	LdapStartTls         bool
	LdapCaFile           string // as stored; "" for the system's authorities
	LdapBindDn           string
	LdapBindTemplate     string
	LdapBaseDn           string
	LdapUserFilter       string
	LdapAccountAttribute string
	LdapRequiredGroup    string
	LdapTimeout          time.Duration
	LdapCacheTime        time.Duration
}

// Oauth says whose tokens are sign-ins. Without OauthIssuer there are none.
type Oauth struct{ OauthIssuer, OauthAudience, OauthAccountClaim string }

// oauth refuses tokens of any audience: they would be those for other services.
func (r *reader) oauth(o Oauth) {
	switch {
	case o.OauthIssuer == "":
	case o.OauthAudience == "":
		r.bad(OauthIssuer, invalid("set OauthAudience first: without it, tokens for any other service would be taken"))
	case o.OauthAccountClaim == "":
		r.bad(OauthAccountClaim, invalid("nothing says which account a token is for"))
	}
}

// BindPassword is the password of LdapBindDn.
func (s *Site) BindPassword() account.Secret {
	return account.Secret(newReader(s.snap, SitePath(s.Number)).text(LdapBindPassword))
}

// HasDirectory reports whether site n knows accounts that are not kept here.
func HasDirectory(snap metabase.Snapshot, n int) bool {
	r := newReader(snap, SitePath(n))
	v, _, _ := r.value(LdapUrls)
	return len(v.Strings()) > 0 || r.text(OauthIssuer) != ""
}

// IsOutside reports whether a name can be that of an account that is not kept here.
func (s *Site) IsOutside(name string) bool {
	_, kept := s.Kept(name)
	return !kept && isName(name)
}

// Kept gives the account that is kept here under a name, as it is spelled, with a
// password or without.
func (s *Site) Kept(name string) (string, bool) {
	if !isName(name) {
		return "", false
	}
	path, ok := AccountPath(s.snap, s.Number, name)
	key, _ := s.snap.Key(path)
	return key.Path.Base(), ok
}

func isName(name string) bool {
	return schema.IsAccountName(name) && !strings.ContainsAny(name, `/\`)
}

// ldap checks what makes a directory one that can be asked.
func (r *reader) ldap(l Ldap, a Access) {
	if len(l.LdapUrls) == 0 {
		return
	}
	for _, u := range l.LdapUrls {
		if err := ldap.CheckURL(u); err != nil {
			r.bad(LdapUrls, invalid("%v", err))
		}
	}
	switch {
	case !a.Basic:
		r.bad(LdapUrls, invalid("accounts of a directory sign in by PLAIN and LOGIN, and AuthFlags has no auth_basic"))
	case l.LdapBindTemplate == "" && (l.LdapBaseDn == "" || l.LdapUserFilter == ""):
		r.bad(LdapUrls, invalid("nothing says how a name is found: set LdapBaseDn and LdapUserFilter, or LdapBindTemplate, first"))
	case l.LdapBaseDn == "" && (l.LdapRequiredGroup != "" || l.LdapAccountAttribute != ""):
		r.bad(LdapBaseDn, invalid("LdapRequiredGroup and LdapAccountAttribute need the user's entry: set LdapBaseDn"))
	}
}

// directory has what the directories of a site's recipients share with that of its
// accounts.
func (s *Site) directory() ldap.Config {
	return ldap.Config{StartTLS: s.Ldap.LdapStartTls, CAFile: s.Ldap.LdapCaFile, Timeout: s.Ldap.LdapTimeout, Cache: s.Ldap.LdapCacheTime}
}

// recipientsDirectory is the one that RecipientsLdapUrls names at a key, and the key
// that its password is from; without URLs there is none.
func (s *Site) recipientsDirectory(r *reader) (d ldap.Config, from metabase.Path) {
	urls, _, _ := r.value(RecipientsLdapUrls)
	if d.URLs = urls.Strings(); len(d.URLs) == 0 {
		return d, ""
	}
	d = s.directory()
	d.URLs, d.BaseDN, d.Filter, d.BindDN = urls.Strings(), r.text(RecipientsLdapBaseDn), r.text(RecipientsLdapFilter), r.text(RecipientsLdapBindDn)
	password, from, _ := r.value(RecipientsLdapPassword)
	d.BindPassword = account.Secret(password.Str())
	return d, from
}

// Ways of signing in at the server of LDAP routing, as IIS has them. Others take an
// account of Windows.
const (
	bindNone   = "None"
	bindSimple = "Simple"
)

// readRouting reads the properties of IIS's LDAP routing; nil: it is off. from is the
// key of the password.
func (s *Site) readRouting() (d *ldap.Config, from metabase.Path) {
	r := newReader(s.snap, RoutingPath(s.Number))
	if r.number(SmtpDsUseCat) == 0 {
		return nil, ""
	}
	set := s.directory()
	set.BaseDN, set.Filter = r.text(SmtpDsNamingContext), ldap.MailFilter
	host, how, kind := r.text(SmtpDsHost), r.text(SmtpDsBindType), r.text(SmtpRoutingTableType)
	set.URLs = []string{serverURL(host, r.number(SmtpDsPort))}
	switch {
	case !strings.EqualFold(kind, "LDAP"):
		set.Void = fmt.Sprintf("SmtpRoutingTableType is %q, and recipients can be looked up by LDAP alone", kind)
	case host == "":
		set.Void = "SmtpDsUseCat is 1, and SmtpDsHost names no server"
	case ldap.CheckURL(set.URLs[0]) != nil:
		set.Void = fmt.Sprintf("SmtpDsHost: %q is no name of a server", host)
	case how == "" || strings.EqualFold(how, bindNone):
	case strings.EqualFold(how, bindSimple):
		password, at, _ := r.value(SmtpDsPassword)
		set.BindDN, set.BindPassword, from = bindName(r.text(SmtpDsAccount), r.text(SmtpDsDomain)), account.Secret(password.Str()), at
		if set.BindDN == "" || set.BindPassword == "" {
			set.Void = "SmtpDsBindType is Simple, and SmtpDsAccount or SmtpDsPassword is empty"
		}
	default:
		set.Void = fmt.Sprintf("SmtpDsBindType %q takes an account of Windows: set None or Simple", how)
	}
	return &set, from
}

// serverURL names a server; the ports of LDAP over TLS, also that of a global catalog,
// are for that.
func serverURL(host string, port uint32) string {
	const ldaps, catalog = 636, 3269
	scheme := "ldap"
	if port == ldaps || port == catalog {
		scheme = "ldaps"
	}
	if port == 0 {
		port = 389
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10)))
}

// bindName is an account of a domain as Active Directory takes it in place of a
// distinguished name.
func bindName(account, domain string) string {
	switch {
	case domain == "" || account == "" || strings.ContainsAny(account, `=@\`):
		return account
	case strings.Contains(domain, "."):
		return account + "@" + domain
	}
	return domain + `\` + account
}

// bindIDs decide whether and where the password for a directory is sent.
var bindIDs = []metabase.ID{
	LdapUrls, LdapStartTls, LdapCaFile, LdapBindPassword, RecipientsLdapUrls, RecipientsLdapPassword,
	SmtpDsUseCat, SmtpDsHost, SmtpDsPort, SmtpDsBindType, SmtpDsPassword,
}

// A bindUse is where a site sends a password for a directory, and what protects it.
type bindUse struct {
	id    metabase.ID   // of the password
	from  metabase.Path // that stores it
	where string
}

// bindUses lists those of all sites.
func bindUses(snap metabase.Snapshot) (uses []bindUse) {
	for _, n := range Numbers(snap) {
		s := Unchecked(snap, n)
		add := func(id metabase.ID, from metabase.Path, d ldap.Config) {
			if from != "" && d.BindPassword != "" && d.Void == "" && len(d.URLs) > 0 {
				uses = append(uses, bindUse{id, from, fmt.Sprintf("%q %t %q", d.URLs, d.StartTLS, d.CAFile)})
			}
		}
		accounts := s.directory()
		password, from, _ := newReader(snap, SitePath(n)).value(LdapBindPassword)
		accounts.URLs, accounts.BindPassword = s.Ldap.LdapUrls, account.Secret(password.Str())
		add(LdapBindPassword, from, accounts)
		if d, from := s.readRouting(); d != nil {
			add(SmtpDsPassword, from, *d)
		}
		d, from := s.recipientsDirectory(newReader(snap, SitePath(n)))
		add(RecipientsLdapPassword, from, d)
		for name := range s.Domains() {
			d, from := s.recipientsDirectory(newReader(snap, DomainPath(n, name)))
			add(RecipientsLdapPassword, from, d)
		}
	}
	return uses
}

// checkBindPasswords is checkPasswords for those of directories: to send a stored one
// to another server, or with less protection, takes write_secret at its key.
func checkBindPasswords(c metabase.Change) (problems []metabase.Problem) {
	var changed *metabase.PropertyChange
	for t := range c.PropertyChanges() {
		if changed == nil && slices.Contains(bindIDs, t.ID) {
			changed = &t
		}
	}
	if changed == nil {
		return nil
	}
	before := bindUses(c.Old)
	for _, use := range bindUses(c.New) {
		if slices.Contains(before, use) || allows(c, use.from, metabase.WriteSecret) {
			continue
		}
		now, _ := c.New.Stored(use.from, use.id)
		if was, ok := c.Old.Stored(use.from, use.id); !ok || !was.Value.Equal(now.Value) {
			continue // stored by this change, which takes the right
		}
		prop, _ := schema.IIS().ByID(use.id)
		return []metabase.Problem{problem(changed.Path, changed.ID, invalid(
			"would send the stored %s to another server, or with less protection: that takes the right %s at its key", prop.Name, metabase.WriteSecret))}
	}
	return nil
}
