// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"restante/engine/mail"
)

// A HandshakeError is the cause of the Reply that tells of a handshake that failed.
type HandshakeError struct {
	Reason string // in words
	Err    error
}

func (e *HandshakeError) Error() string { return e.Reason + ": " + e.Err.Error() }
func (e *HandshakeError) Unwrap() error { return e.Err }

// handshakeReasons are parts of the errors of crypto/tls, which has no types for
// them.
var handshakeReasons = []struct{ part, reason string }{
	{"unsupported versions", "the caller's TLS is too old (TlsMinVersion, TlsOldDevices)"},
	{"no cipher suite supported", "no cipher in common (TlsOldDevices; or the certificate's kind of key is none that the caller knows)"},
	{"no ECDHE curve supported", "no curve in common"},
	{"any of the certificate's signature algorithms", "no signature in common; the certificate's kind of key is none that the caller knows"},
	// Some libraries send in clear, in TLS 1.3, the alert that refuses the certificate.
	{"bad record MAC", "the caller broke off; it may not accept the certificate"},
	{"missing signature_algorithms", "no signature in common (TlsOldDevices)"},
}

// handshakeError says in words why a handshake failed that had that much time.
func handshakeError(err error, limit time.Duration) *HandshakeError {
	e := &HandshakeError{"the caller broke the rules of TLS", err}
	var header tls.RecordHeaderError
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Reason = "not done within " + limit.String()
	case errors.Is(err, context.Canceled):
		e.Reason = "the connection was closed here"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		e.Reason = "the caller closed the connection"
	case errors.As(err, &header):
		e.Reason = "the caller does not speak TLS"
	case errors.As(err, &op) && op.Op == "remote error" && strings.Contains(err.Error(), "certificate"):
		e.Reason = "the caller does not accept the certificate"
	case errors.As(err, &op) && op.Op == "remote error":
		e.Reason = "the caller gave up"
	}
	for _, r := range handshakeReasons {
		if strings.Contains(err.Error(), r.part) {
			e.Reason = r.reason
		}
	}
	return e
}

// handshake puts TLS over the socket. The caller of a handshake that fails gets
// no reply, because it could not read one; the Session and the log are told.
func (c *conn) handshake() bool {
	tc := tls.Server(c.raw, c.tlsConfig())
	limit := min(c.idle, maxHandshake)
	c.raw.SetDeadline(time.Now().Add(limit))
	if err := tc.HandshakeContext(c.ctx); err != nil {
		if c.now.verb == "" {
			c.now.verb = "TLS" // from the first octet
		}
		r := mail.Reply{Code: 454, Enhanced: "7.0", Text: "TLS handshake failed", Cause: handshakeError(err, limit)}
		c.report(r)
		c.now.received = 0 // STARTTLS has its line
		c.logExchange(r, 0)
		return false
	}
	c.raw.SetDeadline(time.Time{})
	c.sock, c.encrypted = tc, true
	c.caller.encrypted(tc.ConnectionState())
	return true
}
