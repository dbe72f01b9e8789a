// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/engine/resolver"
	"restante/engine/resolver/dnstest"
	"restante/internal/testpeer"
)

// keyRecord is the TLSA record of a certificate's key.
func keyRecord(t *testing.T, host string, c tls.Certificate) string {
	t.Helper()
	cert, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("_25._tcp.%s TLSA 3 1 1 %x\n", host, sha256.Sum256(cert.RawSubjectPublicKeyInfo))
}

const twoHosts = `
to.test.   MX 10 mx1.test.
to.test.   MX 20 mx2.test.
mx1.test.  A 192.0.2.1
mx2.test.  A 192.0.2.2
`

// TestDane has what RFC 7672 §2.2 makes of a connection: the first host has the records
// of the row, the second none, and it takes mail only where the row says so.
func TestDane(t *testing.T) {
	own, _ := testpeer.Certificate(t, "internal.test", time.Now().Add(-time.Hour)) // neither its name nor its dates count
	other, _ := testpeer.Certificate(t, "mx1.test", time.Now().Add(time.Hour))
	right, wrong := keyRecord(t, "mx1.test.", own), keyRecord(t, "mx1.test.", other)
	unusable := "_25._tcp.mx1.test. TLSA 1 1 1 " + strings.Repeat("ab", 32) + "\n"
	on := ClientSettings{DANE: true}
	for _, tt := range []struct {
		name    string
		records string
		signed  string
		offered *tls.Config // by the first host
		talk    ClientSettings
		want    string // which host has it and how, or the words of the failure
	}{
		{"no record", "", ".", nil, on, "mx1 clear"},
		{"it matches", right, ".", certs(own), on, "mx1 TLS dane"},
		{"one of two matches", right + wrong, ".", certs(own), on, "mx1 TLS dane"},
		{"it matches, where a setting asks for TLS", right, ".", certs(own), ClientSettings{DANE: true, RequireTLS: true}, "mx1 TLS dane"},
		{"none matches", wrong, ".", certs(own), on, "mx2 clear"},
		{"no TLS", right, ".", nil, on, "mx2 clear"},
		{"the handshake fails", right, ".", &tls.Config{}, on, "mx2 clear"},
		{"of no use", unusable, ".", certs(own), on, "mx1 TLS dane"},
		{"of no use, no TLS", unusable, ".", nil, on, "mx2 clear"},
		{"of no use beside one that does not match", unusable + wrong, ".", certs(own), on, "mx2 clear"},
		{"not signed", wrong, "else.test.", nil, on, "mx1 clear"},
		{"the host alone is signed", wrong, "mx1.test.", nil, on, "mx1 clear"},
		{"switched off", wrong, ".", nil, ClientSettings{}, "mx1 clear"},
		{"HELO has no TLS", wrong, ".", nil, ClientSettings{DANE: true, HELO: true}, "mx1 clear"},
		{"no answer about records", "SERVFAIL", ".", nil, on, "mx2 clear"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, second := testpeer.NewMX(t, testpeer.MXOptions{TLS: tt.offered}), testpeer.NewMX(t, testpeer.MXOptions{})
			fails := tt.records == "SERVFAIL"
			dns := dnstest.Serve(t, twoHosts+strings.TrimPrefix(tt.records, "SERVFAIL"))
			if dns.Sign(tt.signed); fails {
				dns.Fail("_25._tcp.mx1.test")
			}
			l := newLease(message(1, "x\r\n", "a@to.test"))
			talk := tt.talk
			talk.DNS = resolver.Query{Servers: []string{dns.Addr}, Secure: talk.DANE}
			attempt(t, Route{Client: talk}, resolver.New(resolver.Options{}), lines{"192.0.2.1": first.Addr, "192.0.2.2": second.Addr}, l)
			check(t, l, 1, "a@to.test delivered", "250")
			got := ""
			for name, mx := range map[string]*testpeer.MX{"mx1": first, "mx2": second} {
				for _, m := range mx.Messages() {
					got += name + map[bool]string{true: " TLS", false: " clear"}[m.TLS]
				}
			}
			if rule := l.via(1).Rule; rule != "" {
				got += " " + rule
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}

			// Without the second host the mail waits, and says why.
			if !strings.HasPrefix(tt.want, "mx2") {
				return
			}
			dns.Zone(t, strings.Replace(twoHosts, "to.test.   MX 20 mx2.test.", "", 1)+strings.TrimPrefix(tt.records, "SERVFAIL"))
			for _, route := range []Route{{Client: talk}, {Kind: SmartHost, Smart: []Hop{{Host: "mx1.test"}}, Client: talk}} {
				l = newLease(message(1, "x\r\n", "a@to.test"))
				attempt(t, route, resolver.New(resolver.Options{}), lines{"192.0.2.1": first.Addr}, l)
				if fails {
					check(t, l, 1, "a@to.test deferred", "451 4.7.5 mx1.test gives no answer about its TLSA records")
				} else {
					check(t, l, 1, "a@to.test deferred", "454 4.7.5 no trusted TLS connection to mx1.test (DANE)")
				}
			}
		})
	}
}

