// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"log/slog"
	"testing"

	"restante/internal/testpeer"
)

// old are the suites of a device that knows RSA key exchange and CBC alone.
var old = []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}

func TestProtocols(t *testing.T) {
	modern, modernKey := testpeer.NewCertificate(t, testpeer.ECDSAKey(t), "hub.test")
	twin, twinKey := testpeer.NewCertificate(t, rsaKey(), "hub.test")
	c := New(write(t, modern+modernKey, twin+twinKey), slog.New(slog.DiscardHandler))
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		server   Protocols
		caller   *tls.Config
		version  uint16 // 0: refused
		ofSuites uint16 // 0: any
	}{
		{"a caller of today", Protocols{}, &tls.Config{}, tls.VersionTLS13, 0},
		{"TLS 1.2", Protocols{}, &tls.Config{MaxVersion: tls.VersionTLS12}, tls.VersionTLS12, 0},
		{"TLS 1.1", Protocols{}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, 0, 0},
		{"RSA key exchange", Protocols{}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: old}, 0, 0},
		{"TLS 1.2 where 1.3 is asked for", Protocols{Min: tls.VersionTLS13}, &tls.Config{MaxVersion: tls.VersionTLS12}, 0, 0},
		{"TLS 1.3 where it is asked for", Protocols{Min: tls.VersionTLS13}, &tls.Config{}, tls.VersionTLS13, 0},
		{"a caller of today at a site for old devices", Protocols{Old: true}, &tls.Config{}, tls.VersionTLS13, 0},
		{"TLS 1.2 there", Protocols{Old: true}, &tls.Config{MaxVersion: tls.VersionTLS12}, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		{"TLS 1.1 there", Protocols{Old: true}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, tls.VersionTLS11, 0},
		{"TLS 1.0 there", Protocols{Old: true}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, tls.VersionTLS10, 0},
		{"RSA key exchange there", Protocols{Old: true}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: old}, tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA},
		{"TLS 1.0 and 3DES there", Protocols{Old: true}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: old[1:]}, tls.VersionTLS10, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA},
		{"RC4 there", Protocols{Old: true}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}, 0, 0},
	} {
		state, err := handshake(t, c.Config(tt.server), tt.caller)
		switch {
		case (err == nil) != (tt.version != 0):
			t.Errorf("%s: %v", tt.name, err)
		case err == nil && (state.Version != tt.version || tt.ofSuites != 0 && state.CipherSuite != tt.ofSuites):
			t.Errorf("%s: %s with %s", tt.name, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
		}
	}
}
