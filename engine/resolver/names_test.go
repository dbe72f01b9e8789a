// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"restante/engine/resolver/dnstest"
)

// A name counts where it leads back to the address.
func TestNames(t *testing.T) {
	server := dnstest.Serve(t, `
1.2.0.192.in-addr.arpa. PTR Mail.Test.
mail.test.              A 192.0.2.1
2.2.0.192.in-addr.arpa. PTR bank.test.
bank.test.              A 192.0.2.200
3.2.0.192.in-addr.arpa. PTR a.test.
3.2.0.192.in-addr.arpa. PTR bank.test.
3.2.0.192.in-addr.arpa. PTR sick.test.
a.test.                 CNAME b.test.
b.test.                 A 192.0.2.3
4.2.0.192.in-addr.arpa. PTR sick.test.
5.2.0.192.in-addr.arpa. CNAME 5.0/28.2.0.192.in-addr.arpa.
5.0/28.2.0.192.in-addr.arpa. PTR c.test.
c.test.                 A 192.0.2.5
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.test.
six.test.               AAAA 2001:db8::1
7.2.0.192.in-addr.arpa. PTR lost.test.
9.2.0.192.in-addr.arpa. PTR one.test.
9.2.0.192.in-addr.arpa. PTR two.test.
9.2.0.192.in-addr.arpa. PTR three.test.
9.2.0.192.in-addr.arpa. PTR four.test.
9.2.0.192.in-addr.arpa. PTR five.test.
9.2.0.192.in-addr.arpa. PTR six-th.test.
five.test.              A 192.0.2.9
six-th.test.            A 192.0.2.9
`)
	server.Fail("sick.test")
	server.Fail("6.2.0.192.in-addr.arpa")
	r := New(Options{Timeout: 5 * time.Second, Rounds: 1})
	for addr, want := range map[string]string{
		"192.0.2.1": "mail.test", "::ffff:192.0.2.1": "mail.test", "192.0.2.2": "", "192.0.2.3": "a.test", "192.0.2.4": "later",
		"192.0.2.5": "c.test", "192.0.2.6": "later", "192.0.2.7": "", "192.0.2.8": "",
		"192.0.2.9":   "five.test", // only the first five names are looked up
		"2001:db8::1": "six.test",
	} {
		names, err := r.Names(t.Context(), netip.MustParseAddr(addr), Query{Servers: []string{server.Addr}})
		got := strings.Join(names, " ")
		if IsTemporary(err) {
			got = "later"
		}
		if got != want || err != nil && got != "later" {
			t.Errorf("Names(%s) = %v, %v, want %q", addr, names, err, want)
		}
	}
}
