// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strings"
	"testing"

	"restante/metabase"
)

// A directory that nobody could sign in by is refused, with what to do.
func TestDirectorySettings(t *testing.T) {
	const url = "ldaps://dc1.test"
	tests := []struct {
		props []string
		want  string // "": accepted
	}{
		{[]string{"LdapBindTemplate %s@corp.test", "LdapUrls " + url}, ""},
		{[]string{"LdapBaseDn dc=corp,dc=test", "LdapUrls " + url + " ldap://dc2.test:389"}, ""},
		{[]string{"LdapUrls " + url}, "LdapUrls: nothing says how a name is found: set LdapBaseDn and LdapUserFilter, or LdapBindTemplate, first"},
		{[]string{"LdapBindTemplate %s@corp.test", "LdapUrls dc1.test"}, `"dc1.test" is no URL of a directory`},
		{[]string{"AuthFlags 5", "LdapBindTemplate %s@corp.test", "LdapUrls " + url}, "AuthFlags has no auth_basic"},
		{[]string{"LdapBindTemplate %s@corp.test", "LdapRequiredGroup cn=mail", "LdapUrls " + url}, "need the user's entry: set LdapBaseDn"},
		{[]string{"OauthAudience smtp.test", "OauthIssuer https://login.test"}, ""},
		{[]string{"OauthIssuer https://login.test"}, "OauthIssuer: set OauthAudience first"},
		{[]string{"OauthAudience smtp.test", "OauthIssuer http://login.test"}, "is no https:// URL"},
		{[]string{"LdapUserFilter (uid=joe)"}, "has no %s"},
		{[]string{"LdapUserFilter (uid=%s"}, "is no filter of LDAP"},
		{[]string{"LdapBaseDn people"}, "is no distinguished name"},
		{[]string{"LdapBindTemplate corp.test"}, "has no %s"},
	}
	for _, tt := range tests {
		tr := newTwoSites(t)
		var ops []metabase.Op
		for _, p := range tt.props {
			words := strings.Fields(p)
			ops = append(ops, set(t, SitePath(2), words[0], words[1:]...))
		}
		got := strings.Join(tr.problems("user:root", ops...), "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.props, got, tt.want)
		}
	}
}

// Who may write, but not write_secret, does not have the password of the search sent
// to another server.
func TestBindPasswordGoesNowhereElse(t *testing.T) {
	tr := newTwoSites(t)
	site := SitePath(2)
	tr.must(set(t, site, "LdapBaseDn", "dc=corp,dc=test"), set(t, site, "LdapBindDn", "cn=x"), set(t, site, "LdapBindPassword", "secret"), set(t, site, "LdapUrls", "ldap://dc1.test"))
	domain, routing := DomainPath(2, "a.test"), RoutingPath(2)
	for _, key := range []struct {
		path  metabase.Path
		class string
	}{{domain, "IIsSmtpDomain"}, {routing, "IIsSmtpRoutingSource"}} {
		if !tr.store.Snapshot().Has(key.path) {
			tr.must(metabase.AddKey{Path: key.path, Class: key.class})
		}
	}
	tr.must(set(t, domain, "RecipientsLdapPassword", "secret"), set(t, domain, "RecipientsLdapUrls", "ldaps://dc1.test"))
	tr.must(set(t, routing, "SmtpDsPassword", "secret"), set(t, routing, "SmtpDsAccount", "x"), set(t, routing, "SmtpDsHost", "dc1.test"),
		set(t, routing, "SmtpDsBindType", "Simple"), set(t, routing, "SmtpDsUseCat", "1"))
	tr.set(metabase.Root, "AccessList", "user:root all", "user:joe read")
	tr.set(site, "AccessList", "user:root all", "user:joe read,write,create,delete")
	const accounts, listed, routed = "LdapBindPassword", "RecipientsLdapPassword", "SmtpDsPassword"
	for _, tt := range []struct {
		what    string
		op      metabase.Op
		refused string // the password
	}{
		{"another server", set(t, site, "LdapUrls", "ldap://evil.test"), accounts},
		{"one more", set(t, site, "LdapUrls", "ldap://dc1.test", "ldap://evil.test"), accounts},
		{"in clear", set(t, site, "LdapStartTls", "false"), accounts},
		{"another authority", set(t, site, "LdapCaFile", "tls/own.pem"), accounts},
		{"another filter", set(t, site, "LdapUserFilter", "(mail=%s)"), ""},
		{"no directory", set(t, site, "LdapUrls"), ""},
		{"another server of recipients", set(t, domain, "RecipientsLdapUrls", "ldaps://evil.test"), listed},
		{"no server of recipients", set(t, domain, "RecipientsLdapUrls"), ""},
		{"another filter of recipients", set(t, domain, "RecipientsLdapFilter", "(uid=%u)"), ""},
		{"another server of routing", set(t, routing, "SmtpDsHost", "evil.test"), routed},
		{"another port of routing", set(t, routing, "SmtpDsPort", "3389"), routed},
		{"no sign-in of routing", set(t, routing, "SmtpDsBindType", "None"), ""},
		{"no routing", set(t, routing, "SmtpDsUseCat", "0"), ""},
	} {
		got := strings.Join(tr.problems("user:joe", tt.op), "\n")
		if tt.refused == "" && got != "" || !strings.Contains(got, tt.refused) || tt.refused != "" && !strings.Contains(got, "would send the stored "+tt.refused) {
			t.Errorf("%s: %q", tt.what, got)
		}
		if got := tr.problems("user:root", tt.op); len(got) > 0 {
			t.Errorf("%s by root: %q", tt.what, got)
		}
	}
}

