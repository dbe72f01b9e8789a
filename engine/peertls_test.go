// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"restante/engine/settings"
)

func TestPeerTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	known, empty := x509.NewCertPool(), x509.NewCertPool()
	known.AddCert(cert)
	tests := []struct {
		name         string
		noCA, noName bool
		roots        *x509.CertPool
		ok           bool
	}{
		{"mx.test", false, true, known, true},
		{"other.test", false, true, known, true},
		{"other.test", false, true, empty, false},
		{"mx.test", true, false, empty, true},
		{"other.test", true, false, empty, false},
		{"other.test", true, true, empty, true},
	}
	for _, tt := range tests {
		cs := tls.ConnectionState{ServerName: tt.name, PeerCertificates: []*x509.Certificate{cert}}
		err := verify(cs, settings.Out{SmtpSSLRequireTrustedCA: !tt.noCA, SmtpSSLCertHostnameValidation: !tt.noName}, tt.roots)
		if (err == nil) != tt.ok {
			t.Errorf("%s, no CA %v, no name %v: %v", tt.name, tt.noCA, tt.noName, err)
		}
	}
	if verify(tls.ConnectionState{}, settings.Out{}, nil) == nil {
		t.Error("a host without a certificate is taken")
	}
	for _, need := range []bool{true, false} {
		if got := peerTLS(need, settings.Out{SmtpSSLRequireTrustedCA: true, SmtpSSLCertHostnameValidation: true}); got != nil {
			t.Errorf("peerTLS(%v) without exceptions = %v: the library checks by itself", need, got)
		}
	}
	if peerTLS(false, settings.Out{SmtpSSLCertHostnameValidation: true}) != nil {
		t.Error("where TLS is a bonus nothing is checked")
	}
	if peerTLS(true, settings.Out{SmtpSSLCertHostnameValidation: true}) == nil {
		t.Error("an exception is not made")
	}
}
