// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strings"
	"testing"

	"restante/metabase"
	"restante/metabase/schema"
)

// newPasswordTree has passwords at the service, at site 2 and at its domain
// s.test. Joe may write all of it but the secrets of the service and the site;
// at site 1 they are his.
func newPasswordTree(t *testing.T) *tree {
	tr := newTwoSites(t)
	domain := func(name string, props ...string) {
		path := DomainPath(2, name)
		ops := []metabase.Op{metabase.AddKey{Path: path, Class: schema.Domain}}
		for _, p := range props {
			words := strings.Fields(p)
			ops = append(ops, set(t, path, words[0], words[1:]...))
		}
		tr.must(ops...)
	}
	at := func(path metabase.Path, props ...string) {
		for _, p := range props {
			words := strings.Fields(p)
			tr.set(path, words[0], words[1:]...)
		}
	}
	at(Service, "RoutePassword service-secret", "RouteUserName svc")
	at(SitePath(2), "RoutePassword site-secret", "RouteUserName bob", "RouteAction auth_cleartext,ssl",
		"SmartHost smart.test", "SmartHostType 2", "DnsServers 192.0.2.53")
	domain("s.test", "RouteAction smarthost,auth_cleartext", "RouteActionString mail.s.test", "RouteUserName sue", "RoutePassword domain-secret")
	domain("plain.test", "RouteAction smarthost", "RouteActionString mail.plain.test")
	domain("local.test", "RouteAction smarthost,auth_cleartext", "RouteActionString evil.test")
	tr.must(set(t, SitePath(2), "DefaultDomain", "local.test"), set(t, DomainPath(2, "local.test"), "RouteActionString", "evil2.test"))
	tr.set(metabase.Root, "AccessList", "user:boss all", "user:joe read")
	tr.set(SitePath(1), "AccessList", "user:boss all", "user:joe all")
	tr.set(SitePath(2), "AccessList", "user:boss all", "user:joe read,write,create,delete")
	return tr
}