// A filter that can find nobody is refused as it is set; the default comes back by unset.
func TestRecipientsLdapFilter(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "neither %s",
		"(mail=joe)":         "neither %s",
		"(mail=%s":           "no filter of LDAP",
		"mail %s":            "no filter of LDAP",
		"(mail=%s)":          "",
		"(&(uid=%u)(ou=%d))": "",
	} {
		tr := newTree(t)
		got := strings.Join(tr.problems("user:root", set(t, SitePath(1), "RecipientsLdapFilter", text)), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The properties of IIS's LDAP routing as they are carried out, or why they cannot be.
func TestRouting(t *testing.T) {
	for _, tt := range []struct {
		props []string
		want  string // server and name to bind by, or the reason
	}{
		{[]string{"SmtpDsHost dc1.test", "SmtpDsUseCat 0"}, "off"},
		{[]string{"SmtpDsHost dc1.test"}, "ldap://dc1.test:389 "},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsPort 3268"}, "ldap://dc1.test:3268 "},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsPort 636"}, "ldaps://dc1.test:636 "},
		{[]string{"SmtpDsHost 2001:db8::1", "SmtpDsPort 3269"}, "ldaps://[2001:db8::1]:3269 "},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsAccount joe", "SmtpDsPassword x"}, "ldap://dc1.test:389 "}, // nobody asks for a sign-in
		{[]string{"SmtpDsHost dc1.test", "SmtpDsBindType none"}, "ldap://dc1.test:389 "},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsBindType simple", "SmtpDsAccount joe", "SmtpDsPassword x"}, "ldap://dc1.test:389 joe"},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsBindType Simple", "SmtpDsAccount joe", "SmtpDsPassword x", "SmtpDsDomain CORP"}, `ldap://dc1.test:389 CORP\joe`},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsBindType Simple", "SmtpDsAccount joe", "SmtpDsPassword x", "SmtpDsDomain corp.test"}, "ldap://dc1.test:389 joe@corp.test"},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsBindType Simple", "SmtpDsAccount cn=joe,dc=test", "SmtpDsPassword x", "SmtpDsDomain CORP"}, "ldap://dc1.test:389 cn=joe,dc=test"},
		{nil, "SmtpDsUseCat is 1, and SmtpDsHost names no server"},
		{[]string{"SmtpDsHost dc1/x"}, `"dc1/x" is no name of a server`},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsBindType Simple"}, "SmtpDsAccount or SmtpDsPassword is empty"},
		{[]string{"SmtpDsHost dc1.test", "SmtpDsBindType CurrentUser"}, "takes an account of Windows: set None or Simple"},
	} {
		tr := newTwoSites(t)
		if !tr.store.Snapshot().Has(RoutingPath(2)) {
			tr.must(metabase.AddKey{Path: RoutingPath(2), Class: "IIsSmtpRoutingSource"})
		}
		tr.must(set(t, RoutingPath(2), "SmtpDsUseCat", "1"), set(t, SitePath(2), "DefaultDomain", "b.test"))
		for _, p := range tt.props {
			name, value, _ := strings.Cut(p, " ")
			tr.must(set(t, RoutingPath(2), name, value))
		}
		s, err := Load(tr.store.Snapshot(), 2)
		if err != nil {
			t.Fatal(err)
		}
		got, m := "off", s.MailboxesOf("b.test")
		if len(m.Directories) > 0 {
			got = m.Directories[0].URLs[0] + " " + m.Directories[0].BindDN
			if why := m.Directories[0].Void; why != "" {
				got = why
			}
		}
		if got != tt.want && (tt.want == "off" || !strings.HasSuffix(got, tt.want)) {
			t.Errorf("%q: %q, want %q", tt.props, got, tt.want)
		}
		if m := s.MailboxesOf("elsewhere.test"); !m.All() {
			t.Errorf("%q: asked for a domain that is not local", tt.props)
		}
	}
}

// A name that is kept is never the directory's, with a password or without.
func TestIsOutside(t *testing.T) {
	tr := newTwoSites(t)
	tr.must(metabase.AddKey{Path: UserPath(2, "own"), Class: "IIsSmtpUser"}, metabase.AddKey{Path: UserPath(0, "Everywhere"), Class: "IIsSmtpUser"})
	s, err := Load(tr.store.Snapshot(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"ann": true, "ann@corp.test": true, "own": false, "OWN": false, "everywhere": false, `x\ann`: false, "a/b": false, " ann": false, "": false, "a\x00": false} {
		if got := s.IsOutside(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// Callers that sign in by certificate alone are enough for a site that wants a
// sign-in; without TLS they show none.
func TestClientCertificatesNeedTLS(t *testing.T) {
	tr := newTwoSites(t)
	site := SitePath(2)
	only := []metabase.Op{set(t, site, "AuthFlags", "0"), set(t, site, "TlsClientCaFile", "tls/ca.pem")}
	if got := tr.problems("user:root", append(only, set(t, site, "TlsCertificateFile", "tls/cert.pem"))...); len(got) > 0 {
		t.Errorf("over TLS: %q", got)
	}
	got := strings.Join(tr.problems("user:root", append(only, set(t, site, "TlsCertificateFile", ""))...), "\n")
	if !strings.Contains(got, "TlsClientCaFile: a client shows its certificate over TLS, and there is no TlsCertificateFile") {
		t.Errorf("without: %q", got)
	}
}
