// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"errors"
	"net"
	"testing"

	"restante/engine/resolver/dnstest"
)

// TestLookup: records as net.Resolver gives them, and its errors.
func TestLookup(t *testing.T) {
	srv := dnstest.Serve(t, `a.test. 60 IN TXT "one " "text"
a.test. 60 IN MX 10 mx.test.
mx.test. 60 IN A 192.0.2.1
1.2.0.192.in-addr.arpa. 60 IN PTR MX.test.
broken.test. 60 IN A 192.0.2.2`)
	srv.Fail("broken.test")
	l := New(Options{Rounds: 1}).Lookup(Query{Servers: []string{srv.Addr}})
	ctx := t.Context()
	if got, err := l.LookupTXT(ctx, "a.test."); err != nil || len(got) != 1 || got[0] != "one text" {
		t.Errorf("TXT: %q, %v", got, err)
	}
	if got, err := l.LookupMX(ctx, "a.test"); err != nil || len(got) != 1 || got[0].Host != "mx.test" || got[0].Pref != 10 {
		t.Errorf("MX: %v, %v", got, err)
	}
	if got, err := l.LookupIPAddr(ctx, "mx.test"); err != nil || len(got) != 1 || got[0].String() != "192.0.2.1" {
		t.Errorf("addresses: %v, %v", got, err)
	}
	if got, err := l.LookupAddr(ctx, "192.0.2.1"); err != nil || len(got) != 1 || got[0] != "mx.test" {
		t.Errorf("names: %v, %v", got, err)
	}
	for _, tt := range []struct {
		name  string
		later bool
	}{{"none.test", false}, {"mx.test", false}, {"broken.test", true}} {
		_, err := l.LookupTXT(ctx, tt.name)
		if e := (*net.DNSError)(nil); !errors.As(err, &e) || e.IsNotFound == tt.later || e.IsTemporary != tt.later {
			t.Errorf("TXT of %s: %v", tt.name, err)
		}
	}
}