// A change of where a stored password goes, or with how much protection, needs the
// right to it; all else takes the right to write alone.
func TestPasswordsGoNowhereElse(t *testing.T) {
	tr := newPasswordTree(t)
	site, s, plain := SitePath(2), DomainPath(2, "s.test"), DomainPath(2, "plain.test")
	one := func(path metabase.Path, name string, args ...string) []metabase.Op {
		return []metabase.Op{set(t, path, name, args...)}
	}
	ofDomain, ofSite, ofService := []string{string(s)}, []string{string(site)}, []string{"the key that stores it", string(Service)}
	added := DomainPath(2, "new.test")
	wild := DomainPath(2, "*.wild.test")
	for _, tt := range []struct {
		what string
		ops  []metabase.Op
		want []string // one of these is named; nil: allowed
	}{
		{"another host of the domain", one(s, "RouteActionString", "evil.test"), ofDomain},
		{"one more", one(s, "RouteActionString", "mail.s.test,evil.test"), ofDomain},
		{"another port", one(s, "RouteActionString", "mail.s.test:2525"), ofDomain},
		{"the port of the site", one(site, "RemoteSmtpPort", "2525"), ofDomain},
		{"the DNS servers", one(site, "DnsServers", "192.0.2.66"), ofDomain},
		{"no DNS servers", []metabase.Op{metabase.Unset{Path: site, ID: DnsServers}}, ofDomain},
		{"no host of its own: that of the site", one(s, "RouteAction", "auth_cleartext"), ofDomain},
		{"another mechanism", one(s, "RouteAction", "smarthost,auth_ntlm"), ofDomain},
		{"in clear text", one(s, "RouteClearTextAuth", "true"), ofDomain},
		{"in clear text, from above", one(site, "RouteClearTextAuth", "true"), ofDomain},
		{"another host of the site", one(site, "SmartHost", "evil.test"), ofSite},
		{"no TLS", one(site, "RouteAction", "auth_cleartext"), ofSite},
		{"any issuer", one(site, "SmtpSSLRequireTrustedCA", "false"), ofSite},
		{"any name", one(site, "SmtpSSLCertHostnameValidation", "false"), ofSite},
		{"a bit", []metabase.Op{metabase.SetBits{Path: site, Property: metabase.Property{ID: RouteAction, Attr: metabase.Inherit, UserType: 1, Value: metabase.DWord(0)}, Mask: uint32(NeedTLS)}}, ofSite},
		{"a domain that signs in with what it inherits", one(plain, "RouteAction", "smarthost,auth_cleartext"), ofSite},
		{"a new domain", []metabase.Op{metabase.AddKey{Path: added, Class: schema.Domain},
			set(t, added, "RouteAction", "smarthost,auth_cleartext"), set(t, added, "RouteActionString", "evil.test")}, ofSite},
		{"a new wildcard", []metabase.Op{metabase.AddKey{Path: wild, Class: schema.Domain},
			set(t, wild, "RouteAction", "smarthost,auth_cleartext"), set(t, wild, "RouteActionString", "evil.test")}, ofSite},
		{"the default domain is no longer local", one(site, "DefaultDomain", "two.example"), ofSite},
		{"another site with the service's", []metabase.Op{set(t, SitePath(1), "SmartHost", "evil.test"), set(t, SitePath(1), "SmartHostType", "2"),
			set(t, SitePath(1), "RouteAction", "auth_cleartext")}, ofService},

		{"TLS, too", one(s, "RouteAction", "smarthost,auth_cleartext,ssl"), nil},
		{"no sign-in", []metabase.Op{set(t, s, "RouteAction", "smarthost"), set(t, s, "RouteActionString", "elsewhere.test")}, nil},
		{"fewer hosts", one(site, "SmartHostType", "0"), nil},
		{"a domain without a sign-in", one(plain, "RouteActionString", "elsewhere.test"), nil},
		{"another name", one(s, "RouteUserName", "joe"), nil},
		{"another property", one(s, "RelayForAuth", "false"), nil},
		{"a new domain by the site's host", []metabase.Op{metabase.AddKey{Path: added, Class: schema.Domain}, set(t, added, "RouteAction", "auth_cleartext,ssl")}, nil},
		{"a password of its own", []metabase.Op{set(t, SitePath(1), "SmartHost", "evil.test"), set(t, SitePath(1), "SmartHostType", "2"),
			set(t, SitePath(1), "RouteAction", "auth_cleartext"), set(t, SitePath(1), "RoutePassword", "own")}, nil},
	} {
		got := tr.problems("user:joe", tt.ops...)
		if tt.want == nil {
			if len(got) > 0 {
				t.Errorf("%s: %q", tt.what, got)
			}
			continue
		}
		named := false
		for _, key := range tt.want {
			named = named || strings.Contains(strings.Join(got, "\n"), "that takes the right write_secret at "+key+", or a RoutePassword of its own")
		}
		if !named {
			t.Errorf("%s: %q, want that write_secret at %v is missing", tt.what, got, tt.want)
		}
		if root := tr.problems("user:root", tt.ops...); len(root) > 0 {
			t.Errorf("%s by root: %q", tt.what, root)
		}
	}
}

// A password shows itself to no host by way of a revert, a copy or a move.
func TestPasswordsAndKeysThatMove(t *testing.T) {
	tr := newPasswordTree(t)
	s := DomainPath(2, "s.test")
	tr.set(SitePath(2), "SmartHost", "first.test")
	first := tr.store.Snapshot().Rev()
	tr.set(SitePath(2), "SmartHost", "second.test")
	second := tr.store.Snapshot().Rev()
	_, err := tr.store.Revert(t.Context(), second, metabase.Root, metabase.Batch{Actor: "user:joe"})
	if err == nil || !strings.Contains(err.Error(), "SmartHost: would send a stored RoutePassword") {
		t.Errorf("revision %d, back to %d: %v", second, first, err)
	}
	for _, op := range []metabase.Op{
		metabase.Copy{From: s, To: DomainPath(1, "s.test")},
		metabase.Move{From: s, To: DomainPath(1, "s.test")},
		metabase.CopyData{From: s, To: DomainPath(2, "plain.test")},
	} {
		if got := tr.problems("user:joe", op); len(got) == 0 {
			t.Errorf("%T is allowed", op)
		}
	}
	// The domain inherits its password: a key of another name sends it as before.
	tr.must(set(t, DomainPath(2, "plain.test"), "RouteAction", "smarthost,auth_cleartext"))
	if got := tr.problems("user:joe", metabase.Move{From: DomainPath(2, "plain.test"), To: DomainPath(2, "other.test")}); len(got) > 0 {
		t.Errorf("moved: %q", got)
	}
}
