// SPDX-License-Identifier: Apache-2.0

// Package session decides what one caller may do: whether it may connect and
// sign in, to whom it may send, and how much. It takes messages in and answers
// each verb with a mail.Reply.
//
// A message is answered 250 only after the intake has it on stable storage.
// Every acceptance is decided in [Policy.Decide].
//
// The package knows neither sockets nor where settings come from: it lives
// under the [Policy] that it is given, from greeting to end.
package session

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

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
	Account string // that signed in, or ""
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

// A Session is one caller's. It implements wire.Session.
type Session struct {
	policy *Policy
	deps   Deps
	caller Caller
	remote netip.Addr

	extended bool // greeted by EHLO
	tx       *transaction
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

var ok = mail.Reply{Code: 250, Enhanced: "0.0", Text: "OK"}

// Hello remembers whether the caller speaks ESMTP, for the trace header.
func (s *Session) Hello(_ context.Context, _ string, extended bool) mail.Reply {
	s.extended = extended
	return ok
}

// Permit refuses a verb that needs TLS first.
func (s *Session) Permit(ctx context.Context, verb string) mail.Reply {
	d := s.policy.Decide(AtCommand, AtCommand, s.question())
	if !d.Accepted() {
		return s.refused(ctx, verb, "", d.Reply)
	}
	return ok
}

// Refused writes down a refusal that wire made.
func (s *Session) Refused(ctx context.Context, verb, arg string, r mail.Reply) {
	s.deps.Journal.Refused(ctx, s.remote, verb, arg, r)
}

// question is what decides about this caller now.
func (s *Session) question() Question {
	_, secure := s.caller.TLS()
	return Question{Client: s.remote, Account: s.caller.Account(), TLS: secure, Octets: s.octets}
}

// Mail opens a transaction.
func (s *Session) Mail(ctx context.Context, m wire.MailArgs) mail.Reply {
	q := s.question()
	q.Size = m.Size
	if d := s.policy.Decide(AtCommand, AtMail, q); !d.Accepted() {
		return s.refused(ctx, "MAIL", m.From.String(), d.Reply)
	}
	s.tx = &transaction{from: m, seen: map[mail.Address]bool{}}
	return mail.Reply{Code: 250, Enhanced: "1.0", Text: "<" + m.From.String() + "> Sender OK"}
}

// Rcpt adds a recipient, if mail to it is accepted from this caller.
func (s *Session) Rcpt(ctx context.Context, r wire.RcptArgs) mail.Reply {
	to := s.policy.complete(r.To)
	if s.tx == nil {
		return s.refused(ctx, "RCPT", to.String(), mail.Reply{Code: 503, Enhanced: "5.1", Text: "Need MAIL command"})
	}
	q := s.question()
	q.Size, q.To = s.tx.from.Size, to
	if !s.tx.seen[to] {
		q.Recipients = len(s.tx.to)
	}
	d := s.policy.Decide(AtCommand, AtRcpt, q)
	if !d.Accepted() {
		return s.refused(ctx, "RCPT", to.String(), d.Reply)
	}
	if !s.tx.seen[to] { // named twice, it still gets one copy
		s.tx.seen[to] = true
		s.tx.to = append(s.tx.to, mail.Recipient{Address: to, Notify: r.Notify, ORcpt: r.ORcpt})
	}
	return d.Reply
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

// maxFailures is how many refused sign-ins a connection outlives. RFC 4954 §4
// asks for three at least.
const maxFailures = 3

// Mechanisms lists what AUTH offers this caller now.
func (s *Session) Mechanisms() []string {
	_, secure := s.caller.TLS()
	return s.policy.SignIn.mechanisms(secure, s.remote)
}

// Auth begins an exchange.
func (s *Session) Auth(ctx context.Context, mechanism string) (sasl.Server, error) {
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(s.Mechanisms(), mechanism) {
		_, secure := s.caller.TLS()
		return nil, s.refused(ctx, "AUTH", mechanism, s.policy.noMechanism(mechanism, secure, s.remote))
	}
	x := &exchange{ctx: ctx, session: s, mechanism: mechanism}
	server, err := s.deps.Auth.Server(mechanism, s.policy.SignIn.Lookup, x.signedIn)
	if err != nil {
		return nil, mail.Reply{Code: 454, Enhanced: "7.0", Text: "Temporary authentication failure", Cause: err}
	}
	x.Server = server
	return x, nil
}

// An exchange counts what goes wrong and writes down how it ends. It lives no
// longer than the command whose context it has.
type exchange struct {
	sasl.Server
	ctx       context.Context
	session   *Session
	mechanism string
}

func (x *exchange) signedIn(name string) {
	s := x.session
	s.caller.SignIn(name)
	_, secure := s.caller.TLS()
	s.deps.Journal.SignedIn(x.ctx, s.remote, name, x.mechanism, secure)
}

// Next runs one step.
func (x *exchange) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := x.Server.Next(response)
	if err != nil {
		err = x.failed(err)
	}
	return challenge, done, err
}

func (x *exchange) failed(err error) error {
	s := x.session
	s.failures++
	name := ""
	if refused := (*account.Refused)(nil); errors.As(err, &refused) {
		name = refused.Name
	}
	_, secure := s.caller.TLS()
	s.deps.Journal.SignInRefused(x.ctx, s.remote, name, x.mechanism, secure)
	if s.failures >= maxFailures {
		return mail.Reply{Code: 421, Enhanced: "7.0", Text: "Too many authentication failures, closing connection", Cause: err}
	}
	if r := (mail.Reply{}); errors.As(err, &r) {
		return r
	}
	return mail.Reply{Code: 535, Enhanced: "7.8", Text: "Authentication credentials invalid", Cause: err}
}
