// SPDX-License-Identifier: Apache-2.0

// Package session decides what one caller may do: whether it may connect and
// sign in, to whom it may send, and how much. It takes messages in and answers
// each verb with a mail.Reply.
//
// A message is answered 250 only after the intake has it on stable storage.
// Every acceptance is decided in [Policy.Decide].
//
// The package knows neither sockets nor where settings come from. Names and
// limits are those of the [Policy] at the greeting; rights are those of the
// Policy in force at each verb, and before each message of a release.
package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-sasl"

	"restante/engine/account"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/wire"
	"restante/engine/wire/params"
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
	Reader() io.Reader // of what was written, until the next Write, Accept or Abort

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
	Recipients(ctx context.Context, who Who, arg string) mail.Reply
}

// Who is the caller as far as a release asks.
type Who struct {
	Session mail.SessionID
	Account string // that signed in, or ""
	Remote  netip.Addr
	TLS     string       // such as "TLS 1.3"; "": none
	Lost    func() error // why it may take nothing more; nil: it may
}

// Deps is what a session works with; all but Current, Journal and Log are
// required.
type Deps struct {
	Current  func() *Policy // that is in force; nil: always that of the greeting
	Host     *Host          // the caller's names
	Site     int            // the site's number
	ID       mail.SessionID // of the session; "" for a submission
	Intake   Intake
	Releases Releases
	Local    netip.AddrPort // our end of the connection, and
	Remote   netip.AddrPort // the caller's; for a Filter
	Auth     *account.Authenticator
	Rates    *Rates // nil: nothing is counted

	CheckQuota func(d mail.Domain, size int64) error // for Question.CheckQuota; nil: it is not asked

	Trusted func() bool      // whether the proxies that told who the caller is may do so; nil: none did
	Journal *journal.Journal // nil: none
	Log     *slog.Logger     // diagnostics; nil: none
}

// A Session is one caller's. It implements wire.Session.
type Session struct {
	policy *Policy // the names and limits of the greeting, the rights in force
	under  *Policy // that the rights are from
	void   bool    // the sign-in is, under these
	deps   Deps
	caller Caller
	remote netip.Addr

	submitted bool // without a connection

	extended bool // greeted by EHLO
	tx       *transaction
	octets   int64 // of bodies that came
	failures int   // sign-ins refused
	refusals int   // recipients refused for good

	listed      string  // why a DNS blocklist has the caller
	listedUnder *Policy // that this was found out under

	refusedVerbs int // commands refused for good

	headerID string // of the message that was taken in last

	proof atomic.Pointer[proof] // of the sign-in
}

// A proof is by what a caller signed in.
type proof struct {
	scram     string // the verifier of an account kept here
	source    string // "", or what else vouched for the account
	mechanism string
}

// transaction is what MAIL and RCPT said.
type transaction struct {
	under *Policy // that its recipients were accepted under
	from  params.Mail
	to    []mail.Recipient
	seen  map[mail.Address]bool

	relayed bool // a recipient was accepted because the caller may relay

	id     mail.MessageID // "": it has none yet
	filter Filter         // nil: none, or not yet
}

// New makes the session of one caller. The policy must not change any more.
func New(p *Policy, remote netip.Addr, caller Caller, deps Deps) *Session {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Session{policy: p, under: p, deps: deps, caller: caller, remote: remote.Unmap()}
}

var ok = mail.Reply{Code: 250, Enhanced: "0.0", Text: "OK"}

// Hello remembers whether the caller speaks ESMTP, for the trace header.
func (s *Session) Hello(_ context.Context, _ string, extended bool) mail.Reply {
	s.extended = extended
	return ok
}

// Permit refuses a caller that has lost its access or its sign-in, and with
// clear a verb that needs TLS first.
func (s *Session) Permit(ctx context.Context, verb string, clear bool) mail.Reply {
	last := AtVerb
	if clear {
		last = AtCommand
	}
	q := s.question()
	d := s.policy.Decide(ctx, AtVerb, last, q)
	if !d.Accepted() {
		return s.refused(ctx, verb, "", d.Reply)
	}
	return ok
}

// Refused writes down a refusal that wire made.
func (s *Session) Refused(ctx context.Context, verb, arg string, r mail.Reply) {
	s.deps.Journal.Refused(ctx, s.remote, s.known(), verb, arg, r)
}

