// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"slices"
	"strings"
)

// Protocols are what callers may use.
type Protocols struct {
	Min uint16 // version; 0: TLS 1.2
	Old bool   // TLS 1.0 and 1.1, RSA key exchange and CBC ciphers with 3DES, too
}

// Config is that of a server; nil when c is.
func (c *Reloader) Config(p Protocols) *tls.Config {
	if c == nil {
		return nil
	}
	config := &tls.Config{MinVersion: max(p.Min, tls.VersionTLS12), GetCertificate: c.get}
	if p.Old {
		config.MinVersion = tls.VersionTLS10
		config.CipherSuites = suites(func(name string) bool { return !strings.Contains(name, "_RC4_") })
		config.GetConfigForClient = unsigned(config.Clone())
	}
	return config
}

// suites lists the IDs of the cipher suites up to TLS 1.2 whose names are chosen.
func suites(chosen func(name string) bool) (ids []uint16) {
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if chosen(s.Name) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// unsigned gives callers of TLS 1.2 whose only signatures are by SHA-1 a
// configuration with RSA key exchange alone, which has no signature: crypto/tls
// signs nothing by SHA-1 in TLS 1.2, and yet would choose a key exchange that is signed.
func unsigned(config *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	config.CipherSuites = suites(func(name string) bool {
		return strings.HasPrefix(name, "TLS_RSA_") && !strings.Contains(name, "_RC4_")
	})
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		speaks := func(version uint16) bool { return slices.Contains(hello.SupportedVersions, version) }
		if speaks(tls.VersionTLS13) || !speaks(tls.VersionTLS12) || slices.ContainsFunc(hello.SignatureSchemes, isModern) {
			return nil, nil // as it is
		}
		return config, nil
	}
}

// isModern reports whether a signature is by SHA-256 or better, among those that
// crypto/tls knows.
func isModern(s tls.SignatureScheme) bool {
	return s != tls.PKCS1WithSHA1 && s != tls.ECDSAWithSHA1 && !strings.HasPrefix(s.String(), "SignatureScheme(")
}
