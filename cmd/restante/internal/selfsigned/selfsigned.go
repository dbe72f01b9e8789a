// SPDX-License-Identifier: Apache-2.0

// Package selfsigned makes the certificates of a new data folder.
package selfsigned

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"restante/internal/disk"
)

// Write writes two self-signed certificates and their keys to dir,
// unless dir has one: callers can use TLS at once, and an administrator replaces
// them. The second has an RSA key, for callers that cannot use ECDSA.
func Write(dir string, names ...string) error {
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := os.Stat(certFile); err == nil {
		return nil
	}
	modern, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	var certs, secrets []byte
	for _, key := range []crypto.Signer{modern, old} {
		cert, secret, err := selfSigned(key, names)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		certs, secrets = append(certs, cert...), append(secrets, secret...)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := disk.WriteFile(nil, keyFile, 0o600, disk.Bytes(secrets)); err != nil {
		return err
	}
	return disk.WriteFile(nil, certFile, 0o600, disk.Bytes(certs))
}

// selfSigned makes a certificate for the names that are not "", and gives it and
// its key as PEM.
func selfSigned(key crypto.Signer, names []string) (cert, secret []byte, err error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	want := x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if _, ok := key.(*rsa.PrivateKey); ok {
		want.KeyUsage |= x509.KeyUsageKeyEncipherment // for RSA key exchange
	}
	for _, name := range names {
		switch ip := net.ParseIP(name); {
		case name == "" || slices.Contains(want.DNSNames, name):
		case ip != nil:
			want.IPAddresses = append(want.IPAddresses, ip)
		default:
			want.DNSNames = append(want.DNSNames, name)
			if want.Subject.CommonName == "" && len(name) <= 64 {
				want.Subject = pkix.Name{CommonName: name}
			}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &want, &want, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return block("CERTIFICATE", der), block("PRIVATE KEY", raw), nil
}
