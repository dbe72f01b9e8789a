// SPDX-License-Identifier: Apache-2.0

// Package mail has the types that all packages of the engine share:
// addresses, domains, envelopes, replies and outcomes. It does nothing with
// them: it reads no socket, no disk and no clock but to make a MessageID.
package mail

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
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
	Session  SessionID   `json:"session,omitempty"` // that it came by, or of a report that the message came by that it is about; "": none

	RequireTLS bool      `json:"require_tls,omitempty"` // RFC 8689: it goes over verified TLS only, to hosts that pass that on
	Priority   int8      `json:"priority,omitempty"`    // RFC 6710: -9 to 9
	HoldUntil  time.Time `json:"hold_until,omitzero"`   // RFC 4865: it is not sent before
	Quarantine string    `json:"quarantine,omitempty"`  // why it is frozen from the beginning; "": it is not

	UTF8       bool `json:"utf8,omitempty"`        // RFC 6531: SMTPUTF8 was given, or an address of ours needs it
	UTF8Header bool `json:"utf8_header,omitempty"` // with UTF8: a header in the message has characters beyond ASCII
	Binary     bool `json:"binary,omitempty"`      // RFC 3030: BODY=BINARYMIME was declared

	By Deadline `json:"by,omitzero"`

	// Top is what a message is stored with on top of its text, such as signatures, which are
	// known when the text has come whole. It is a part of the text from then on, and of no
	// envelope that is read.
	Top string `json:"-"`

	HeaderID string `json:"-"` // the Message-ID of its header, without brackets; known when it is accepted, and not stored
}

// A Deadline is the time by which a sender wants its message delivered (RFC 2852). The
// zero Deadline is none.
type Deadline struct {
	At     time.Time `json:"at"`
	Return bool      `json:"return,omitempty"` // mode R: it is returned then; otherwise, mode N, its sender is told
	Trace  bool      `json:"trace,omitempty"`  // its sender is told of each relay
	Over   bool      `json:"over,omitempty"`   // mode N: the time was over when it came, and another host has told the sender
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
	Failure  Reply       // why it failed, of mail in Badmail
	Keep     bool        // a permanent refusal that comes before the message is sent does not end it
	Open     func() (io.ReadSeekCloser, error)
}

// Status says what an attempt did for one recipient.
type Status int

const (
	Deferred  Status = iota // try again later
	Delivered               // the next hop took responsibility
	Failed                  // it can never be delivered; the sender is told
	Waiting                 // no attempt was made
)

func (s Status) String() string {
	return [...]string{"deferred", "delivered", "failed", "waiting"}[s]
}

// An Outcome is what one attempt came to for one recipient.
type Outcome struct {
	To     Address
	Status Status
	Reply  Reply  // the peer's, or ours where no peer answered
	Host   string // the peer that said so, or "" where none was reached
	Via    Via    // the conversation in which it said so
	NoDSN  bool   // Delivered to a host that sends no reports (RFC 3461 §5.2.2)
	NoBy   bool   // Delivered to a host that does not offer DELIVERBY
}

// A Via is a conversation in which mail is handed over. The zero Via is none.
type Via struct {
	Addr netip.Addr // of the peer
	TLS  string     // such as "TLS 1.3", or "none"
	Rule string     // what demanded it of the host by its owner's wish: "dane" or "sts"; "": nothing
	By   string     // the verb and the account of the caller that has asked for its mail; "": we have called
}

// OutcomeOf reads the outcome for to off the reply of host, by its class and its
// place: 552 to RCPT is temporary (RFC 5321 §4.5.3.1.10).
func OutcomeOf(to Address, r Reply, host string) Outcome {
	o := Outcome{To: to, Reply: r, Host: host, Status: Failed}
	switch {
	case r.Positive():
		o.Status = Delivered
	case r.Temporary(), r.Code == 552 && r.Phase == "RCPT":
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
	Verify, Help              bool
	Limits                    bool // RFC 9422
	RequireTLS                bool // RFC 8689
	Priority                  bool // RFC 6710
	UTF8                      bool // RFC 6531, with EightBit
	Binary                    bool // RFC 3030: BINARYMIME, with Chunking and EightBit
	DeliverBy                 bool // RFC 2852
	Recipients                bool // XRECIPIENTS is listed; it is answered in any case
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

// A MessageID names one message in the queue: 20 characters of 0-9 and a-v,
// unique on this machine, and in the order of arrival when sorted as text.
type MessageID string

const idAlphabet = "0123456789abcdefghijklmnopqrstuv"

// NewMessageID makes an ID for a message that arrived at now. Two calls never
// give the same one: 52 bits of microseconds, fine enough to tell the messages
// of one caller apart, are followed by 48 random ones.
func NewMessageID(now time.Time) MessageID {
	var raw [8]byte
	if _, err := rand.Read(raw[:]); err != nil {
		panic("mail: no randomness: " + err.Error()) // crypto/rand does not return errors since Go 1.24
	}
	micros := uint64(now.UnixMicro()) & (1<<52 - 1)
	hi := micros >> 2                                              // 50 bits
	lo := micros&3<<48 | binary.BigEndian.Uint64(raw[:])&(1<<48-1) // 50 bits
	var out [20]byte
	for i := 9; i >= 0; i-- {
		out[i], hi = idAlphabet[hi&31], hi>>5
		out[10+i], lo = idAlphabet[lo&31], lo>>5
	}
	return MessageID(out[:])
}

// Time is when the message arrived, by its ID.
func (id MessageID) Time() time.Time {
	var micros int64
	for _, c := range []byte(id[:min(len(id), 11)]) {
		micros = micros<<5 | int64(strings.IndexByte(idAlphabet, c))
	}
	return time.UnixMicro(micros >> 3)
}

// A SessionID names the session of one caller in every line and answer about it,
// and about the messages that it brought: 12 characters of 0-9 and a-v, unique on
// this machine, and in the order of arrival when sorted as text.
type SessionID string

var lastSession atomic.Uint64

// NewSessionID makes an ID for a session that begins at now. Two calls never give
// the same one: 52 bits of microseconds are followed by 8 that tell those of one
// microsecond apart.
func NewSessionID(now time.Time) SessionID {
	n := uint64(now.UnixMicro()) & (1<<52 - 1) << 8
	for {
		last := lastSession.Load()
		if n = max(n, last+1); lastSession.CompareAndSwap(last, n) {
			break
		}
	}
	var out [12]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i], n = idAlphabet[n&31], n>>5
	}
	return SessionID(out[:])
}

