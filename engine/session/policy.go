// SPDX-License-Identifier: Apache-2.0

package session

import (
	"net/netip"
	"slices"
	"strings"

	"restante/engine/account"
	"restante/engine/mail"
)

// A Policy is what one caller lives under. It is shared by all callers that
// came under the same settings, and never changed.
type Policy struct {
	Hostname   string                // our name, in trace headers
	Default    mail.Domain           // completes <postmaster> (RFC 5321 §4.5.1)
	MayConnect func(netip.Addr) bool // nil: everybody
	RequireTLS bool                  // before all commands but EHLO, STARTTLS, NOOP and QUIT
	Domains    Domains
	Limits     Limits
	SignIn     SignIn
}

// Domains says how we stand to a domain.
type Domains interface {
	Standing(d mail.Domain) mail.Standing

	// Relay gives the callers that may send to a foreign domain.
	Relay(d mail.Domain) Relay
}

// Relay names the callers that may send to a foreign domain.
type Relay struct {
	Nets     []netip.Prefix
	SignedIn bool // also a caller that has signed in
}

func (r Relay) contains(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	return slices.ContainsFunc(r.Nets, func(n netip.Prefix) bool { return n.Contains(client) })
}

// Limits bound what callers bring; 0 is no limit.
type Limits struct {
	Connections int   // at once
	Size        int64 // octets of one message
	Session     int64 // octets of all messages of one connection
	Recipients  int   // of one message
	Hops        int   // Received fields of a message, before it is taken for one that runs in circles
}

// SignIn gives the accounts and the mechanisms of AUTH.
type SignIn struct {
	Lookup   account.Lookup
	Plain    bool        // PLAIN and LOGIN, over TLS or from this machine
	Clear    bool        // these also otherwise
	Scram    bool        // SCRAM-SHA-256
	Cram     func() bool // some account can use CRAM-MD5; nil: none
	Required bool        // no mail from a caller that has not signed in
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
