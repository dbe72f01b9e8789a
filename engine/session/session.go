// SPDX-License-Identifier: Apache-2.0

// Package session decides what one caller may do: whether it may sign in and
// how, to whom it may send, how much, and what becomes of a message that came
// whole. It answers verb by verb with a mail.Reply.
//
// A 250 for a message is given only after the intake has it on stable storage.
// Nobody relays who may not: see [Policy.Judge].
//
// The package knows neither sockets nor where settings come from: it lives
// under the [Policy] that it is given, from greeting to end.
package session

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"restante/engine/account"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/wire"
)

// A Caller is the connection as wire knows it; *wire.Caller is one.
type Caller interface {
	Hello() string
	TLS() (tls.ConnectionState, bool)
	Account() string
	SignIn(account string)
}

// A Body takes one message in. Abort drops it, and does nothing after Accept.
type Body interface {
	io.Writer
	Size() int64

	// Accept returns nil when the message is on stable storage, and has
	// written that to the journal.
	Accept(ctx context.Context, env mail.Envelope) error
	Abort()
}

// An Intake makes messages ours. An error that is a mail.Reply is answered as
// it is, any other with 451.
type Intake interface {
	Create(ctx context.Context) (Body, error)
}

// Releases hands mail over to hosts that call.
type Releases interface {
	Etrn(ctx context.Context, who Who, node string) mail.Reply
	Turn(ctx context.Context, who Who, atrn bool, domains []mail.Domain) (mail.Reply, wire.Handover)
}

// Who is the caller as far as a release asks.
type Who struct {
	Account string // who has signed in, or ""
	Remote  netip.Addr
	TLS     bool
}

// Deps is what a session works with; all but Journal and Log are required.
type Deps struct {
	Intake   Intake
	Releases Releases
	Auth     *account.Authenticator
	Journal  *journal.Journal // nil: none
	Log      *slog.Logger     // diagnostics; nil: none
}

// A Session is one caller's. It implements wire's Session, Hearer,
// Authenticator and Releaser.
type Session struct {
	policy *Policy
	deps   Deps
	caller Caller
	remote netip.Addr

	extended bool // greeted by EHLO
	tx       *transaction
	taken    int   // messages accepted
	octets   int64 // of bodies that came
	failures int   // sign-ins refused
}

// transaction is what MAIL and RCPT said.
type transaction struct {
	from wire.MailArgs
	to   []mail.Recipient
	seen map[mail.Address]bool
}

// New makes the session of one caller. The policy must not change any more.
func New(p *Policy, remote netip.Addr, caller Caller, deps Deps) *Session {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Session{policy: p, deps: deps, caller: caller, remote: remote.Unmap()}
}

var ok = mail.Reply{Code: 250, Enhanced: "0.0", Text: "ok"}

// Hello remembers whether the caller speaks ESMTP, for the trace header.
func (s *Session) Hello(_ context.Context, _ string, extended bool) mail.Reply {
	s.extended = extended
	return ok
}

// Mail opens a transaction.
func (s *Session) Mail(ctx context.Context, m wire.MailArgs) mail.Reply {
	if r := s.mayMail(m); !r.Positive() {
		return s.refused(ctx, "MAIL", m.From.String(), r)
	}
	s.tx = &transaction{from: m, seen: map[mail.Address]bool{}}
	return mail.Reply{Code: 250, Enhanced: "1.0", Text: "<" + m.From.String() + "> sender ok"}
}

func (s *Session) mayMail(m wire.MailArgs) mail.Reply {
	l := s.policy.Limits
	switch {
	case s.policy.SignIn.Required && s.caller.Account() == "":
		return mail.Reply{Code: 530, Enhanced: "7.0", Text: "sign in first"}
	case l.Messages > 0 && s.taken >= l.Messages:
		return mail.Reply{Code: 421, Enhanced: "3.2", Text: "this connection has had its messages; open another"}
	case l.Size > 0 && m.Size > l.Size:
		return tooBig
	case l.Session > 0 && s.octets >= l.Session:
		return sessionFull
	case l.Session > 0 && s.octets > 0 && m.Size > l.Session-s.octets:
		return sessionFull
	case l.Session > 0 && m.Size > l.Session:
		return tooBig // no session has room for it
	}
	return ok
}

var (
	// RFC 1870 §6.
	tooBig = mail.Reply{Code: 552, Enhanced: "3.4", Text: "the message is larger than we take"}

	// Another session has room: the sender is to try again, not to give up.
	sessionFull = mail.Reply{Code: 421, Enhanced: "3.2", Text: "this session has had its octets; open another"}
)

// Rcpt adds a recipient, if mail to it is taken from this caller.
func (s *Session) Rcpt(ctx context.Context, r wire.RcptArgs) mail.Reply {
	to := s.policy.complete(r.To)
	if reply := s.mayRcpt(to); !reply.Positive() {
		return s.refused(ctx, "RCPT", to.String(), reply)
	}
	if !s.tx.seen[to] { // named twice, it still gets one copy
		s.tx.seen[to] = true
		s.tx.to = append(s.tx.to, mail.Recipient{Address: to, Notify: r.Notify, ORcpt: r.ORcpt})
	}
	return mail.Reply{Code: 250, Enhanced: "1.5", Text: "<" + to.String() + "> recipient ok"}
}

func (s *Session) mayRcpt(to mail.Address) mail.Reply {
	switch {
	case s.tx == nil:
		return mail.Reply{Code: 503, Enhanced: "5.1", Text: "MAIL first"}
	case to.Domain == "" || to.Local == "":
		return mail.Reply{Code: 550, Enhanced: "1.3", Text: "<" + to.Local + "> is no address"}
	case !s.policy.Judge(to.Domain, s.remote, s.caller.Account()).Taken():
		// Temporary troubles do not come here: this caller may not, and that is all.
		return mail.Reply{Code: 550, Enhanced: "7.1", Text: "Unable to relay for <" + to.String() + ">"}
	case s.policy.Limits.Recipients > 0 && len(s.tx.to) >= s.policy.Limits.Recipients && !s.tx.seen[to]:
		// RFC 5321 §4.5.3.1.10: the sender opens another transaction for the rest.
		return mail.Reply{Code: 452, Enhanced: "5.3", Text: "too many recipients for one message"}
	}
	return ok
}

// Reset drops the transaction.
func (s *Session) Reset() { s.tx = nil }

// Close drops it for good.
func (s *Session) Close() { s.tx = nil }

// Etrn answers ETRN.
func (s *Session) Etrn(ctx context.Context, node string) mail.Reply {
	r := s.deps.Releases.Etrn(ctx, s.who(), node)
	if !r.Positive() {
		return s.refused(ctx, "ETRN", node, r)
	}
	return r
}

// Turn answers TURN and ATRN.
func (s *Session) Turn(ctx context.Context, atrn bool, domains []mail.Domain) (mail.Reply, wire.Handover) {
	verb := "TURN"
	if atrn {
		verb = "ATRN"
	}
	r, hand := s.deps.Releases.Turn(ctx, s.who(), atrn, domains)
	if !r.Positive() {
		s.refused(ctx, verb, s.caller.Account(), r)
	}
	return r, hand
}

func (s *Session) who() Who {
	_, secure := s.caller.TLS()
	return Who{Account: s.caller.Account(), Remote: s.remote, TLS: secure}
}

// refused is r, after it was written down.
func (s *Session) refused(ctx context.Context, verb, what string, r mail.Reply) mail.Reply {
	s.deps.Journal.Refused(ctx, s.remote, verb, what, r)
	return r
}

func now() time.Time { return time.Now() }
