// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"restante/engine/mail"
	"restante/engine/wire/ahead"
	"restante/engine/wire/reply"
)

// A PhaseError says in which phase a conversation broke off, and why.
type PhaseError struct {
	Phase string // as in mail.Reply
	Err   error
}

func (e *PhaseError) Error() string { return e.Phase + ": " + e.Err.Error() }
func (e *PhaseError) Unwrap() error { return e.Err }

// ErrProtocol means that the peer does not speak SMTP, or too much of it.
var ErrProtocol = reply.ErrProtocol

// A peer is the connection to the other server: it reads replies, each within
// its time and size, and is the net.Conn that go-smtp's client talks through.
type peer struct {
	raw    net.Conn // the socket
	nc     net.Conn // raw, or TLS over it
	r      *bufio.Reader
	limits Timeouts
	helo   bool
	wait   time.Duration // for the next reply
	sent   atomic.Int64  // when the peer last took something, as UnixNano,
	took   atomic.Int64  // and when it last answered a message
	ahead  *ahead.Reader // of nc; nil: r reads it itself
	log    func(Line)

	phase    string     // of the conversation, for replies and errors
	reply    mail.Reply // the last one
	name     string     // what the peer calls itself
	ready    []byte     // what go-smtp has still to read
	injected string     // a reply that go-smtp gets in place of the peer's
	ehlo     bool       // the next reply lists extensions
	err      error      // of the last read or write, or nil
}

func newPeer(nc net.Conn, opts ClientOptions) *peer {
	return &peer{
		raw: nc, nc: nc, r: bufio.NewReaderSize(nc, reply.MaxLine),
		log: opts.Log, limits: opts.Timeouts, helo: opts.UseHELO, wait: opts.Timeouts.Greeting, phase: mail.AtGreeting,
	}
}

// encrypt puts TLS over the connection. The greeting is not said again
// inside: go-smtp, which starts anew there, gets one from here.
func (p *peer) encrypt(ctx context.Context, cfg *tls.Config) error {
	p.phase = mail.AtTLS
	if p.r.Buffered() > 0 { // it may be injected
		return fmt.Errorf("%w: more stands behind the reply to STARTTLS", ErrProtocol)
	}
	tc := tls.Client(p.raw, cfg)
	p.raw.SetDeadline(time.Now().Add(p.limits.Command))
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	p.nc = tc
	p.r.Reset(tc)
	p.injected = "220 TLS is on\r\n"
	return nil
}

// command sends one line and gives the reply.
func (p *peer) command(line string) (mail.Reply, error) {
	p.enter(line)
	if _, err := p.send([]byte(line), p.limits.Command); err != nil {
		return mail.Reply{}, err
	}
	p.logCommand(line)
	return p.answer(p.limits.Command)
}

// enter begins the phase of a command.
func (p *peer) enter(line string) {
	if p.phase, _, _ = strings.Cut(strings.TrimRight(line, "\r\n"), " "); p.phase == "." {
		p.phase = mail.AfterDot
	}
}

// readWhileWriting has the replies read from here on while commands are written.
func (p *peer) readWhileWriting() {
	if p.ahead != nil {
		return
	}
	p.raw.SetReadDeadline(time.Time{})
	first, _ := p.r.Peek(p.r.Buffered())
	p.ahead = ahead.New(first, p.nc)
	p.r.Reset(p.ahead)
}

// hasReply says that the peer has said something that was not looked at.
func (p *peer) hasReply() bool {
	return p.r.Buffered() > 0 || p.ahead != nil && p.ahead.Ready()
}

func (p *peer) setReadDeadline(t time.Time) {
	if p.ahead != nil {
		p.ahead.SetDeadline(t)
		return
	}
	p.raw.SetReadDeadline(t)
}

// send writes b within limit, and gives how much of it was written.
func (p *peer) send(b []byte, limit time.Duration) (int, error) {
	p.raw.SetWriteDeadline(time.Now().Add(limit))
	n, err := p.nc.Write(b)
	if err != nil {
		p.err = &PhaseError{p.phase, err}
		return n, p.err
	}
	p.sent.Store(time.Now().UnixNano())
	return n, nil
}

// answer reads one reply, all of it within limit.
func (p *peer) answer(limit time.Duration) (mail.Reply, error) {
	_, _, err := p.read(limit)
	return p.reply, err
}

// read takes one reply as it stands: its code and its lines.
func (p *peer) read(limit time.Duration) (code int, lines []string, err error) {
	defer func() {
		if p.err = err; err != nil {
			p.err = &PhaseError{p.phase, err}
			err = p.err
		}
	}()
	p.setReadDeadline(time.Now().Add(limit))
	p.reply = mail.Reply{}
	said, err := reply.Read(p.r)
	if err != nil {
		return 0, nil, err
	}
	p.reply = said.Mail()
	p.reply.Phase = p.phase
	p.logReply(said.Code, said.First, said.Size)
	return said.Code, said.Lines, nil
}

// Write takes one command line of go-smtp's.
func (p *peer) Write(b []byte) (int, error) {
	p.ehlo = strings.HasPrefix(string(b), "EHLO ") || strings.HasPrefix(string(b), "LHLO ")
	if p.ehlo && p.helo { // go-smtp falls back to HELO
		p.ehlo, p.injected = false, "502 HELO is wanted\r\n"
		return len(b), nil
	}
	if p.reply.Code == 421 { // the peer hangs up, and has said why
		p.err = p.reply
		return 0, p.err
	}
	if string(b) == "*\r\n" && p.reply.Code != 334 {
		// Go-smtp takes an exchange back even when the peer has ended it.
		p.injected = "501 cancelled\r\n"
		return len(b), nil
	}
	p.wait = p.limits.Command
	command := p.reply.Code != 334 // or it is a credential
	if command {
		p.enter(string(b))
	}
	if _, err := p.send(b, p.limits.Command); err != nil {
		return 0, err
	}
	if command {
		p.logCommand(string(b))
	}
	return len(b), nil
}

// Read gives go-smtp one reply, whole before it begins and never more.
func (p *peer) Read(b []byte) (int, error) {
	if p.injected != "" {
		p.ready = append(p.ready, p.injected...)
		p.injected = ""
	}
	if len(p.ready) == 0 {
		code, lines, err := p.read(p.wait)
		if err != nil {
			return 0, err
		}
		p.prepare(code, lines)
	}
	n := copy(b, p.ready)
	p.ready = p.ready[n:]
	return n, nil
}

// prepare writes a reply for go-smtp, which knows keywords in upper case only,
// where IIS says 8bitmime, and AUTH without the equals sign.
func (p *peer) prepare(code int, lines []string) {
	if code == 250 {
		if name, _, _ := strings.Cut(lines[0], " "); p.name == "" || p.ehlo {
			p.name = name
		}
	}
	p.ready = p.ready[:0]
	for i, line := range lines {
		if p.ehlo && i > 0 {
			line = reply.Keyword(line)
		}
		sep := "-"
		if i+1 == len(lines) {
			sep = " "
		}
		p.ready = fmt.Appendf(p.ready, "%03d%s%s\r\n", code, sep, line[:min(len(line), 1500)]) // of its 2,000
	}
}

func (p *peer) Close() error                     { return p.raw.Close() }
func (p *peer) LocalAddr() net.Addr              { return p.raw.LocalAddr() }
func (p *peer) RemoteAddr() net.Addr             { return p.raw.RemoteAddr() }
func (p *peer) SetDeadline(time.Time) error      { return nil }
func (p *peer) SetReadDeadline(time.Time) error  { return nil }
func (p *peer) SetWriteDeadline(time.Time) error { return nil }
