// SPDX-License-Identifier: Apache-2.0

package dane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "it checks certificates alone"})
}

// certificate issues one for name, by an issuer or by itself.
func certificate(t *testing.T, name string, ca bool, end time.Duration, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(end),
	}
	if parent == nil {
		parent, by = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return c, key
}

func record(usage, selector, matching uint8, c *x509.Certificate) Record {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return Record{usage, selector, matching, data}
}

func TestVerify(t *testing.T) {
	ca, caKey := certificate(t, "ca.test", true, time.Hour, nil, nil)
	between, betweenKey := certificate(t, "between.test", true, time.Hour, ca, caKey)
	mx, _ := certificate(t, "mx.test", false, time.Hour, between, betweenKey)
	ended, _ := certificate(t, "mx.test", false, -time.Hour, between, betweenKey)
	domain, _ := certificate(t, "*.to.test", false, time.Hour, between, betweenKey)
	other, _ := certificate(t, "other.test", false, time.Hour, nil, nil)
	self, _ := certificate(t, "mx.test", false, time.Hour, nil, nil)
	names := []string{"mx.test", "in.to.test"}
	chain := func(list ...*x509.Certificate) []*x509.Certificate { return list }
	for _, tt := range []struct {
		name    string
		records []Record
		shown   []*x509.Certificate
		want    string
	}{
		{"its key", []Record{record(3, 1, 1, mx)}, chain(mx), ""},
		{"its key by SHA-512", []Record{record(3, 1, 2, mx)}, chain(mx), ""},
		{"its key itself", []Record{record(3, 1, 0, mx)}, chain(mx), ""},
		{"itself by digest", []Record{record(3, 0, 1, mx)}, chain(mx), ""},
		{"itself", []Record{record(3, 0, 0, mx)}, chain(mx), ""},
		{"ended, and another's name", []Record{record(3, 1, 1, ended), record(3, 1, 1, other)}, chain(ended), ""},
		{"another's name", []Record{record(3, 1, 1, other)}, chain(other), ""},
		{"another certificate", []Record{record(3, 1, 1, other)}, chain(mx), "none that the TLSA records name"},
		{"the second record, as when keys change", []Record{record(3, 1, 1, other), record(3, 1, 1, mx)}, chain(mx), ""},
		{"usage 3 names no issuer", []Record{record(3, 1, 1, ca)}, chain(mx, between, ca), "none that the TLSA records name"},

		{"its issuer's issuer", []Record{record(2, 0, 1, ca)}, chain(mx, between, ca), ""},
		{"its issuer", []Record{record(2, 1, 1, between)}, chain(mx, between), ""},
		{"its issuer's key", []Record{record(2, 1, 0, between)}, chain(mx, between), ""},
		{"an issuer that is not shown", []Record{record(2, 0, 1, ca)}, chain(mx, between), "none that"},
		{"an issuer that need not be shown", []Record{record(2, 0, 0, ca)}, chain(mx, between), ""},
		{"an issuer, ended", []Record{record(2, 1, 1, ca)}, chain(ended, between, ca), "expired"},
		{"an issuer, name of the domain", []Record{record(2, 1, 1, ca)}, chain(domain, between, ca), ""},
		{"an issuer, shown beside another's certificate", []Record{record(2, 1, 1, ca)}, chain(other, between, ca), "unknown authority"},
		{"an issuer and another's name", []Record{record(2, 0, 1, other)}, chain(other), "names none of mx.test, in.to.test"},
		{"its own issuer", []Record{record(2, 0, 1, self)}, chain(self), ""},
		{"no certificate", []Record{record(3, 1, 1, mx)}, nil, "shows no certificate"},
	} {
		err := Verify(Usable(tt.records), names, tls.ConnectionState{PeerCertificates: tt.shown})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestUsable(t *testing.T) {
	c, _ := certificate(t, "mx.test", false, time.Hour, nil, nil)
	for _, tt := range []struct {
		name string
		in   []Record
		want int
	}{
		{"none", nil, 0},
		{"those for everybody's authorities", []Record{record(0, 1, 1, c), record(1, 1, 1, c)}, 0},
		{"an unknown usage", []Record{record(4, 1, 1, c), record(255, 0, 1, c)}, 0},
		{"an unknown selector", []Record{record(3, 2, 1, c)}, 0},
		{"an unknown digest", []Record{{3, 1, 3, make([]byte, 32)}}, 0},
		{"a digest of another length", []Record{{3, 1, 1, make([]byte, 20)}, {3, 1, 2, make([]byte, 32)}}, 0},
		{"no data", []Record{{3, 1, 0, nil}, {3, 1, 1, nil}}, 0},
		{"one of two", []Record{record(1, 1, 1, c), record(3, 1, 1, c)}, 1},
		{"the stronger of two digests", []Record{record(3, 1, 1, c), record(3, 1, 2, c)}, 1},
		{"digests of different things", []Record{record(3, 1, 1, c), record(3, 0, 2, c), record(2, 1, 2, c)}, 3},
		{"a digest beside a stronger one of no use", []Record{record(3, 1, 1, c), {3, 1, 2, make([]byte, 32)}}, 1},
		{"all of an issuer", []Record{record(2, 0, 0, c), record(2, 1, 0, c), record(2, 0, 1, c), record(2, 1, 1, c)}, 4},
	} {
		if got := Usable(tt.in); len(got) != tt.want {
			t.Errorf("%s: %v, want %d", tt.name, got, tt.want)
		}
	}
}
