// SPDX-License-Identifier: Apache-2.0

// Package settings is the stair between the tree and the mail: it reads what
// is set for a site off a snapshot, inheritance and defaults included, and
// gives it as typed values; and it says before a change is kept what would be
// wrong with a site or a domain after it.
//
// All of it is pure: a snapshot in, values out. Load reads the site and none of
// its domains: those are looked up one by one in the same snapshot when they
// are asked for, so that a hundred thousand of them cost nothing until then.
package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// A Site is what is set for one site at one revision. It never changes; its
// methods may be called from anywhere.
type Site struct {
	Number    int
	Name      string // for display
	Rev       metabase.Rev
	AutoStart bool // starts with the service
	Enabled   bool // false: SmtpServiceVersion is less than 2, and this is not the default site

	Domain   mail.Domain // the default domain, "" where none is set
	FQDN     string      // our name; the default domain's, or "localhost", where none is set
	Greeting string      // text after our name in the greeting; "" for the built-in one
	Bindings []Binding   // without two for the same address and port
	TLS      TLS
	Verbs    Verbs
	SignIn   SignIn
	Limits   Limits
	Relay    Relay
	Release  Release
	Out      Out
	Retry    Retry
	Folders  Folders
	Callers  []netip.Prefix // who may connect; empty: all

	snap    metabase.Snapshot
	domains metabase.Path                   // their container
	turns   func() map[string][]mail.Domain // by account in lower case
	cram    func() bool
}

// A Binding is an address to listen on. The unspecified IPv6 address stands
// for all of the machine's, IPv4 too.
type Binding struct {
	Addr netip.AddrPort
	ODMR bool // for ATRN alone, as on the port of RFC 2645
	TLS  bool // from the first octet
}

// TLS is what callers get. The files are as stored: relative ones begin at the
// data directory. Without CertFile there is no TLS.
type TLS struct {
	CertFile, KeyFile string
	Required          bool // nothing but EHLO, STARTTLS, NOOP and QUIT before it
}

// Verbs are what is offered to callers.
type Verbs struct {
	ETRN, TURN, ATRN          bool
	Chunking, EightBit, DSN   bool
	Pipelining, EnhancedCodes bool
}

// SignIn says how callers may sign in.
type SignIn struct {
	Basic     bool // PLAIN and LOGIN
	Challenge bool // SCRAM-SHA-256 and CRAM-MD5
	Clear     bool // PLAIN and LOGIN without TLS, from other machines too
	Required  bool // no mail without it
}

// Limits bound what one caller brings; 0 is no limit.
type Limits struct {
	Connections int
	MessageSize int64
	SessionSize int64 // of all messages of one connection
	Recipients  int   // of one message
	Errors      int   // bad commands
	Hops        int   // Received lines
	Idle        time.Duration
	BareLF      bool // messages with a bare CR or LF are taken
}

// Relay says who may send to anywhere.
type Relay struct {
	Nets    []netip.Prefix
	ForAuth bool // whoever has signed in
}

// Allows says whether a caller may relay; account is "" for who has not signed
// in.
func (r Relay) Allows(client netip.Addr, account string) bool {
	return r.ForAuth && account != "" || contains(r.Nets, client)
}

func contains(nets []netip.Prefix, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// Release says how hosts may call for their mail.
type Release struct {
	TurnTLS    bool          // TURN and ATRN over TLS only
	EtrnSignIn bool          // ETRN after a sign-in only
	Subdomains bool          // ETRN @domain is taken
	Counts     bool          // who has signed in is told how much waits
	Interval   time.Duration // the least time between two calls for the same domain; 0: any
}

// Out says how other hosts are called.
type Out struct {
	Port        uint16
	Timeout     time.Duration // without a word; 0: those of RFC 5321
	Connections int           // at one time; 0: no limit
	PerDomain   int           // of these, to one domain; 0: no limit
	Messages    int           // over one connection; 0: no limit
	DNS         []netip.AddrPort
	NoCA        bool // where TLS is asked for: any certificate will do
	NoCertName  bool // where TLS is asked for: the certificate may have another name
}

// Retry says when mail is tried again, and when that ends.
type Retry struct {
	Ladder      []time.Duration // waits before the first, second ... retry; the last one is repeated
	Delay       time.Duration   // after which the sender is told
	Expire      time.Duration   // after which the mail is given up
	LocalDelay  time.Duration
	LocalExpire time.Duration
}

// Folders are as stored: relative ones begin at the data directory.
type Folders struct{ Queue, Drop, Pickup, Badmail string }

// SiteName is what a site is called for display: by its number where it has no
// name of its own. The schema's default would call all of them the same.
func SiteName(snap metabase.Snapshot, n int) string {
	if item, ok := snap.Stored(SitePath(n), ServerComment); ok && item.Value.Str() != "" {
		return item.Value.Str()
	}
	return fmt.Sprintf("site %d", n)
}

// Numbers lists the sites there are, in order.
func Numbers(snap metabase.Snapshot) (numbers []int) {
	for name := range snap.Children(Service) {
		if n, err := strconv.Atoi(name); err == nil && strings.EqualFold(snap.Class(Service.Join(name)), schema.Server) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// Load reads what is set for site n. The error joins every problem, each with
// its path and property; it is of kind [metabase.NotFound] where there is no
// such site.
func Load(snap metabase.Snapshot, n int) (*Site, error) {
	s, problems := load(snap, n)
	if len(problems) == 0 {
		return s, nil
	}
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return nil, errors.Join(errs...)
}

// MayConnect says whether a caller is let in at all.
func (s *Site) MayConnect(client netip.Addr) bool {
	return len(s.Callers) == 0 || contains(s.Callers, client)
}

// Account finds a credential by the account's name, in any case: the site's
// own first, then one of all sites. An account without a password is not
// found.
func (s *Site) Account(name string) (account.Credential, bool) {
	if !schema.IsAccountName(name) || strings.ContainsAny(name, `/\`) {
		return account.Credential{}, false
	}
	for _, path := range []metabase.Path{UserPath(s.Number, name), UserPath(0, name)} {
		key, ok := s.snap.Key(path)
		if !ok {
			continue
		}
		scram, _ := s.snap.Stored(path, ScramVerifier)
		cram, _ := s.snap.Stored(path, CramSecret)
		c := account.Credential{Name: key.Path.Base(), Scram: scram.Value.Str(), Secret: account.Secret(cram.Value.Str())}
		return c, c.Scram != ""
	}
	return account.Credential{}, false
}

// HasCram says whether there is an account that can sign in by CRAM-MD5.
func (s *Site) HasCram() bool { return s.cram() }

func (s *Site) findCram() bool {
	for _, container := range []metabase.Path{UsersPath(s.Number), UsersPath(0)} {
		for name := range s.snap.Names(container) {
			if item, ok := s.snap.Stored(container.Join(name), CramSecret); ok && item.Value.Str() != "" {
				return true
			}
		}
	}
	return false
}

// lazily sets up what is worked out when it is first asked for.
func (s *Site) lazily() {
	s.turns = sync.OnceValue(s.findTurns)
	s.cram = sync.OnceValue(s.findCram)
}

// Retention says how much of the tree's history is to be kept.
func Retention(snap metabase.Snapshot) metabase.Retention {
	r := reader{snap: snap, schema: schema.IIS(), path: Computer}
	return metabase.Retention{
		Count: int(r.number(HistoryMaxRevisions)),
		Age:   time.Duration(r.number(HistoryMaxDays)) * 24 * time.Hour,
	}
}
