// SPDX-License-Identifier: Apache-2.0

// Package wire speaks SMTP, both ends of it, and is the only importer of go-smtp.
//
// The server's end puts a filter between the socket and go-smtp. The filter
// reads the lines, checks syntax and sequence, and hands go-smtp one line at a
// time, for its callbacks; it answers itself what go-smtp has no hook for
// (TURN, ATRN, ETRN, STARTTLS, BDAT, AUTH), and writes every reply. A body goes
// from the filter straight to the [Session]. What is promised there:
//
//   - Each command has one reply, in order, and it is the one that the Session
//     gave. Replies are batched where RFC 2920 lets them be.
//   - A message ends at CRLF . CRLF and nowhere else. The Session gets it whole,
//     or an error. After a bare CR or LF nothing more is executed.
//   - Nothing that came in clear is used after STARTTLS.
//   - Each wait for a caller has a time limit, a body a least rate, and a
//     session without a message an end.
//
// The client's end opens a conversation through go-smtp's client and holds the
// transactions itself, pipelined where the peer can do that.
//
// The package listens nowhere, dials nowhere, and knows no setting and no
// domain: the Session decides what a caller may do.
package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/emersion/go-sasl"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// A Session decides for one caller. Wire calls it verb by verb, one at a time
// and in order, and has already checked syntax and sequence: Mail never comes
// before a greeting, Rcpt never without Mail. Each method answers with the Reply
// that wire sends.
type Session interface {
	Conversation
	Transaction
	Auth
	Release
}

// A Conversation frames what one caller does.
type Conversation interface {
	// Hello has the name by which the caller greets. A reply that is not
	// positive refuses the greeting.
	Hello(ctx context.Context, name string, extended bool) mail.Reply

	// Permit is asked before each verb but QUIT. Clear says that the connection
	// is, and the verb none of EHLO, NOOP and STARTTLS. A reply that is not
	// positive refuses the verb; 421 ends the connection.
	Permit(ctx context.Context, verb string, clear bool) mail.Reply

	// Refused tells of a refusal or failure that the Session has not answered
	// itself: wire's replies to syntax, sequence and time, and TLS handshakes
	// that failed. Verb is "" for a word that is no verb, arg never a credential.
	Refused(ctx context.Context, verb, arg string, r mail.Reply)

	// Close is the last call: the caller is gone. It comes once, after every
	// other call has returned; there is one Session for a connection, STARTTLS
	// or not.
	Close()
}

// A Transaction takes messages in.
type Transaction interface {
	// Mail opens a transaction.
	Mail(ctx context.Context, m params.Mail) mail.Reply

	// Rcpt adds a recipient to it.
	Rcpt(ctx context.Context, r params.Rcpt) mail.Reply

	// Data takes the message in. Body gives the message without dot-stuffing,
	// with CRLF line ends but where it is binary, and then io.EOF; any other error means that the
	// message did not come whole and must not be kept. What Data does not read
	// is drained by wire.
	Data(ctx context.Context, body io.Reader) mail.Reply

	// Reset drops the transaction, if there is one. It comes after RSET, a
	// further EHLO, a finished Data and STARTTLS, which also voids the greeting
	// and the sign-in: ask the Caller for those.
	Reset()
}

// Auth lets callers sign in.
type Auth interface {
	// Mechanisms lists what AUTH offers now; none means that AUTH is not
	// listed. It is asked at each EHLO and each AUTH.
	Mechanisms() []string

	// Auth begins an exchange, which wire runs. The Session calls
	// [Caller.SignIn] from within it when the credential is right; that holds once the exchange
	// ends with 235. An error that is a mail.Reply is answered as it is, any
	// other as 535 5.7.8.
	Auth(ctx context.Context, mechanism string) (sasl.Server, error)
}

// Release hands mail over to the host that calls.
type Release interface {
	// Etrn answers ETRN node at once and works later. RFC 1985.
	Etrn(ctx context.Context, node string) mail.Reply

	// Turn answers TURN (RFC 821 §3.8) or, with atrn, ATRN (RFC 2645); domains
	// is what ATRN named, in order, nil for none. With a nil Handover the
	// roles stay as they are. Otherwise wire sends the reply, and then runs
	// the Handover on the connection with roles reversed. It is asked only for
	// a caller that has signed in.
	Turn(ctx context.Context, atrn bool, domains []mail.Domain) (mail.Reply, Handover)

	// Recipients answers XRECIPIENTS with its argument as it came.
	Recipients(ctx context.Context, arg string) mail.Reply
}

// A Handover has the reversed connection to itself: the caller greets, we
// say EHLO. It is called exactly once, even if the reply could not be sent, so
// it may hold what must be given back; conn is closed after it returns. Its
// context ends when the server is closed or the caller disconnected.
type Handover func(ctx context.Context, conn net.Conn)

