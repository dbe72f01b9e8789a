// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"strings"
	"testing"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// TestAccountsOfOneSiteAndOfAll: an account of all sites signs in and collects mail at
// each; a site's own is known there alone, and comes first.
func TestAccountsOfOneSiteAndOfAll(t *testing.T) {
	t.Parallel()
	s := startService(t)
	runCommand(t, s, "", "site", "create", "--name", "Two", "--bind", "127.0.0.1:0", "--domain", "two.test")
	runCommand(t, s, "", "site", "start", "2")
	for _, n := range []string{"1", "2"} {
		runCommand(t, s, "", "mb", "set", "SMTPSVC/"+n, "ConnectionLimitExempt", "127.0.0.1")
		runCommand(t, s, "", "domain", "create", n, "held.test", "--remote", "--turn", "both", "--turn", "everywhere", "--turn", "one")
	}
	for name, password := range map[string]string{"both": "of-all", "1/both": "of-site-1", "everywhere": "of-all", "1/one": "of-site-1"} {
		call(t, s, api.AccountPut, api.AccountRequest{Name: name, Password: password})
	}
	addr := map[string]string{"1": s.Addr(1), "2": listening(t, s, 2)}
	tests := []struct {
		site, name, password string
		ok                   bool
	}{
		{"1", "both", "of-site-1", true},
		{"1", "both", "of-all", false},
		{"2", "both", "of-all", true},
		{"2", "both", "of-site-1", false},
		{"1", "everywhere", "of-all", true},
		{"2", "Everywhere", "of-all", true},
		{"1", "one", "of-site-1", true},
		{"2", "one", "of-site-1", false},
	}
	for _, tt := range tests {
		want, turn := "535 5.7.8", "530"
		if tt.ok {
			want, turn = "235 2.7.0", "453 4.3.0" // allowed, and nothing waits
		}
		got, l := signInAt(t, addr[tt.site], "PLAIN", tt.name, tt.password)
		if !strings.HasPrefix(got, want) {
			t.Errorf("site %s: %s with %s: %q, want %s", tt.site, tt.name, tt.password, got, want)
		}
		if err := l.Say("ATRN held.test", turn); err != nil {
			t.Errorf("site %s: %s with %s: %v", tt.site, tt.name, tt.password, err)
		}
		_ = l.Close()
	}
	_, l := signInAt(t, addr["1"], "PLAIN", "both", "of-site-1")
	runCommand(t, s, "", "account", "delete", "1/both", "--yes")
	if err := l.Say("NOOP", "421"); err != nil {
		t.Errorf("the site's own account is deleted: %v", err)
	}
	if got, _ := signInAt(t, addr["1"], "PLAIN", "both", "of-all"); !strings.HasPrefix(got, "235") {
		t.Errorf("the account of all sites behind it: %q", got)
	}
}

// listening is where a site listens.
func listening(t *testing.T, s *testpeer.Service, n int) string {
	t.Helper()
	site := call(t, s, api.SiteShow, api.SiteRequest{Site: n})
	return site.Listening[0].String()
}
