// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/engine/account"
	"restante/metabase"
	"restante/metabase/schema"
)

// TestRouteOauth: where tokens come from, and which host a provider's name gives.
func TestRouteOauth(t *testing.T) {
	const (
		microsoft = "https://login.microsoftonline.com/organizations/oauth2/v2.0/token https://outlook.office.com/SMTP.Send offline_access smtp.office365.com:587"
		google    = "https://oauth2.googleapis.com/token https://mail.google.com/ smtp.gmail.com:587"
	)
	for _, tt := range []struct {
		set  string // at the site, with blanks between name and values
		want string // token server, scopes and hosts
	}{
		{"RouteOauth microsoft365", microsoft},
		{"RouteOauth Microsoft365 contoso.onmicrosoft.com", strings.Replace(microsoft, "organizations", "contoso.onmicrosoft.com", 1)},
		{"RouteOauth microsoft365; RouteOauthSecret x", strings.Replace(microsoft, "office.com/SMTP.Send offline_access", "office365.com/.default", 1)},
		{"RouteOauth microsoft365; RouteOauthSecret x; RouteOauthRefreshToken y", microsoft},
		{"RouteOauth google", google},
		{"RouteOauth google; SmartHost relay.test:25; RouteOauthScopes a b", "https://oauth2.googleapis.com/token a b relay.test:25"},
		{"RouteOauth https://login.test/token; SmartHost relay.test", "https://login.test/token  relay.test:0"},
		{"RouteOauth https://login.test/token", "no smart host"},
	} {
		tr := newTree(t)
		tr.set(SitePath(1), "SmartHostType", "2")
		tr.set(SitePath(1), "RouteUserName", "u@corp.test")
		tr.set(SitePath(1), "RouteAction", "sasl")
		tr.set(SitePath(1), "RouteOauthClientId", "app")
		for one := range strings.SplitSeq(tt.set, "; ") {
			name, value, _ := strings.Cut(one, " ")
			if name == "RouteOauthScopes" {
				tr.set(SitePath(1), name, strings.Fields(value)...)
				continue
			}
			tr.set(SitePath(1), name, value)
		}
		route := tr.site(1).Route("far.test")
		got := "no smart host"
		if in := route.SignIn; in != nil {
			got = in.Grant.TokenURL + " " + in.Grant.Scopes
			for _, h := range route.Hosts {
				got += fmt.Sprintf(" %s:%d", h.Name, h.Port)
			}
			if !route.NeedTLS || in.Password != "" || in.InClear || in.Mechanisms[0] != account.OAuthBearer || in.Grant.ClientID != "app" {
				t.Errorf("%s: %+v, TLS %v", tt.set, in, route.NeedTLS)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.set, got, tt.want)
		}
	}
	for _, text := range []string{"google x", "microsoft365 a b", "microsoft365 a/b", "yahoo", "http://login.test/token", "https://login.test/token ftp://x", "https://u:p@login.test/token", "a b c"} {
		if err := newTree(t).apply(set(t, SitePath(1), "RouteOauth", text)); !errors.Is(err, metabase.Invalid) || !strings.Contains(err.Error(), "RouteOauth: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDeviceGrants(t *testing.T) {
	tr := newTree(t)
	tr.domain("cloud.test")
	path := DomainPath(1, "cloud.test")
	fails := func(want string) {
		t.Helper()
		if _, _, err := DeviceGrant(tr.store.Snapshot(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("DeviceGrant = %v, want %s", err, want)
		}
	}
	fails("RouteOauth is not set")
	tr.set(SitePath(1), "RouteOauth", "https://login.test/token")
	fails("RouteOauthClientId is not set")
	tr.set(path, "RouteOauthClientId", "app")
	fails("RouteOauth has no URL for device codes")
	tr.set(SitePath(1), "RouteOauth", "microsoft365 contoso.test")
	tr.set(path, "RouteOauthSecret", "x")
	g, from, err := DeviceGrant(tr.store.Snapshot(), path)
	if err != nil || from != SitePath(1) || g.DeviceURL != "https://login.microsoftonline.com/contoso.test/oauth2/v2.0/devicecode" || g.Scopes != "https://outlook.office.com/SMTP.Send offline_access" {
		t.Errorf("DeviceGrant = %+v, %s, %v", g, from, err)
	}
}

// Who may not write the secrets of RouteOauth cannot have them, nor what they give, sent
// elsewhere.
func TestOauthSecretsGoNowhereElse(t *testing.T) {
	tr := newTwoSites(t)
	site, o := SitePath(2), DomainPath(2, "o.test")
	tr.must(metabase.AddKey{Path: o, Class: schema.Domain}, set(t, o, "RouteAction", "smarthost,sasl"), set(t, o, "RouteActionString", "mail.o.test"), set(t, o, "RouteUserName", "u"))
	for _, p := range []string{"RouteOauth https://login.test/token", "RouteOauthClientId app", "RouteOauthRefreshToken refresh-secret", "RouteOauthSecret client-secret"} {
		name, value, _ := strings.Cut(p, " ")
		tr.set(site, name, value)
	}
	tr.set(metabase.Root, "AccessList", "user:boss all", "user:joe read")
	tr.set(site, "AccessList", "user:boss all", "user:joe read,write,create,delete")
	for _, tt := range []struct {
		path        metabase.Path
		name, value string
		refused     bool
	}{
		{o, "RouteOauth", "https://evil.test/token", true},
		{site, "RouteOauth", "https://evil.test/token", true},
		{o, "RouteOauth", "google", true},
		{o, "RouteOauthClientId", "other", true},
		{o, "RouteOauthScopes", "everything", true},
		{o, "RouteActionString", "evil.test", true},
		{site, "DnsServers", "192.0.2.66", true},
		{site, "SmtpSSLRequireTrustedCA", "false", true},
		{o, "RouteUserName", "v", false},
		{o, "RouteAction", "smarthost", false},
		{o, "RouteAction", "smarthost,sasl,ssl", false},
		{o, "RelayForAuth", "false", false},
	} {
		got := strings.Join(tr.problems("user:joe", set(t, tt.path, tt.name, tt.value)), "\n")
		if want := "that takes the right write_secret at " + string(site) + ", or a RouteOauth"; tt.refused && !strings.Contains(got, want) || !tt.refused && got != "" {
			t.Errorf("%s %s %s: %q", tt.path, tt.name, tt.value, got)
		}
		if root := tr.problems("user:root", set(t, tt.path, tt.name, tt.value)); len(root) > 0 {
			t.Errorf("%s %s by root: %q", tt.name, tt.value, root)
		}
	}
}
