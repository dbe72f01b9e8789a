// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"net"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// TestDirectoryOfRecipients asks a slapd for the mailboxes of local domains, by the
// properties of IIS's LDAP routing, and for those of a held domain: by each way to
// sign in, what names cannot do, and what becomes of the mail when it is down.
func TestDirectoryOfRecipients(t *testing.T) {
	t.Parallel()
	dir, ca := startDirectory(t)
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	_, port, _ := net.SplitHostPort(dir.Plain)
	const routing, held = "/LM/SMTPSVC/1/RoutingSources ", "/LM/SMTPSVC/1/Domain/held.test "
	check := func(what, to, want string) {
		t.Helper()
		if got := answer(t, s, to); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s is answered %q, want %s", what, to, got, want)
		}
		if told := call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: to}); !strings.HasPrefix(told.Reply, want) {
			t.Errorf("%s: explain says of %s %q (%s), want %s", what, to, told.Reply, told.Refusal, want)
		}
	}
	const there, absent, down = "250 2.1.5", "550 5.1.1", "451 4.3.0"

	set(t, s, "LdapCaFile", ca)
	set(t, s, "LdapCacheTime", "0")
	set(t, s, "LdapTimeout", "30")
	applyBatch(t, s,
		"set "+routing+"SmtpDsHost localhost", "set "+routing+"SmtpDsPort "+port, "set "+routing+"SmtpDsBindType Simple",
		"set "+routing+"SmtpDsAccount cn=restante,dc=corp,dc=test", "set "+routing+"SmtpDsPassword search-secret")
	check("off", "nobody@hub.test", there)
	applyBatch(t, s, "set "+routing+"SmtpDsUseCat 1")
	check("on", "ann.other@hub.test", there)
	check("another spelling", "ANN.Other@HUB.test", there)
	check("nobody", "nobody@hub.test", absent)
	check("a wildcard", "*@hub.test", absent)
	check("a filter", `"x)(uid=*"@hub.test`, absent)
	check("postmaster", "postmaster@hub.test", there)
	check("a domain that is not local", "nobody@held.test", there)
	applyBatch(t, s, "set /LM/SMTPSVC/1 Recipients nobody")
	check("listed", "nobody@hub.test", there)
	applyBatch(t, s, "unset /LM/SMTPSVC/1 Recipients", "set "+routing+"SmtpDsNamingContext cn=mail,dc=corp,dc=test")
	check("elsewhere", "ann.other@hub.test", absent)
	applyBatch(t, s, "set "+routing+"SmtpDsNamingContext ou=people,dc=corp,dc=test", "set "+routing+"SmtpDsDomain CORP")
	check("a distinguished name needs no domain", "ann.other@hub.test", there)

	for _, tt := range []struct{ property, bad, good, cause string }{
		{"SmtpDsAccount", "restante", "cn=restante,dc=corp,dc=test", `bind as CORP\restante`},
		{"SmtpDsPassword", "wrong", "search-secret", "Invalid Credentials"},
		{"SmtpDsBindType", "Generic", "Simple", `SmtpDsBindType "Generic" takes an account of Windows: set None or Simple`},
		{"SmtpDsBindType", "None", "Simple", "search below"},
		{"SmtpDsHost", "127.0.0.1", "localhost", "certificate"},
		{"SmtpDsHost", "''", "localhost", "SmtpDsHost names no server"},
		{"SmtpDsPort", "1", port, "connection refused"},
		{"SmtpRoutingTableType", "FF", "LDAP", `SmtpRoutingTableType is "FF"`},
	} {
		applyBatch(t, s, "set "+routing+tt.property+" "+tt.bad)
		check(tt.property+" "+tt.bad, "ann.other@hub.test", down)
		if got := whySite(t, s); !strings.Contains(got, tt.cause) {
			t.Errorf("%s %s: status says %q, want %q", tt.property, tt.bad, got, tt.cause)
		}
		applyBatch(t, s, "set "+routing+tt.property+" "+tt.good)
		check("set back", "ann.other@hub.test", there)
	}
	if got := whySite(t, s); got != "" {
		t.Errorf("status still says %q", got)
	}

	applyBatch(t, s, "set "+routing+"SmtpDsUseCat 0",
		"set "+held+"RecipientsLdapBindDn cn=restante,dc=corp,dc=test", "set "+held+"RecipientsLdapPassword search-secret",
		"set "+held+"RecipientsLdapUrls ldap://127.0.0.1:1 ldaps://"+atHost(dir.Secure, "localhost"))
	check("held", "ann@held.test", there)
	check("held, unknown", "joe@held.test", absent)
	applyBatch(t, s, "set "+held+"RecipientsLdapFilter '(&(uid=%u)(!(uid=%d)))'")
	check("by the local part", "joe@held.test", there)
	applyBatch(t, s, "set "+held+"RecipientsLdapBaseDn cn=mail,dc=corp,dc=test")
	check("below another entry", "joe@held.test", absent)
	applyBatch(t, s, "unset "+held+"RecipientsLdapBaseDn")
	if out := runCommand(t, s, "", "domain", "show", "1", "held.test"); !strings.Contains(out, "those of ldap://127.0.0.1:1") {
		t.Errorf("domain show says\n%s", out)
	}
	for _, bad := range []string{"RecipientsLdapFilter (uid=joe)", "RecipientsLdapFilter (uid=%s", "RecipientsLdapUrls held.test", "RecipientsLdapBaseDn people"} {
		words := strings.Fields(bad)
		if out, err := s.Run(t.Context(), "", "mb", "set", strings.TrimSpace(held), words[0], words[1]); err == nil || !strings.Contains(err.Error(), words[0]) {
			t.Errorf("%s is taken: %s, %v", bad, out, err)
		}
	}

	set(t, s, "LdapCacheTime", "300")
	check("remembered", "joe@held.test", there)
	dir.Stop()
	check("down", "ann@held.test", down)
	check("down, remembered", "joe@held.test", there)
	if got := whySite(t, s); !strings.Contains(got, "directory of recipients: ldaps://") {
		t.Errorf("status does not say that the directory is down: %q", got)
	}
	if strings.Contains(s.Log(), "secret") {
		t.Error("a password is in the log")
	}
}

// whySite is what status says is wrong with site 1.
func whySite(t *testing.T, s *testpeer.Service) string {
	t.Helper()
	return call(t, s, api.SiteShow, api.SiteRequest{Site: 1}).Why
}
