// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHandshakesThatFail wants the reason in words, and the error of crypto/tls
// behind it.
func TestHandshakesThatFail(t *testing.T) {
	server, _ := certificate(t)
	dials := func(c *tls.Config) func(net.Conn) {
		return func(conn net.Conn) {
			c.ServerName = "hub.test"
			_ = tls.Client(conn, c).Handshake()
		}
	}
	for _, tt := range []struct {
		name   string
		caller func(net.Conn)
		want   string
	}{
		{"too old", dials(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), "the caller's TLS is too old (TlsMinVersion, TlsOldDevices): tls: "},
		{"another cipher", dials(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}), "no cipher in common (TlsOldDevices; "},
		{"gone", func(c net.Conn) { _ = c.Close() }, "the caller closed the connection: EOF"},
		{"gone within", func(c net.Conn) { _, _ = c.Write([]byte("\x16\x03\x01\x01")); _ = c.Close() }, "the caller closed the connection: "},
		{"no TLS", func(c net.Conn) { _, _ = c.Write([]byte("EHLO c.test\r\n")) }, "the caller does not speak TLS: tls: "},
		{"silence", func(net.Conn) {}, "not done within 1m0s: "},
		{"nonsense", func(c net.Conn) { _, _ = c.Write([]byte("\x16\x03\x01\x00\x04\x00\x00\x00\x00")) }, "the caller broke the rules of TLS: tls: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer near.Close()
				go func() {
					tt.caller(near)
					_, _ = near.Read(make([]byte, 64)) // what the server says of it
				}()
				_ = far.SetDeadline(time.Now().Add(time.Minute))
				err := tls.Server(far, server).HandshakeContext(t.Context())
				_ = far.Close()
				if got := handshakeError(err, time.Minute); !strings.HasPrefix(got.Error(), tt.want) || !errors.Is(got, err) {
					t.Errorf("%v, want %q", got, tt.want)
				}
			})
		})
	}
	for text, want := range map[string]string{ // as crypto/tls has the alerts of callers
		"tls: unknown certificate authority": "the caller does not accept the certificate: ", "tls: handshake failure": "the caller gave up: ",
	} {
		if got := handshakeError(&net.OpError{Op: "remote error", Err: errors.New(text)}, time.Minute); !strings.HasPrefix(got.Error(), want) {
			t.Errorf("%v, want %q", got, want)
		}
	}
}