// ParseMessageID checks that s has the form of an ID.
func ParseMessageID(s string) (MessageID, error) {
	if len(s) != 20 {
		return "", fmt.Errorf("message id %q: must have 20 characters", s)
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return "", fmt.Errorf("message id %q: only 0-9 and a-v", s)
		}
	}
	return MessageID(s), nil
}

// ErrLost is found in an error about a message that can never be read again:
// it is damaged, or not where it was stored.
var ErrLost = errors.New("the message is lost")

// ErrTakenOver is the cause of the end of an attempt: the owner of the mail has
// called for it, and takes it over before the next message.
var ErrTakenOver = errors.New("the owner of the mail takes it over")

// ErrCalledAgain is the cause of the end of a release by TURN or ATRN: its account has
// called again.
var ErrCalledAgain = errors.New("the account has called again")

// A Stopping is the cause of the end of attempts and sessions by a stop. The message
// in hand has its time until Cut is closed.
type Stopping struct{ Cut <-chan struct{} }

func (*Stopping) Error() string { return "the service stops" }

// A Reply is what one end of a conversation answers the other. Its class is
// read off the code.
type Reply struct {
	Code     int    // RFC 5321 §4.2
	Enhanced string // RFC 3463, without the class digit: "7.1"; "" for none
	Text     string // for the peer; says nothing of our files or settings; lines are parted by \n
	Cause    error  // for the log and the administrator; never sent
	Peer     bool   // the other end said it
	Phase    string // of the conversation with another host in which it came: "" or one of those below
}

// The phases of a conversation with another host that are no verb; the others have
// the name of their verb.
const (
	AtConnect  = "connect"
	AtGreeting = "greeting"
	AtTLS      = "TLS"
	AtBody     = "body"
	AfterDot   = "after the dot"
)

// InDoubt says that the other host had the whole message and that its answer did not
// come: it may have taken it.
func (r Reply) InDoubt() bool { return r.Phase == AfterDot && !r.Peer }

// Positive says that the code is 2xx.
func (r Reply) Positive() bool { return r.Code/100 == 2 }

// Temporary says that the code is 4xx.
func (r Reply) Temporary() bool { return r.Code/100 == 4 }

// Permanent says that the code is 5xx.
func (r Reply) Permanent() bool { return r.Code/100 == 5 }

// Status is the enhanced status code with its class, such as "5.7.1"; where
// the reply has none, the class with ".0.0" (RFC 3463 §2).
func (r Reply) Status() string {
	class := strconv.Itoa(r.Code / 100)
	if r.Enhanced == "" {
		return class + ".0.0"
	}
	return class + "." + r.Enhanced
}

// String is the reply on one line as it would stand on the wire.
func (r Reply) String() string {
	text := strings.ReplaceAll(r.Text, "\n", " / ")
	if r.Enhanced == "" {
		return strings.TrimSpace(fmt.Sprintf("%d %s", r.Code, text))
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", r.Code, r.Status(), text))
}

// Error lets a Reply travel as an error between a client and its caller. The
// cause is part of it, for the log.
func (r Reply) Error() string {
	if r.Cause != nil {
		return r.String() + ": " + r.Cause.Error()
	}
	return r.String()
}

// Unwrap gives the cause, or nil.
func (r Reply) Unwrap() error { return r.Cause }

// A Masquerade gives senders of local domains another domain towards other hosts. The
// zero Masquerade does nothing.
type Masquerade struct {
	Domain Domain
	Local  func(Domain) bool
}

// Sender is the envelope's sender as other hosts are told it.
func (m Masquerade) Sender(a Address) Address {
	if m.Domain != "" && !a.IsNull() && m.Local(a.Domain) {
		a.Domain = m.Domain
	}
	return a
}