// refresh puts the rights of the Policy in force into the session's.
func (s *Session) refresh() {
	if s.deps.Current == nil {
		return
	}
	now := s.deps.Current()
	if now == s.under {
		return
	}
	rights := *now
	rights.Hostname, rights.Default, rights.Limits = s.policy.Hostname, s.policy.Default, s.policy.Limits
	s.policy, s.under = &rights, now
	s.void = s.SignInVoid(now)
}

// SignInVoid reports whether the account that signed in is gone under p, or has
// another password. It may be called from anywhere.
func (s *Session) SignInVoid(p *Policy) bool {
	name, was := s.caller.Account(), s.proof.Load()
	if name == "" || was == nil {
		return false
	}
	if was.source != "" {
		return !p.SignIn.vouches(was.source, name)
	}
	is, ok := p.SignIn.Lookup(name)
	return !ok || is.Scram != was.scram
}

// lost says why the caller may take nothing more of a release, or nil.
func (s *Session) lost() error {
	q := s.question()
	if d := s.policy.refuse(AtVerb, AtVerb, q); d.Rule != 0 {
		return d.Reply
	}
	return nil
}

// question is what decides about this caller now, under the rights in force.
func (s *Session) question() Question {
	s.refresh()
	_, secure := s.caller.TLS()
	name := s.caller.Account()
	return Question{
		Client: s.remote, Host: s.deps.Host, Account: name, Void: s.void && name != "", TLS: secure, Octets: s.octets,
		Submitted: s.submitted, Untrusted: s.deps.Trusted != nil && !s.deps.Trusted(),
	}
}

// Mail opens a transaction.
func (s *Session) Mail(ctx context.Context, m params.Mail) mail.Reply {
	q := s.question()
	q.Size, q.Exceeds = m.Size, s.rate(MessageRate)
	if d := s.policy.Decide(ctx, AtVerb, AtMail, q); !d.Accepted() {
		return s.refused(ctx, "MAIL", m.From.String(), d.Reply)
	}
	if m.From = m.From.In(s.policy.Default); m.From.NoDomain() {
		return s.refused(ctx, "MAIL", m.From.String(), mail.Reply{Code: 553, Enhanced: "1.8", Text: "Sender address has no domain"})
	}
	reply := mail.Reply{Code: 250, Enhanced: "1.0", Text: "<" + m.From.String() + "> Sender OK"}
	if !s.policy.submits(q) {
		if !m.HoldUntil.IsZero() {
			return s.refused(ctx, "MAIL", m.From.String(), mail.Reply{Code: 550, Enhanced: "7.1", Text: "HOLDFOR and HOLDUNTIL are for those who may relay"})
		}
		if m.Priority > 0 { // RFC 6710 §4.1
			m.Priority = 0
			reply = mail.Reply{Code: 250, Enhanced: "3.6", Text: "Sender OK, priority changed to 0"}
		}
	}
	s.tx = &transaction{under: s.under, from: m, seen: map[mail.Address]bool{}}
	return reply
}

// Rcpt adds a recipient, if mail to it is accepted from this caller.
func (s *Session) Rcpt(ctx context.Context, r params.Rcpt) mail.Reply {
	to := r.To.In(s.policy.Default)
	if s.tx == nil {
		return s.refused(ctx, "RCPT", to.String(), mail.Reply{Code: 503, Enhanced: "5.1", Text: "Need MAIL command"})
	}
	q := s.question()
	q.Size, q.To, q.Blocklist = s.tx.from.Size, to, s.blocklist(ctx)
	if ask := s.policy.Greylist; ask != nil {
		q.Greylist = func() time.Duration { return ask(s.remote, s.tx.from.From, to, true) }
	}
	if !s.tx.seen[to] {
		q.Recipients = len(s.tx.to)
	}
	q.CheckQuota = s.deps.CheckQuota
	q.Exceeds = s.rate(RecipientRate)
	d := s.policy.Decide(ctx, AtVerb, AtRcpt, q)
	if !d.Accepted() {
		return s.refused(ctx, "RCPT", to.String(), s.countRefusal(d))
	}
	rcpt := mail.Recipient{Address: to, Notify: r.Notify, ORcpt: r.ORcpt}
	if f := s.openFilter(); f != nil && !s.tx.seen[to] {
		if bad := f.Recipient(ctx, rcpt); bad.Code != 0 {
			return s.refused(ctx, "RCPT", to.String(), s.countRefusal(Decision{Reply: s.policy.soften(to.Domain, bad)}))
		}
	}
	if !s.tx.seen[to] { // named twice, it still gets one copy
		s.tx.seen[to] = true
		s.tx.relayed = s.tx.relayed || d.Rule == RelayClient || d.Rule == RelayAccount
		s.tx.to = append(s.tx.to, rcpt)
	}
	return d.Reply
}

