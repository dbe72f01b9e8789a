// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"restante/engine/mail"
)

// The nearest key decides who may collect, whatever it says.
func TestMayCollect(t *testing.T) {
	tr := newTree(t)
	tr.domain("*.w.test", "RouteAction 514", "AuthTurnList alice bob")
	tr.domain("held.w.test", "RouteAction 514")
	tr.domain("smart.w.test", "RouteAction smarthost", "RouteActionString [192.0.2.7]")
	tr.domain("bobs.w.test", "RouteAction 514", "AuthTurnList Bob")
	tr.domain("*.deep.w.test", "RouteAction 514", "AuthTurnList carol")
	tr.domain("a.deep.w.test", "RouteAction 514", "AuthTurnList alice")
	s := tr.site(1)
	for name, want := range map[mail.Domain]string{
		"x.w.test": "alice bob", "x.y.w.test": "alice bob", "w.test": "", "held.w.test": "", "smart.w.test": "",
		"bobs.w.test": "bob", "x.deep.w.test": "carol", "deep.w.test": "alice bob", "a.deep.w.test": "alice", "other.test": "",
	} {
		got := ""
		for _, account := range []string{"alice", "BOB", "carol", ""} {
			if s.MayCollect(account, name) {
				got += " " + map[string]string{"alice": "alice", "BOB": "bob", "carol": "carol"}[account]
			}
		}
		if got != "" {
			got = got[1:]
		}
		if got != want {
			t.Errorf("the mail of %s is for %q, want %q", name, got, want)
		}
	}
	got := fmt.Sprint(s.Grants())
	want := "[{carol *.deep.w.test [] [a.deep.w.test]} {alice *.w.test [] [*.deep.w.test bobs.w.test held.w.test smart.w.test]} " +
		"{bob *.w.test [] [*.deep.w.test held.w.test smart.w.test]} {alice a.deep.w.test [] []} {Bob bobs.w.test [] []}]"
	if got != want {
		t.Errorf("grants\n%s\nwant\n%s", got, want)
	}
}

func TestMayEtrn(t *testing.T) {
	tr := newTree(t)
	tr.domain("list.test", "RouteAction 514", "AuthTurnList alice")
	tr.domain("open.test", "RouteAction 512")
	tr.domain("any.test", "RouteAction 514", "AuthTurnList alice", "EtrnAllow any")
	tr.domain("net.test", "RouteAction 514", "AuthTurnList alice", "EtrnAllow accounts 192.0.2.0/24 2001:db8::1")
	tr.domain("only.test", "RouteAction 514", "AuthTurnList alice", "EtrnAllow 192.0.2.1")
	tr.domain("nobody.test", "RouteAction 512", "EtrnAllow accounts")
	tr.domain("off.test", "RouteAction 0x8202", "AuthTurnList alice", "EtrnAllow any")
	tr.domain("route.test", "RouteAction 0", "AuthTurnList alice", "EtrnAllow any")
	s := tr.site(1)
	callers := []struct {
		name, account, addr string
	}{{"stranger", "", "198.51.100.1"}, {"near", "", "::ffff:192.0.2.1"}, {"near6", "", "2001:db8::1"}, {"alice", "Alice", "198.51.100.1"}, {"bob", "bob", "198.51.100.1"}}
	for name, want := range map[mail.Domain][]string{
		"list.test": {"alice!"}, "open.test": {"stranger", "near", "near6", "alice", "bob"},
		"any.test": {"stranger", "near", "near6", "alice!", "bob"}, "net.test": {"near", "near6", "alice!"}, "only.test": {"near"},
		"nobody.test": nil, "off.test": nil, "route.test": nil, "unknown.test": nil,
	} {
		var got []string
		for _, c := range callers {
			owner, err := s.MayEtrn(name, c.account, netip.MustParseAddr(c.addr))
			switch {
			case err == nil && owner:
				got = append(got, c.name+"!")
			case err == nil:
				got = append(got, c.name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("ETRN %s is for %q, want %q", name, got, want)
		}
	}
	// A site's value holds for its domains.
	tr.set(SitePath(1), "EtrnAllow", "any")
	if _, err := tr.site(1).MayEtrn("list.test", "", netip.Addr{}); err != nil {
		t.Error(err)
	}
}
