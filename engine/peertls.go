// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"restante/engine/settings"
)

// peerTLS gives the verification of a host that must speak TLS; nil for the full
// one, and for hosts without that demand.
func peerTLS(need bool, out settings.Out) *tls.Config {
	if !need || out.SmtpSSLRequireTrustedCA && out.SmtpSSLCertHostnameValidation {
		return nil
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection does the part that is demanded
		VerifyConnection:   func(cs tls.ConnectionState) error { return verify(cs, out, nil) },
	}
}

// verify checks what is not excepted against roots, nil for the system's.
func verify(cs tls.ConnectionState, out settings.Out, roots *x509.CertPool) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the host shows no certificate")
	}
	leaf := cs.PeerCertificates[0]
	if out.SmtpSSLCertHostnameValidation {
		if err := leaf.VerifyHostname(cs.ServerName); err != nil {
			return err
		}
	}
	if !out.SmtpSSLRequireTrustedCA {
		return nil
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(opts)
	return err
}