// blocklist asks the DNS blocklists about the caller, once under each policy.
func (s *Session) blocklist(ctx context.Context) func() string {
	ask := s.policy.Blocklist
	if ask == nil {
		return nil
	}
	return func() string {
		if s.listedUnder != s.under {
			s.listed, s.listedUnder = ask(ctx, s.remote), s.under
		}
		return s.listed
	}
}

// countRefusal makes the refusal of a recipient one that ends the connection, if
// it is one too many: nobody finds out by guessing to whom we relay.
func (s *Session) countRefusal(d Decision) mail.Reply {
	limit, r := s.policy.Limits.Refused, d.Reply
	if r.Temporary() && d.Rule != UnknownRecipient || limit == 0 {
		return r
	}
	if s.refusals++; s.refusals <= limit {
		return r
	}
	return mail.Reply{
		Code: 421, Enhanced: "7.0", Text: "Too many refused recipients, closing connection",
		Cause: fmt.Errorf("MaxRefusedRecipients is %d: %s", limit, r),
	}
}

// Reset drops the transaction.
func (s *Session) Reset() {
	s.endFilter()
	s.tx = nil
}

// Close drops it for good, and ends the session's journal.
func (s *Session) Close() {
	s.Reset()
	s.deps.Journal.End(context.Background(), s.remote)
}

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

// Recipients answers XRECIPIENTS.
func (s *Session) Recipients(ctx context.Context, arg string) mail.Reply {
	r := s.deps.Releases.Recipients(ctx, s.who(), arg)
	if !r.Positive() {
		return s.refused(ctx, "XRECIPIENTS", arg[:min(len(arg), 255)], r)
	}
	return r
}

func (s *Session) who() Who {
	who := Who{Session: s.deps.ID, Account: s.caller.Account(), Remote: s.remote, Lost: s.lost}
	if state, secure := s.caller.TLS(); secure {
		who.TLS = tls.VersionName(state.Version)
	}
	return who
}

// What is refused for good in one session beyond freeRefusals is answered later, so that
// callers that are refused leave the machine to the others.
const (
	freeRefusals = 10
	refusalDelay = 100 * time.Millisecond
)

// known is what the transaction says of the message so far.
func (s *Session) known() (env mail.Envelope) {
	if s.tx != nil {
		env.From, env.To = s.tx.from.From, s.tx.to
	}
	return env
}

// refused is r, after it was written down.
func (s *Session) refused(ctx context.Context, verb, what string, r mail.Reply) mail.Reply {
	s.deps.Journal.Refused(ctx, s.remote, s.known(), verb, what, r)
	if r.Temporary() {
		return r
	}
	if s.refusedVerbs++; s.refusedVerbs > freeRefusals {
		select {
		case <-time.After(refusalDelay):
		case <-ctx.Done():
		}
	}
	return r
}

// maxFailures is how many refused sign-ins a connection outlives. RFC 4954 §4
// asks for three at least.
const maxFailures = 3

// Mechanisms lists what AUTH offers this caller now.
func (s *Session) Mechanisms() []string {
	s.refresh()
	_, secure := s.caller.TLS()
	in := &s.policy.SignIn
	return slices.DeleteFunc(in.mechanisms(secure, s.remote), func(m string) bool {
		if m != account.External {
			return false
		}
		_, err := s.verify(in.Certificates)
		return err != nil
	})
}

// Auth begins an exchange.
func (s *Session) Auth(ctx context.Context, mechanism string) (sasl.Server, error) {
	mechanism = strings.ToUpper(mechanism)
	s.refresh()
	_, secure := s.caller.TLS()
	if !slices.Contains(s.policy.SignIn.mechanisms(secure, s.remote), mechanism) {
		return nil, s.refused(ctx, "AUTH", wire.KnownMechanism(mechanism), s.policy.noMechanism(mechanism, secure, s.remote))
	}
	x := &exchange{ctx: ctx, session: s, mechanism: mechanism}
	switch mechanism {
	case account.External:
		x.Server = x.external()
		return x, nil
	case account.OAuthBearer, account.XOAuth2:
		x.Server = x.bearer()
		return x, nil
	}
	server, err := s.deps.Auth.Server(mechanism, x.lookup, x.signedIn)
	if err != nil {
		return nil, mail.Reply{Code: 454, Enhanced: "7.0", Text: "Temporary authentication failure", Cause: err}
	}
	x.Server = server
	return x, nil
}

