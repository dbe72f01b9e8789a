// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"slices"
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

// bindIDs decide whether and where LdapBindPassword is sent.
var bindIDs = []metabase.ID{LdapUrls, LdapStartTls, LdapCaFile, LdapBindPassword}

// bindUse is where a site sends an LdapBindPassword and what protects it; from is the
// key of the password, "" where there is none.
func bindUse(snap metabase.Snapshot, n int) (use string, from metabase.Path) {
	r := newReader(snap, SitePath(n))
	urls, _, _ := r.value(LdapUrls)
	password, from, _ := r.value(LdapBindPassword)
	if len(urls.Strings()) == 0 || password.Str() == "" {
		return "", ""
	}
	return fmt.Sprintf("%q %q %t %q", from, urls.Strings(), r.flag(LdapStartTls), r.text(LdapCaFile)), from
}

// checkBindPasswords is checkPasswords for LdapBindPassword: to send a stored one to
// another server, or with less protection, takes write_secret at its key.
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
	var before []string
	for _, n := range Numbers(c.Old) {
		use, _ := bindUse(c.Old, n)
		before = append(before, use)
	}
	for _, n := range Numbers(c.New) {
		use, from := bindUse(c.New, n)
		if from == "" || slices.Contains(before, use) || allows(c, from, metabase.WriteSecret) {
			continue
		}
		now, _ := c.New.Stored(from, LdapBindPassword)
		if was, ok := c.Old.Stored(from, LdapBindPassword); !ok || !was.Value.Equal(now.Value) {
			continue // stored by this change, which takes the right
		}
		problems = append(problems, problem(changed.Path, changed.ID, invalid(
			"would send the stored LdapBindPassword to another server, or with less protection: that takes the right %s at its key", metabase.WriteSecret)))
		break
	}
	return problems
}
