// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

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