// Vouched signs in as an account for which a trusted proxy vouches; it is false where
// there is none of that name.
func (s *Session) Vouched(ctx context.Context, name string) bool {
	c, ok := s.policy.SignIn.Account(name)
	if ok {
		(&exchange{ctx: ctx, session: s, mechanism: "XCLIENT", proof: proof{scram: c.Scram}}).signedIn(c.Name)
	}
	return ok
}

// guesser is the address whose wrong passwords count, the zero Addr where it is
// exempt.
func (s *Session) guesser() netip.Addr {
	if s.policy.Exempt != nil && s.policy.Exempt(s.remote) {
		return netip.Addr{}
	}
	return s.remote
}

// An exchange counts what goes wrong and records how it ends. It lasts no
// longer than the command whose context it has.
type exchange struct {
	sasl.Server
	ctx       context.Context
	session   *Session
	mechanism string
	name      string    // of the account that is meant
	proof     proof     // that it would be
	refusal   error     // of another guess from this address
	begun     time.Time // when the guess was admitted
}

// lookup is the [account.Lookup] of the exchange.
func (x *exchange) lookup(name string) (account.Credential, bool) {
	s := x.session
	in := &s.policy.SignIn
	x.name, x.proof = in.account(name), proof{}
	none := account.Credential{Name: x.name}
	if x.refusal = s.deps.Auth.Admit(x.ctx, s.guesser(), x.name); x.refusal != nil {
		return none, false
	}
	x.begun = time.Now()
	c, ok := in.Lookup(x.name)
	switch {
	case ok:
		x.proof.scram = c.Scram
		return c, true
	case c.Name != "":
		none.Unusable = "the account has no password"
	case in.Directory != nil && in.Outside(x.name):
		none.Verify, none.Unusable = x.ask, "no such account here, and the directory's take PLAIN and LOGIN"
	}
	return none, false
}

// ask has the directory check a password. The account that it names must not be one
// that is kept here: the directory has no say over those.
func (x *exchange) ask(password string) (string, error) {
	in := &x.session.policy.SignIn
	name, err := x.session.deps.Auth.Ask(x.ctx, in.Directory, x.name, password)
	if err != nil {
		return "", err
	}
	if !in.Outside(name) {
		return "", &account.Refused{Name: x.name, Reason: fmt.Sprintf("the directory names the account %q, which is kept here or no name of an account", name)}
	}
	x.proof.source = in.Directory.ID()
	return name, nil
}

func (x *exchange) signedIn(name string) {
	s := x.session
	x.proof.mechanism = x.mechanism
	s.proof.Store(&x.proof)
	s.caller.SignIn(name)
	s.under = nil // it may be void already
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

// refusalTime is how long a wrong password takes at least where a directory is asked,
// so that the time does not tell an account that is kept here from another name.
const refusalTime = time.Second

func (x *exchange) hideTime() {
	if x.session.policy.SignIn.Directory == nil || x.begun.IsZero() {
		return
	}
	select {
	case <-time.After(refusalTime - time.Since(x.begun)):
	case <-x.ctx.Done():
	}
}

func (x *exchange) failed(err error) error {
	s := x.session
	s.failures++
	name, why, until := x.name, err, time.Time{}
	if refused := (*account.Refused)(nil); errors.As(err, &refused) {
		name, why = cmp.Or(x.name, refused.Name), errors.New(refused.Reason)
		if x.refusal != nil {
			err, why = x.refusal, x.refusal
		} else {
			x.hideTime()
			until = s.deps.Auth.Failed(s.guesser(), s.deps.Site, name)
		}
	}
	r := mail.Reply{Code: 535, Enhanced: "7.8", Text: "Authentication credentials invalid", Cause: err}
	if s.failures >= maxFailures {
		r = mail.Reply{Code: 421, Enhanced: "7.0", Text: "Too many authentication failures, closing connection", Cause: err}
	} else if own := (mail.Reply{}); errors.As(err, &own) {
		r = own
	}
	_, secure := s.caller.TLS()
	s.deps.Journal.SignInRefused(x.ctx, s.remote, name, x.mechanism, secure, r, why)
	if !until.IsZero() {
		s.deps.Journal.LockedOut(x.ctx, s.remote, name, x.mechanism, until)
	}
	return r
}
