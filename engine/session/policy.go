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
	Relay    Relay
	SignIn   SignIn
}

// Domains says how we stand to a domain.
type Domains interface {
	Standing(d mail.Domain) Standing
}

// A DomainsFunc is Domains in one function.
type DomainsFunc func(d mail.Domain) Standing

// Standing calls f.
func (f DomainsFunc) Standing(d mail.Domain) Standing { return f(d) }

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

// Relay says who may send to anywhere.
type Relay struct {
	Listed  func(netip.Addr) bool // by address; nil: nobody
	ForAuth bool                  // whoever has signed in
}

// SignIn says who may sign in, and how.
type SignIn struct {
	Lookup   account.Lookup // nil: nobody can
	Clear    bool           // PLAIN and LOGIN also without TLS
	Cram     bool           // some account can use CRAM-MD5
	Required bool           // no mail from whoever has not
}

// A Verdict says why mail is taken or not.
type Verdict int

const (
	Nobody      Verdict = iota // a foreign domain, and a caller who may not relay
	IsLocal                    // the domain is ours
	IsHeld                     // the domain is held for its host
	IsRelayed                  // the domain's mail is passed on for everybody
	ListedHere                 // the caller's address is in the relay list
	HasSignedIn                // the caller has signed in, and such may relay
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
		"taken: the caller's address is in the relay list",
		"taken: the caller has signed in",
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
	switch {
	case p.Relay.Listed != nil && p.Relay.Listed(client.Unmap()):
		return ListedHere
	case p.Relay.ForAuth && who != "":
		return HasSignedIn
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
	if p.Lookup == nil {
		return nil
	}
	var m []string
	if secure || p.Clear || remote.IsLoopback() {
		m = append(m, account.Plain, account.Login)
	}
	if p.Cram {
		m = append(m, account.Cram)
	}
	return append(m, account.Scram)
}
