// SPDX-License-Identifier: Apache-2.0

// Package release answers the hosts that call for their mail: it decides who
// may have which domain's mail, and hands it over.
//
// ETRN (RFC 1985) starts delivery to the hosts that DNS names, for the callers
// that the domain's settings allow.
// TURN (RFC 821 §3.8) and ATRN (RFC 2645) hand over on the caller's own
// connection, after a sign-in, the domains of that account. A handover leases
// each destination, so that two callers never get the same message. The leases
// end with the session; what the peer did not confirm stays for the next call.
package release

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"restante/engine/delivery/transfer"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/release/calls"
	"restante/engine/release/link"
	"restante/engine/turnrules"
	"restante/engine/wire"
)

// ErrBusy means that another holder has the destination's lease.
var ErrBusy = errors.New("the destination is being served")

// A Queue has the mail that callers collect.
type Queue interface {
	// Waiting returns the destinations with mail: d itself and, with below,
	// those whose names end in "."+d.
	Waiting(d mail.Domain, below bool) ([]Waiting, error)

	// Lease leases the destination, of whose messages it hands out what limits takes,
	// nil for all. A delivery under way gives way at its next message, and an earlier
	// call of the same account at once; Lease waits for that until ctx ends. ErrBusy if
	// it is leased otherwise, or still.
	Lease(ctx context.Context, d mail.Domain, verb, account string, limits *link.Meter) (transfer.Lease, error)

	// Trigger makes the destination due once, even if it is held; ErrBusy if
	// it is leased. Unless its owner asks, its hosts may be somebody else's by
	// now: their refusals end no held mail.
	// What it comes to is noted with the call that asked.
	Trigger(d mail.Domain, owner bool, by calls.Call) error
}

// Waiting is a destination that has mail.
type Waiting struct {
	Domain   mail.Domain
	Messages int
}

// Rules say who may call for which domain. The key nearest to a name decides.
type Rules interface {
	// MayEtrn returns nil if the caller may start delivery to d, and otherwise
	// why not, for the log. Owner says that its account may also collect the
	// mail. A d that begins with "*." asks for the wildcard itself.
	MayEtrn(d mail.Domain, account string, client netip.Addr) (owner bool, err error)

	// MayCollect reports whether the account may take the mail of d.
	MayCollect(account string, d mail.Domain) bool

	// TurnDomains returns the domains whose mail account may collect. One that
	// begins with "*." stands for the names below it for which MayCollect holds.
	TurnDomains(account string) []mail.Domain
}

// A Policy has the site's settings at the time the caller connected.
type Policy struct {
	ETRN, TURN, ATRN bool          // verbs that are on; off answers 502
	RequireTLS       bool          // TURN and ATRN in TLS only
	RequireAuth      bool          // ETRN after a sign-in only
	Subdomains       bool          // ETRN @domain is taken
	Counts           bool          // tell signed-in callers the number of messages (251, 253); fetchmail stops at the first empty domain
	Interval         time.Duration // the least time between two calls for the same domain; 0: any
	Hello            string        // our name on a reversed connection
	Timeouts         wire.Timeouts // on a reversed connection
	Masquerade       mail.Masquerade
	Rules            Rules

	// Narrow says why a call that Rules permit is refused, for the log; nil: none is.
	Narrow func(turnrules.Call) error

	// Link is whose limits hold for the mail of d when account calls, "" for none; nil:
	// none hold. Patient are the Timeouts towards a host that may be silent for that time.
	Link    func(account string, d mail.Domain) link.Profile
	Patient func(silence time.Duration) wire.Timeouts

	// Without lists the extensions that are not used towards the host of a domain,
	// even if it offers them; nil: all are used.
	Without func(mail.Domain) []string
}

// refusal is the reply to a caller that may not use a verb at all, whatever the
// domain; without a code it may.
func (p Policy) refusal(verb string, c Caller) mail.Reply {
	on := map[string]bool{"ETRN": p.ETRN, "TURN": p.TURN, "ATRN": p.ATRN}[verb]
	isTurn := verb != "ETRN"
	switch {
	case !on:
		return disabled
	case isTurn && p.RequireTLS && c.TLS == "":
		return needTLS
	case (isTurn || p.RequireAuth) && c.Account == "":
		return needAuth
	}
	return mail.Reply{}
}

// A Caller is the host that calls.
type Caller struct {
	Session mail.SessionID
	Account string // signed in, or ""
	Remote  netip.Addr
	TLS     string       // such as "TLS 1.3"; "": none
	Lost    func() error // why it may take nothing more, asked before each message of a handover; nil: it may
}

// call is a call of c that begins now.
func (svc *Service) call(c Caller, verb string, d mail.Domain) calls.Call {
	return calls.Call{Domain: d, Begin: svc.opts.Now(), Verb: verb, Account: c.Account, Address: c.Remote, TLS: c.TLS != ""}
}

// called tells what became of a call that ends now.
func (svc *Service) called(c calls.Call, outcome string) {
	c.End = svc.opts.Now()
	if outcome != "" {
		c.Outcome = outcome
	}
	svc.opts.Called(c)
}

// narrowed says why the rules refuse a call of c for d; nil: they do not.
func (svc *Service) narrowed(p *Policy, verb string, c Caller, d mail.Domain) error {
	if p.Narrow == nil {
		return nil
	}
	return p.Narrow(turnrules.Call{Account: c.Account, Domain: string(d), Verb: verb, From: c.Remote, TLS: c.TLS != "", At: svc.opts.Now()})
}

// meter begins to measure a call under the limits of its link.
func (svc *Service) meter(ctx context.Context, p Policy, account string, d mail.Domain) (*link.Meter, link.Profile) {
	if p.Link == nil {
		return nil, link.Profile{}
	}
	one := p.Link(account, d)
	if one.Missing {
		svc.opts.Log.WarnContext(ctx, "LinkProfile names no key below Links: no limits hold", "link", one.Name, "account", account, "domain", d)
	}
	return link.NewMeter(one, svc.opts.Links, svc.opts.Now), one
}

// Outcomes of calls without a release.
const (
	nothingWaits = "nothing waits"
	busyNow      = "its mail is being handed over already"
)

// Options adjusts New. The zero value is the production setting.
type Options struct {
	Log     *slog.Logger     // diagnostics; nil: none
	Lines   func(wire.Line)  // is told of each command and reply of a handover; nil: nobody is
	Journal *journal.Journal // nil: none
	Now     func() time.Time // nil: time.Now
	Called  func(calls.Call) // is told what became of each call for a domain but those that Trigger notes; nil: nobody is
	Links   link.Day         // what links have used; nil: budgets of a day bound nothing
	Policy  func() *Policy   // that is in force, for handovers under way; nil: that of the call
}

type noDay struct{}

func (noDay) Used(string) link.Budget { return link.Budget{} }
func (noDay) Use(string, link.Budget) {}

// A Service serves the callers of one site's queue. Its methods may be called
// concurrently.
type Service struct {
	queue Queue
	opts  Options

	mu       sync.Mutex           // guards what follows
	lastCall map[string]time.Time // by verb and domain or account
	breaks   map[mail.Domain]transfer.Break
	stuck    map[string]bool // by account: see getsStuck
}

// New makes a Service. It starts nothing.
func New(q Queue, opts Options) *Service {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Called == nil {
		opts.Called = func(calls.Call) {}
	}
	if opts.Links == nil {
		opts.Links = noDay{}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Service{queue: q, opts: opts, lastCall: map[string]time.Time{}, breaks: map[mail.Domain]transfer.Break{}, stuck: map[string]bool{}}
}
