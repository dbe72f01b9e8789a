// SPDX-License-Identifier: Apache-2.0

package site

import (
	"net/netip"
	"testing"

	"restante/engine/mail"
	"restante/engine/session"
)

// TestAddressesAreCounted: an IPv4 address and an IPv6 network of 64 bits are
// one, in whatever form they come.
func TestAddressesAreCounted(t *testing.T) {
	tests := []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"::1", "127.0.0.1", false},
	}
	for _, tt := range tests {
		var r sessionRegistry
		a, b := netip.MustParseAddr(tt.a).Unmap(), netip.MustParseAddr(tt.b).Unmap()
		from := -1
		accept := func(_, n, _ int) session.Decision {
			from = n
			return session.Decision{}
		}
		accepted := func(c, n, at int) session.Decision {
			d := accept(c, n, at)
			d.Reply.Code = 250
			return d
		}
		r.admit(a, netip.AddrPort{}, accepted)
		if r.admit(b, netip.AddrPort{}, accept); (from == 1) != tt.same { // not accepted, not counted
			t.Errorf("%s and %s: counted as %d", tt.a, tt.b, from)
		}
		list := []Session{{Remote: netip.AddrPortFrom(netip.MustParseAddr(tt.a), 1)}}
		if n := CountFrom(list, netip.MustParseAddr(tt.b)); (n == 1) != tt.same {
			t.Errorf("%s and %s: listed as %d", tt.a, tt.b, n)
		}
		r.leave(a, netip.AddrPort{})
		if len(r.from) != 0 || len(r.at) != 0 || r.count != 0 {
			t.Errorf("%s: %d connections are left, %v", tt.a, r.count, r.from)
		}
	}
}

// TestEndpoints: connections are counted by the binding that they came to.
func TestEndpoints(t *testing.T) {
	var r sessionRegistry
	client, one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("[::]:25"), netip.MustParseAddrPort("[::]:587")
	at := -1
	accept := func(_, _, n int) session.Decision {
		at = n
		return session.Decision{Reply: mail.Reply{Code: 250}}
	}
	for i, step := range []struct {
		at   netip.AddrPort
		want int
	}{{one, 0}, {one, 1}, {two, 0}, {one, 2}} {
		if r.admit(client, step.at, accept); at != step.want {
			t.Errorf("step %d: %d at %s, want %d", i, at, step.at, step.want)
		}
	}
	r.leave(client, one)
	if r.admit(client, one, accept); at != 2 {
		t.Errorf("after one left: %d", at)
	}
}
