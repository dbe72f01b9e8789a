// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"restante/engine/mail"
	"restante/engine/resolver/dnstest"
)

// TestTLSA has the cases of RFC 7672 §2.2: which answers must be authenticated for the
// records of a host to count, and where they are.
func TestTLSA(t *testing.T) {
	record := func(name, data string) string {
		return fmt.Sprintf("_25._tcp.%s TLSA 3 1 1 %s\n", name, strings.Repeat(data, 32))
	}
	s := dnstest.Serve(t, `
to.signed.       MX 10 mx.signed.
to.signed.       MX 20 alias.signed.
to.signed.       MX 20 plain.signed.
to.signed.       MX 30 mx.open.
to.signed.       MX 40 out.signed.
to.signed.       MX 40 half.signed.
to.signed.       MX 50 sick.signed.
to.signed.       MX 50 foreign.signed.
to.open.         MX 10 mx.signed.
www.signed.      CNAME to.signed.
mx.signed.       A 192.0.2.1
mx.signed.       AAAA 2001:db8::1
alias.signed.    CNAME end.signed.
end.signed.      A 192.0.2.2
out.signed.      CNAME mx.open.
half.signed.     CNAME mx.signed.
plain.signed.    A 192.0.2.3
sick.signed.     A 192.0.2.4
foreign.signed.  A 192.0.2.5
self.signed.     A 192.0.2.6
mx.open.         A 192.0.2.7
_25._tcp.foreign.signed. CNAME _25._tcp.mx.open.
_25._tcp.mx.signed. TLSA 1 1 1 ab
`+record("mx.signed.", "a1")+record("end.signed.", "a2")+record("out.signed.", "a3")+record("half.signed.", "a4")+record("self.signed.", "a5")+record("mx.open.", "bb"))
	s.Sign("signed.")
	s.Fail("_25._tcp.sick.signed")
	secure := Query{Servers: []string{s.Addr}, Secure: true}
	for _, tt := range []struct {
		next, host string
		want       string // number of records and names, or the error
		q          Query
	}{
		{"to.signed", "mx.signed", "2 mx.signed to.signed", secure},
		{"to.signed", "alias.signed", "1 end.signed to.signed alias.signed", secure},
		{"to.signed", "plain.signed", "0", secure},                                // no records, and that is authenticated
		{"to.signed", "mx.open", "0", secure},                                     // an unsigned host
		{"to.signed", "out.signed", "1 out.signed to.signed", secure},             // its own name is signed, the end of its aliases is not
		{"to.signed", "half.signed", "2 mx.signed to.signed half.signed", secure}, // the end comes first
		{"to.signed", "sick.signed", "no answer from the name servers", secure},
		{"to.signed", "foreign.signed", "0", secure}, // an alias to records that are not authenticated
		{"to.open", "mx.signed", "0", secure},        // anybody can have written that it is the host
		{"to.signed", "self.signed", "0", secure},    // no longer among the hosts
		{"www.signed", "mx.signed", "2 mx.signed www.signed to.signed", secure},
		{"self.signed", "self.signed", "1 self.signed", secure}, // without MX records
		{"", "self.signed", "1 self.signed", secure},            // a smart host
		{"", "mx.open", "0", secure},
		{"", "192.0.2.1", "0", secure},
		{"", "localhost", "0", secure},
		{"", "self.signed", "0", Query{Servers: []string{s.Addr}}}, // nobody asks
		{"", "self.signed", "0", Query{Servers: []string{s.Addr}, Secure: true, Names: InSystem}},
		{"", "self.signed", "0", Query{Servers: []string{s.Addr, "192.0.2.99"}, Secure: true}}, // one cannot be trusted
		{"", "self.signed", "1 self.signed", Query{Servers: []string{s.Addr, "192.0.2.99"}, Secure: true, Trusted: true}},
	} {
		got, err := New(Options{}).TLSA(t.Context(), mail.Domain(tt.next), tt.host, 25, tt.q)
		text := strings.Join(append([]string{fmt.Sprint(len(got.Records))}, got.Names...), " ")
		if e := (*Error)(nil); errors.As(err, &e) {
			text = string(e.Kind)
		}
		if text != tt.want {
			t.Errorf("%s of %q by %+v: %s, %v, want %s", tt.host, tt.next, tt.q.Servers, text, err, tt.want)
		}
	}
	if s.Asked("_25._tcp.mx.open") > 1 { // once behind the alias of foreign.signed
		t.Error("the servers of an unsigned zone are asked for TLSA records")
	}
}

// What a server said to a caller that asks for no proof is no proof to another one.
func TestAnswersAreKeptWithTheirProof(t *testing.T) {
	s := dnstest.Serve(t, "self.signed. A 192.0.2.6\n_25._tcp.self.signed. TLSA 3 1 1 "+strings.Repeat("a5", 32)+"\n")
	s.Sign("signed.")
	r := New(Options{})
	plain, secure := Query{Servers: []string{s.Addr}}, Query{Servers: []string{s.Addr}, Secure: true}
	for _, q := range []Query{plain, secure, plain, secure} {
		if _, err := r.Hosts(t.Context(), "self.signed", q); err != nil {
			t.Fatal(err)
		}
		got, err := r.TLSA(t.Context(), "", "self.signed", 25, q)
		if err != nil || (len(got.Records) > 0) != q.Secure || q.Secure && !slices.Equal(got.Names, []string{"self.signed"}) {
			t.Errorf("secure %v: %v, %v", q.Secure, got, err)
		}
	}
}

func TestTrusted(t *testing.T) {
	for servers, want := range map[string]bool{
		"127.0.0.1:53": true, "127.0.0.53:53 [::1]:5353": true, "[::ffff:127.0.0.1]:53": true,
		"192.0.2.1:53": false, "127.0.0.1:53 192.0.2.1:53": false, "127.0.0.11:53": false, "[::ffff:127.0.0.11]:53": false, "0.0.0.0:53": false, "[fe80::1%lo]:53": false,
	} {
		if got := trusted(strings.Fields(servers)); got != want {
			t.Errorf("%s: %v", servers, got)
		}
	}
}

// TestUsableAddresses: a stranger's zone does not have us call ourselves.
func TestUsableAddresses(t *testing.T) {
	s := dnstest.Serve(t, "far.test. A 192.0.2.1\nloop.test. A 127.0.0.1\nboth.test. A 127.0.0.1\nboth.test. A 192.0.2.2\nmx.test. MX 10 far.test.\nmx.test. TXT x\n")
	for _, tt := range []struct {
		host     string
		loopback bool
		want     string
	}{
		{"far.test", false, "[192.0.2.1]"}, {"both.test", false, "[192.0.2.2]"}, {"loop.test", true, "[127.0.0.1]"},
		{"loop.test", false, string(Loop)}, {"localhost", false, string(Loop)}, {"none.test", false, string(NotFound)}, {"mx.test", false, string(NoAddress)},
	} {
		addrs, err := New(Options{}).Usable(t.Context(), tt.host, Query{Servers: []string{s.Addr}, Loopback: tt.loopback})
		got := fmt.Sprint(addrs)
		if e := (*Error)(nil); errors.As(err, &e) {
			got = string(e.Kind)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.host, got, tt.want)
		}
	}
}
