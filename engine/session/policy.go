// SPDX-License-Identifier: Apache-2.0

package session

import (
	"net/netip"
	"strings"

	"restante/engine/account"
	"restante/engine/mail"
)

// A Policy is what one caller lives under. It is shared by all callers that
// came under the same settings, and never changed.
type Policy struct {
	Hostname string      // our name, in trace headers
	Default  mail.Domain // completes <postmaster> (RFC 5321 §4.5.1)
	Domains  Domains
	Limits   Limits
	SignIn   SignIn
}

// Domains says how we stand to a domain.
type Domains interface {
	Standing(d mail.Domain) Standing

	// MayRelay says whether a client that has signed in as account, "" for
	// not, may send to d even if d is foreign.
	MayRelay(d mail.Domain, client netip.Addr, account string) bool
}

// A Standing is what a domain is to us.
type Standing int

// Foreign domains' mail is nobody's business but a permitted caller's; mail to
// all others is taken from anybody.
const (
	Foreign Standing = iota
	Local            // the default domain, an alias, one with a drop folder
	Held             // its host calls for its mail
	Relayed          // its mail is passed on for everybody
)

// Limits bound what one caller brings; 0 is no limit.
type Limits struct {
	Size       int64 // octets of one message
	Session    int64 // octets of all messages of one connection
	Recipients int   // of one message
	Messages   int   // of one connection
	Hops       int   // Received lines of a message, before it is taken for one that runs in circles
}

// SignIn says who may sign in, and how.
type SignIn struct {
	Lookup   account.Lookup
	Plain    bool        // PLAIN and LOGIN, over TLS or from this machine
	Clear    bool        // these also otherwise
	Scram    bool        // SCRAM-SHA-256
	Cram     func() bool // some account can use CRAM-MD5; nil: none
	Required bool        // no mail from whoever has not
}

// A Verdict says why mail is taken or not.
type Verdict int

const (
	Nobody    Verdict = iota // a foreign domain, and a caller who may not relay
	IsLocal                  // the domain is ours
	IsHeld                   // the domain is held for its host
	IsRelayed                // the domain's mail is passed on for everybody
	MayRelay                 // the caller may relay
)

// Taken says that the mail is.
func (v Verdict) Taken() bool { return v != Nobody }

// String says it in words.
func (v Verdict) String() string {
	return [...]string{
		"not taken: the domain is not ours and the caller may not relay",
		"taken: the domain is local",
		"taken: the domain is held for its host",
		"taken: the domain's mail is relayed for everybody",
		"taken: the caller may relay",
	}[v]
}

// Judge decides about mail to d from a client that has signed in as who, "" for
// not. It is the only place where this is decided.
func (p *Policy) Judge(d mail.Domain, client netip.Addr, who string) Verdict {
	switch p.Domains.Standing(d) {
	case Local:
		return IsLocal
	case Held:
		return IsHeld
	case Relayed:
		return IsRelayed
	}
	if p.Domains.MayRelay(d, client.Unmap(), who) {
		return MayRelay
	}
	return Nobody
}

// complete gives <postmaster> its domain; RFC 5321 §4.1.1.3 asks that it be
// taken in any case, and of no other name.
func (p *Policy) complete(a mail.Address) mail.Address {
	if a.Domain == "" && strings.EqualFold(a.Local, "postmaster") {
		a.Domain = p.Default
	}
	return a
}

// mechanisms lists what may be offered to a caller. A password does not travel
// in clear, but on a connection that does not leave the machine.
func (p *SignIn) mechanisms(secure bool, remote netip.Addr) []string {
	var m []string
	if p.Plain && (secure || p.Clear || remote.IsLoopback()) {
		m = append(m, account.Plain, account.Login)
	}
	if p.Cram != nil && p.Cram() {
		m = append(m, account.Cram)
	}
	if p.Scram {
		m = append(m, account.Scram)
	}
	return m
}