// A Caller is the other end of one accepted connection. Its methods may be
// called from anywhere while the connection is open.
type Caller struct {
	Remote  netip.AddrPort
	Local   netip.AddrPort
	Started time.Time

	disconnect func(mail.Reply) // nil in a Caller that wire did not make

	mu      sync.Mutex // guards what follows
	hello   string
	account string
	claimed string // signed in, but the exchange is not over
	signing bool
	tls     *tls.ConnectionState // nil in clear
}

// Config is the configuration of one connection from greeting to end.
type Config struct {
	Hostname    string      // our name, in the greeting and in EHLO
	Greeting    string      // text of the 220 after the name; "" for the built-in one
	TLS         *tls.Config // nil: no STARTTLS
	ImplicitTLS bool        // TLS from the first octet

	// ClientCAs has callers asked for a certificate and gives the authorities that are
	// named to them; nil: none is asked for. A caller without one, or with any other, is
	// served: what it proves is in [Caller.TLS] for the Session to verify.
	ClientCAs func() (*x509.CertPool, error)

	Verbs        mail.Verbs
	ODMR         bool // RFC 2645's port: only ATRN, and what leads to it
	Hello        HelloRules
	MaxSize      int64               // octets of one message, listed by SIZE; 0: no limit
	MaxRcpts     int                 // recipients of one message, listed by LIMITS; the Session counts them; 0: no limit
	MinBy        time.Duration       // the least time that DELIVERBY lists for its mode R; 0: any
	MaxHold      time.Duration       // for which FUTURERELEASE holds a message at most; 0: it is not offered
	AcceptBareLF bool                // take bare CR and LF as line ends; otherwise they are refused, and the connection ends
	Xclient      func() XclientCheck // is asked whether the caller may name another client now; nil: it never may
	Log          func(Exchange)      // is told of each reply but the greeting and 3xx, and of each command that the caller broke off; nil: nobody is
	IdleTimeout  time.Duration       // for each command line, and for each read of a body; 0: 5 minutes
	Waits        Waits               // in place of IdleTimeout
	Limits       Limits
}

// HelloRules say what a greeting needs. By the zero HelloRules it comes before MAIL, and
// has any name or none.
type HelloRules struct {
	Name     bool // it has a name,
	Valid    bool // and if it has one, that is a domain or an address literal
	Optional bool // MAIL may come without it
}

// Waits are for a caller that has said a verb: for the next line, and each read of a
// body. The verb is Connect for one that has said none, and WithinAuth for one that signs in.
type Waits map[string]Wait

// The waits that begin without a verb.
const (
	Connect    = "connect"
	WithinAuth = "within AUTH"
)

// A Wait is how long a caller may be silent, and the property that an administrator
// sets it by.
type Wait struct {
	Time     time.Duration
	Property string
}

// wait is the time that a caller has after verb.
func (c *Config) wait(verb string) Wait {
	if w, ok := c.Waits[verb]; ok {
		return w
	}
	return Wait{c.IdleTimeout, "ConnectionTimeout"}
}

// Limits bound what a caller may do without bringing a message; 0 is no limit.
// Where one ends a connection, the cause of the 421 has the name of the property
// that an administrator sets it by.
type Limits struct {
	Errors   int           // bad commands (MaxSmtpErrors)
	Junk     int           // commands that lead to no message (MaxJunkCommands)
	Session  time.Duration // from the last message to a command (SessionTimeout)
	BodyRate int64         // octets of a body per second, over twice the idle time (MinBodyRate)
}

// Hello is the name that the caller greeted with, "" before EHLO and HELO, and
// again after STARTTLS.
func (c *Caller) Hello() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// TLS is the state of the encryption; ok is false in clear.
func (c *Caller) TLS() (state tls.ConnectionState, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tls == nil {
		return tls.ConnectionState{}, false
	}
	return *c.tls, true
}

// SignIn says that the caller has proved to be account. Within an AUTH
// exchange it takes effect when the exchange ends with 235, otherwise at once.
func (c *Caller) SignIn(account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.signing {
		c.claimed = account
		return
	}
	c.account = account
}

// Account is who signed in, or "". STARTTLS voids it (RFC 3207 §4.2).
func (c *Caller) Account() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account
}

// Disconnect ends the connection with reply, a 421 as a rule. It waits for nothing:
// a verb that is being answered gets its answer first, a body that is still
// coming is broken off, a reversed connection is cut. Further calls do nothing.
func (c *Caller) Disconnect(reply mail.Reply) {
	if c.disconnect != nil {
		c.disconnect(reply)
	}
}

// beginSignIn makes SignIn wait for endSignIn.
func (c *Caller) beginSignIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signing, c.claimed = true, ""
}

func (c *Caller) endSignIn(ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.account = c.claimed
	}
	c.signing, c.claimed = false, ""
}

func (c *Caller) greeted(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hello = name
}

// encrypted notes the TLS state and forgets what was said in clear.
func (c *Caller) encrypted(state tls.ConnectionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tls, c.hello, c.account = &state, "", ""
}