// policies are MTA-STS policies: for each domain its host.
type policies map[mail.Domain]string

func (p policies) Policy(_ context.Context, d mail.Domain, _ resolver.Query) func(string) bool {
	host, ok := p[d]
	if !ok {
		return nil
	}
	return func(name string) bool { return name == host }
}

// TestMtaSts has what a policy makes of a connection (RFC 8461 §5): the host of the row
// is the one that the policy has, and mx2 takes mail without TLS.
func TestMtaSts(t *testing.T) {
	good, pool := testpeer.Certificate(t, "mx1.test", time.Now().Add(time.Hour))
	other, otherPool := testpeer.Certificate(t, "other.test", time.Now().Add(time.Hour))
	expired, expiredPool := testpeer.Certificate(t, "mx1.test", time.Now().Add(-time.Hour))
	own, _ := testpeer.Certificate(t, "internal.test", time.Now().Add(time.Hour))
	right, wrong := keyRecord(t, "mx1.test.", own), keyRecord(t, "mx1.test.", other)
	unusable := "_25._tcp.mx1.test. TLSA 1 1 1 " + strings.Repeat("ab", 32) + "\n"
	const waits = "454 4.7.5 no trusted TLS connection to mx1.test (MTA-STS)"
	const foreign = "451 4.7.5 mx1.test is none of the hosts in the MTA-STS policy of to.test"
	for _, tt := range []struct {
		name    string
		host    string // of the policy; "": there is none
		offered *tls.Config
		trust   *x509.CertPool
		records string
		off     bool
		want    string // the rule, or the reply
	}{
		{"proved", "mx1.test", certs(good), pool, "", false, "sts"},
		{"not trusted", "mx1.test", certs(good), nil, "", false, waits},
		{"another's name", "mx1.test", certs(other), otherPool, "", false, waits},
		{"expired", "mx1.test", certs(expired), expiredPool, "", false, waits},
		{"no TLS", "mx1.test", nil, pool, "", false, waits},
		{"the handshake fails", "mx1.test", &tls.Config{}, pool, "", false, waits},
		{"not in the policy", "mx9.test", certs(good), pool, "", false, foreign},
		{"no policy", "", nil, nil, "", false, ""},
		{"switched off", "mx9.test", nil, nil, "", true, ""},
		{"TLSA records go before", "mx9.test", certs(own), nil, right, false, "dane"},
		{"they do where they do not match", "mx1.test", certs(good), pool, wrong, false, "454 4.7.5 no trusted TLS connection to mx1.test (DANE)"},
		{"those of no use do not", "mx1.test", certs(own), nil, unusable, false, waits},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mx := testpeer.NewMX(t, testpeer.MXOptions{TLS: tt.offered})
			dns := dnstest.Serve(t, "to.test. MX 10 mx1.test.\nmx1.test. A 192.0.2.1\nmx9.test. A 192.0.2.9\n"+tt.records)
			dns.Sign(".")
			known := policies{}
			if tt.host != "" {
				known["to.test"], known["mx1.test"] = tt.host, "mx9.test"
			}
			talk := ClientSettings{DANE: true, STS: !tt.off, TLS: &tls.Config{RootCAs: tt.trust}, DNS: resolver.Query{Servers: []string{dns.Addr}, Secure: true}}
			l := newLease(message(1, "x\r\n", "a@to.test"))
			New(fixed(Route{Client: talk}), resolver.New(resolver.Options{}), Options{Dialer: lines{"192.0.2.1": mx.Addr}, STS: known}).Attempt(t.Context(), "to.test", l)
			if strings.HasPrefix(tt.want, "4") {
				check(t, l, 1, "a@to.test deferred", tt.want)
				return
			}
			check(t, l, 1, "a@to.test delivered", "250")
			if got := l.via(1).Rule; got != tt.want {
				t.Errorf("the rule is %q, want %q", got, tt.want)
			}
		})
	}

	// A smart host is the administrator's, whatever policy its name has.
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	l := newLease(message(1, "x\r\n", "a@to.test"))
	route := Route{Kind: SmartHost, Smart: []Hop{{Host: "mx1.test"}}, Client: ClientSettings{STS: true, DNS: resolver.Query{Servers: []string{dnstest.Serve(t, "mx1.test. A 192.0.2.1").Addr}}}}
	New(fixed(route), resolver.New(resolver.Options{}), Options{Dialer: lines{"192.0.2.1": mx.Addr}, STS: policies{"mx1.test": "mx9.test", "to.test": "mx9.test", "": "mx9.test"}}).Attempt(t.Context(), "to.test", l)
	check(t, l, 1, "a@to.test delivered", "250")
}
