// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// WriteCertificate puts a self-signed certificate for name, and its key, into dir.
func WriteCertificate(t testing.TB, dir, name string) (cert, key string) {
	t.Helper()
	certPEM, keyPEM := NewCertificate(t, ECDSAKey(t), name)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, text := range map[string]string{cert: certPEM, key: keyPEM} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// ECDSAKey is a new key.
func ECDSAKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// NewCertificate gives a self-signed certificate for the names, and its key, as PEM.
func NewCertificate(t testing.TB, private crypto.Signer, names ...string) (cert, key string) {
	t.Helper()
	return newCertificate(t, private, time.Now().Add(24*time.Hour), names...)
}

// ExpiredCertificate is a certificate that has expired.
func ExpiredCertificate(t testing.TB, names ...string) (cert, key string) {
	t.Helper()
	return newCertificate(t, ECDSAKey(t), time.Now().Add(-time.Minute), names...)
}

func newCertificate(t testing.TB, private crypto.Signer, end time.Time, names ...string) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", raw)
}
