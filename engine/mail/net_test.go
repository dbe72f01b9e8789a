// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"net/netip"
	"testing"
)

func TestCallerNet(t *testing.T) {
	tests := []struct{ in, want string }{
		{"192.0.2.7", "192.0.2.7/32"},
		{"::ffff:192.0.2.7", "192.0.2.7/32"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"fe80::1%eth0", "fe80::/64"},
	}
	for _, tt := range tests {
		if got := CallerNet(netip.MustParseAddr(tt.in)).String(); got != tt.want {
			t.Errorf("CallerNet(%s) = %s, want %s", tt.in, got, tt.want)
		}
	}
	if got := CallerNet(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("CallerNet of no address = %s", got)
	}
}
