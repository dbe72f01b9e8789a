// SPDX-License-Identifier: Apache-2.0

// Package mail has the types that all packages of the engine share:
// addresses, domains, envelopes, replies and outcomes. It does nothing with
// them: it reads no socket, no disk and no clock but to make a MessageID.
package mail

import (
	"io"
	"net/netip"
	"time"
)

// An Envelope is the part of a message that MAIL and RCPT give. The spool keeps
// it as accepted; the queue keeps the state of each recipient.
type Envelope struct {
	ID       MessageID   `json:"id"`
	From     Address     `json:"from"` // the null address for a report (DSN)
	To       []Recipient `json:"to"`
	Received time.Time   `json:"received"`
	Size     int64       `json:"size"`              // octets of the body as spooled, trace header included
	Body8Bit bool        `json:"body_8bit"`         // RFC 6152: BODY=8BITMIME was declared
	Ret      string      `json:"ret,omitempty"`     // RFC 3461 §4.3: FULL, HDRS or ""
	EnvID    string      `json:"env_id,omitempty"`  // RFC 3461 §4.4, as xtext
	Client   netip.Addr  `json:"client"`            // address of the sending client; invalid for our own reports
	Helo     string      `json:"helo,omitempty"`    // its name in EHLO or HELO
	Account  string      `json:"account,omitempty"` // its account, or ""
	TLS      bool        `json:"tls"`               // its session was encrypted
}

// A Recipient is one RCPT of an envelope.
type Recipient struct {
	Address Address `json:"address"`
	Notify  string  `json:"notify,omitempty"` // RFC 3461 §4.1, as given; "" is FAILURE
	ORcpt   string  `json:"orcpt,omitempty"`  // RFC 3461 §4.2, as xtext with its type
}

// An Item is a message that a lease hands out for delivery.
type Item struct {
	Env      Envelope    // as accepted, with all its recipients
	To       []Recipient // those of them to be delivered now
	Attempts int         // so far
	Open     func() (io.ReadSeekCloser, error)
}

// Status says what an attempt did for one recipient.
type Status int

const (
	Deferred  Status = iota // try again later
	Delivered               // the next hop took responsibility
	Failed                  // it can never be delivered; the sender is told
)

func (s Status) String() string {
	return [...]string{"deferred", "delivered", "failed"}[s]
}

// An Outcome is what one attempt came to for one recipient.
type Outcome struct {
	To     Address
	Status Status
	Reply  Reply  // the peer's, or ours where no peer answered
	Host   string // the peer that said so, or "" where none was reached
	NoDSN  bool   // Delivered to a host that sends no reports (RFC 3461 §5.2.2)
}

// OutcomeOf reads the outcome for to off the reply of host.
func OutcomeOf(to Address, r Reply, host string) Outcome {
	o := Outcome{To: to, Reply: r, Host: host, Status: Failed}
	switch {
	case r.Positive():
		o.Status = Delivered
	case r.Temporary():
		o.Status = Deferred
	}
	return o
}

// Verbs are the groups of verbs and extensions that a site offers its callers.
// One that is off is answered 502 5.5.1 and not listed in EHLO.
type Verbs struct {
	ETRN, TURN, ATRN          bool
	Chunking, EightBit, DSN   bool
	Pipelining, EnhancedCodes bool
}

// A Standing is what a domain is to a site.
type Standing int

// Mail to a foreign domain is accepted from permitted callers only, mail to the
// others from every caller.
const (
	Foreign Standing = iota
	Local            // the default domain, an alias of it, or one with a drop folder
	Held             // its mail waits for a call
	Relayed          // every caller may send to it
)

func (s Standing) String() string { return [...]string{"foreign", "local", "held", "relayed"}[s] }
