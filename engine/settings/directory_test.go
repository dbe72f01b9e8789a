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
	tr.set(metabase.Root, "AccessList", "user:root all", "user:joe read")
	tr.set(site, "AccessList", "user:root all", "user:joe read,write,create,delete")
	for _, tt := range []struct {
		what    string
		op      metabase.Op
		refused bool
	}{
		{"another server", set(t, site, "LdapUrls", "ldap://evil.test"), true},
		{"one more", set(t, site, "LdapUrls", "ldap://dc1.test", "ldap://evil.test"), true},
		{"in clear", set(t, site, "LdapStartTls", "false"), true},
		{"another authority", set(t, site, "LdapCaFile", "tls/own.pem"), true},
		{"another filter", set(t, site, "LdapUserFilter", "(mail=%s)"), false},
		{"no directory", set(t, site, "LdapUrls"), false},
	} {
		got := strings.Join(tr.problems("user:joe", tt.op), "\n")
		if strings.Contains(got, "would send the stored LdapBindPassword") != tt.refused || !tt.refused && got != "" {
			t.Errorf("%s: %q", tt.what, got)
		}
		if got := tr.problems("user:root", tt.op); len(got) > 0 {
			t.Errorf("%s by root: %q", tt.what, got)
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
