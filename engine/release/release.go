// SPDX-License-Identifier: Apache-2.0

// Package release answers the hosts that call for their mail: who may have
// which domain's, and the handing over.
//
// ETRN (RFC 1985) starts delivery to the hosts that DNS names, whoever asked.
// TURN (RFC 821 §3.8) and ATRN (RFC 2645) hand over on the caller's own
// connection, after a sign-in, the domains of that account. A handover leases
// each destination, so that two callers never get one message both; the leases
// end with the session, and what the peer did not confirm is there for the
// next call.
package release

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"restante/engine/delivery/transfer"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/wire"
)

// ErrBusy says that somebody else has the destination's lease.
var ErrBusy = errors.New("the destination is being served")

// A Queue has the mail that waits.
type Queue interface {
	// Waiting gives the destinations with mail: d itself or, with below, those
	// whose names end in "."+d as well.
	Waiting(d mail.Domain, below bool) ([]Waiting, error)

	// Lease takes the destination; ErrBusy when somebody has it.
	Lease(d mail.Domain, holder string) (transfer.Lease, error)

	// Trigger makes the destination due once, even though it is held; ErrBusy
	// when it is being delivered already.
	Trigger(d mail.Domain) error
}

// Waiting is a destination that has mail.
type Waiting struct {
	Domain   mail.Domain
	Messages int
}

// Rules say whose mail is held and who may call for it.
type Rules interface {
	// Hold gives what is said of d, by its own name or by a wildcard above it;
	// false when d is not a domain for which hosts may call. A d that begins
	// with "*." asks for the wildcard itself.
	Hold(d mail.Domain) (Hold, bool)

	// TurnDomains gives the domains whose mail account may have. One that
	// begins with "*." stands for all names below it.
	TurnDomains(account string) []mail.Domain
}

// Hold is what is said of one domain.
type Hold struct {
	Accounts []string // who may have the mail by TURN; where a site demands sign-in, also who may ETRN
	NoETRN   bool     // never by ETRN
}

// Policy is what a caller lives under: the site's settings as of when it came.
type Policy struct {
	ETRN, TURN, ATRN bool          // verbs that are on; off answers 502
	RequireTLS       bool          // TURN and ATRN in TLS only
	RequireAuth      bool          // ETRN after a sign-in only
	Subdomains       bool          // ETRN @domain is taken
	Counts           bool          // tell who has signed in how much waits (251, 253); stops fetchmail at the first empty domain
	Interval         time.Duration // the least time between two calls for the same; 0: any
	Hello            string        // our name on a reversed connection
	Timeouts         wire.Timeouts // on a reversed connection
	Rules            Rules
}

// A Caller is who asks.
type Caller struct {
	Account string // who has signed in, or ""
	Remote  netip.Addr
	TLS     bool
}

// Options adjusts New. The zero value is the production setting.
type Options struct {
	Log     *slog.Logger     // diagnostics; nil: none
	Journal *journal.Journal // nil: none
	Now     func() time.Time // nil: time.Now
}

// A Service serves the callers of one site's queue. Its methods may be called
// from anywhere.
type Service struct {
	queue Queue
	opts  Options

	mu       sync.Mutex           // guards what follows
	lastCall map[string]time.Time // when it was last called for
	breaks   map[mail.Domain]transfer.Break
}

// New makes a Service. It starts nothing.
func New(q Queue, opts Options) *Service {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Service{queue: q, opts: opts, lastCall: map[string]time.Time{}, breaks: map[mail.Domain]transfer.Break{}}
}
