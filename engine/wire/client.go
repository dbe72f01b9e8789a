// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"restante/engine/mail"
	"restante/engine/wire/dotstuff"
)

// A TLSPolicy says what a client does about STARTTLS.
type TLSPolicy int

const (
	TLSOpportunistic TLSPolicy = iota // encrypt where the peer offers it
	TLSRequired                       // no mail without it
	TLSNever                          // do not ask
)

// Timeouts bounds the phases of a conversation. Fields that are zero are those
// of RFC 5321 §4.5.3.2: 5, 5, 2, 3 and 10 minutes.
type Timeouts struct {
	Greeting  time.Duration
	Command   time.Duration
	DataInit  time.Duration // until DATA is answered
	DataBlock time.Duration // for each piece of the body
	DataDone  time.Duration // until the final dot is answered
}

// ClientOptions adjusts NewClient.
type ClientOptions struct {
	Hello     string      // our name
	TLS       *tls.Config // used as it is, ServerName and all; nil: never STARTTLS, as on a reversed connection
	TLSPolicy TLSPolicy
	Auth      SignIn // nil: do not sign in
	// OneVerdict has a 535 to any mechanism count for the password; else those that hide
	// it may be refused because the peer cannot check it by them.
	OneVerdict bool
	Proved     func(tls.ConnectionState) error // says why the peer has not proved who it is; nil: it never has
	UseHELO    bool                            // HELO alone, and so no extension, no STARTTLS and no sign-in
	Without    []string                        // extensions that are not used, even if the peer offers them
	Timeouts   Timeouts

	// LMTP has the conversation in LMTP (RFC 2033): LHLO, and after the message a reply for
	// each recipient.
	LMTP bool

	// LineWrites has each command of a group written by itself, and so in a TLS record
	// of its own: some callers wait for the next record with more of the last one unread.
	LineWrites bool

	Log func(Line) // is told of each command and reply but those within an AUTH exchange; nil: nobody is
}

// Errors of NewClient, beside a mail.Reply, which is the peer's.
var (
	// ErrTLS means that TLS was demanded and not to be had, or that the
	// handshake went wrong. Without the demand, a new connection with TLSNever
	// may do better.
	ErrTLS = errors.New("no TLS with the peer")
)

// A SignIn chooses how to sign in: account.SignIn.
type SignIn interface {
	// Begin starts an exchange by the strongest mechanism that may be used and
	// that the peer offers. State is that of TLS, nil without it. The error is
	// a mail.Reply of ours, whose text goes on after the peer's name.
	Begin(ctx context.Context, offered []string, state *tls.ConnectionState) (mechanism string, c sasl.Client, err error)
}

// A Client is our end of a conversation in which we hand mail over. It is for
// one goroutine, but Close may come from anywhere.
type Client struct {
	opts  ClientOptions
	peer  *peer
	smtp  *smtp.Client // opens the conversation; the transactions are ours
	name  string
	noTLS mail.Reply // to STARTTLS, if it was no yes
	limit int64      // the peer's SIZE, 0 for none
	reset bool       // a transaction is open that must go before the next
	body  dotstuff.Stuffer
	pipe  pipeline
	err   error // why the conversation is over, or nil
	stuck bool  // see Stuck
}

// NewClient opens a conversation on conn, which it owns from here on, errors
// included: greeting, EHLO, STARTTLS and EHLO again, AUTH. An error that is a
// mail.Reply is the peer's. The end of ctx closes conn. Where that is a
// [mail.Stopping] and the peer has greeted, the opening has stopTime to come to
// its end: the caller can then say QUIT.
func NewClient(ctx context.Context, conn net.Conn, opts ClientOptions) (*Client, error) {
	opts.Timeouts.fill()
	c := &Client{opts: opts, peer: newPeer(conn, opts)}
	opened := make(chan struct{})
	defer close(opened)
	defer context.AfterFunc(ctx, func() {
		if stop := (*mail.Stopping)(nil); errors.As(context.Cause(ctx), &stop) && c.peer.sent.Load() != 0 {
			select {
			case <-opened:
				return
			case <-stop.Cut:
			case <-time.After(stopTime):
			}
		}
		conn.Close()
	})()
	if err := c.open(context.WithoutCancel(ctx)); err != nil {
		c.Close()
		return nil, c.reason(ctx, err)
	}
	return c, nil
}

// stopTime is how long the opening of a conversation may go on when we stop.
const stopTime = 5 * time.Second

// reason prefers the end of ctx to what came of it.
func (c *Client) reason(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &PhaseError{c.peer.phase, context.Cause(ctx)}
	}
	return err
}

func (t *Timeouts) fill() {
	t.Greeting = cmp.Or(max(t.Greeting, 0), 5*time.Minute)
	t.Command = cmp.Or(max(t.Command, 0), 5*time.Minute)
	t.DataInit = cmp.Or(max(t.DataInit, 0), 2*time.Minute)
	t.DataBlock = cmp.Or(max(t.DataBlock, 0), 3*time.Minute)
	t.DataDone = cmp.Or(max(t.DataDone, 0), 10*time.Minute)
}

func (c *Client) open(ctx context.Context) error {
	if err := c.hello(); err != nil {
		return err
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	if c.opts.Auth != nil {
		if err := c.signIn(ctx); err != nil {
			return err
		}
	}
	if _, size := c.smtp.Extension("SIZE"); size != "" {
		c.limit, _ = strconv.ParseInt(size, 10, 64) // what is no number is no limit
	}
	return nil
}

// hello takes the greeting and says EHLO, or HELO to a peer that knows no EHLO.
func (c *Client) hello() error {
	if c.smtp = smtp.NewClient(c.peer); c.opts.LMTP {
		c.smtp = smtp.NewClientLMTP(c.peer)
	}
	// Go-smtp's own limits are not heeded: peer has the finer ones.
	if err := c.smtp.Hello(c.opts.Hello); err != nil {
		return c.peer.replyError(err)
	}
	c.name = c.peer.name
	return nil
}

// startTLS does as the policy says. The EHLO in clear bore our real name, and
// is said again inside (RFC 3207 §4.2).
func (c *Client) startTLS(ctx context.Context) error {
	if _, on := c.TLS(); on || c.opts.TLS == nil || c.opts.TLSPolicy == TLSNever {
		if !on && c.opts.TLSPolicy == TLSRequired {
			return fmt.Errorf("%w: it is required, and not configured", ErrTLS)
		}
		return nil
	}
	must := c.opts.TLSPolicy == TLSRequired
	if !c.Supports("STARTTLS") {
		if must {
			return fmt.Errorf("%w: %s does not offer STARTTLS", ErrTLS, c.name)
		}
		return nil
	}
	r, err := c.peer.command("STARTTLS\r\n")
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrTLS, err)
	case r.Code == 421:
		return r
	case r.Code/100 != 2 && must:
		return fmt.Errorf("%w: STARTTLS: %w", ErrTLS, r)
	case r.Code/100 != 2:
		c.noTLS = r
		return nil
	}
	if err := c.peer.encrypt(ctx, c.opts.TLS); err != nil {
		return fmt.Errorf("%w: %w", ErrTLS, &PhaseError{mail.AtTLS, err})
	}
	return c.hello()
}

// signIn signs in. Where the peer knows a mechanism by name only, or cannot check
// this password by it, the next one is tried. A peer that offers STARTTLS and does
// not do it gets no sign-in: somebody on the way may have seen to that. A token that
// the peer refuses is tried once more, with a new one.
func (c *Client) signIn(ctx context.Context) error {
	state, on := c.TLS()
	over := &state
	if !on {
		if over = nil; c.noTLS.Code != 0 {
			return mail.Reply{Code: 454, Enhanced: "7.11", Phase: "AUTH", Text: "offers STARTTLS and answered it with " + c.noTLS.String() + "; there is no sign-in without it"}
		}
	}
	_, list := c.smtp.Extension("AUTH")
	offered := strings.Fields(strings.ToUpper(list))
	var refused, first error
	for {
		name, client, err := c.opts.Auth.Begin(ctx, offered, over)
		if err != nil {
			c.peer.phase = "AUTH"
			return cmp.Or(refused, error(&PhaseError{"AUTH", err}))
		}
		if err = c.smtp.Auth(client); err == nil {
			return c.proved(client)
		}
		refused = c.peer.replyError(err)
		var r mail.Reply
		if token, ok := client.(interface{ Refused() string }); ok {
			if !errors.As(refused, &r) && first != nil { // it hung up on the second one
				return first
			}
			if r.Code == 535 {
				if said := token.Refused(); said != "" {
					r.Cause = errors.New(said)
				}
				if first != nil {
					return r
				}
				first = r
				continue
			}
		}
		judged := name == "PLAIN" || name == "LOGIN" || c.opts.OneVerdict
		if !errors.As(refused, &r) || !r.Permanent() || r.Code == 535 && judged {
			return refused
		}
		offered = slices.DeleteFunc(offered, func(o string) bool { return o == name })
	}
}

// proved asks a mechanism by which the peer proves itself, too, whether it has.
func (c *Client) proved(client sasl.Client) error {
	if p, ok := client.(interface{ Proved() error }); ok {
		if err := p.Proved(); err != nil {
			return &PhaseError{c.peer.phase, err}
		}
	}
	return nil
}

// PeerName is the name that the peer gave in its reply to EHLO or HELO.
func (c *Client) PeerName() string { return c.name }

// LastSent is when the peer last took what was sent, or answered a message. It may be called
// from anywhere.
func (c *Client) LastSent() time.Time {
	return time.Unix(0, max(c.peer.sent.Load(), c.peer.took.Load()))
}

// Supports says that the peer listed the keyword ext, whatever its case, and that
// ClientOptions.Without does not.
func (c *Client) Supports(ext string) bool {
	ok, _ := c.smtp.Extension(ext)
	return ok && !slices.Contains(c.opts.Without, ext)
}

// lacks says why the peer may not have a message that requires TLS. The zero Reply
// says that it may.
func (s *sending) lacks() mail.Reply {
	if !s.m.RequireTLS {
		return mail.Reply{}
	}
	c := s.Client
	state, encrypted := c.TLS()
	// The codes are those of RFC 8689 §7.
	switch {
	case !encrypted:
		return mail.Reply{Code: 550, Enhanced: "7.10", Text: "the message requires TLS (REQUIRETLS), and there is none with " + c.name}
	case c.opts.Proved == nil:
		return mail.Reply{Code: 550, Enhanced: "7.10", Text: "the message requires verified TLS (REQUIRETLS), and " + c.name + " has not proved its name"}
	case !c.Supports("REQUIRETLS"):
		return mail.Reply{Code: 550, Enhanced: "7.30", Text: "the message needs REQUIRETLS, and " + c.name + " does not offer it"}
	}
	if err := c.opts.Proved(state); err != nil {
		return mail.Reply{Code: 550, Enhanced: "7.10", Text: "the message requires verified TLS (REQUIRETLS), and " + c.name + " has not proved its name", Cause: err}
	}
	return mail.Reply{}
}

// lacksExtension says why the peer may not have a message for any recipient because it
// does not offer SMTPUTF8 or BINARYMIME, or takes too long. The zero Reply says that it may. The codes are
// those of RFC 6531 §4.2 and RFC 3463 §3.7.
func (s *sending) lacksExtension() mail.Reply {
	switch {
	case s.m.By.Return && s.secondsLeft() < max(s.minBy(), 1): // RFC 3463 §3.5: the time is over
		return mail.Reply{Code: 550, Enhanced: "4.7", Text: "the time is over by which the sender wanted the message delivered"}
	case s.m.Binary && !(s.Supports("BINARYMIME") && s.Supports("CHUNKING")):
		return s.missing("BINARYMIME", "6.3", "the message")
	case s.wide:
	case !s.m.From.ASCII():
		return s.missing("SMTPUTF8", "6.7", "the sender's address")
	case s.m.UTF8 && s.m.UTF8Header:
		return s.missing("SMTPUTF8", "6.9", "the header of the message")
	}
	return mail.Reply{}
}

// minBy is the least time that the peer lists for mode R of DELIVERBY, in seconds.
func (c *Client) minBy() int64 {
	_, least := c.smtp.Extension("DELIVERBY")
	n, err := strconv.ParseUint(least, 10, 31)
	if err != nil {
		return 0
	}
	return int64(n)
}

// missing is the reply for what needs an extension that the peer does not offer.
func (s *sending) missing(extension, status, what string) mail.Reply {
	r := mail.Reply{Code: 550, Enhanced: status, Text: what + " needs " + extension + ", and " + s.name + " does not offer it"}
	if s.m.Held {
		r.Code, r.Text = 450, r.Text+": the message stays"
	}
	return r
}

// Stuck says that the conversation ended because the peer answered some commands of
// a group and then was silent, or refused one for its place: it may come through without
// PIPELINING.
func (c *Client) Stuck() bool { return c.stuck }

// MaxSize is the most octets that the peer lists by SIZE; 0 is no limit.
func (c *Client) MaxSize() int64 { return c.limit }

// Limits are those that the peer lists by LIMITS (RFC 9422); 0 is none.
func (c *Client) Limits() (recipients, messages int) {
	_, list := c.smtp.Extension("LIMITS")
	for word := range strings.FieldsSeq(list) {
		name, value, _ := strings.Cut(strings.ToUpper(word), "=")
		n, err := strconv.Atoi(value)
		switch {
		case err != nil || n < 1:
		case name == "RCPTMAX":
			recipients = n
		case name == "MAILMAX":
			messages = n
		}
	}
	if slices.Contains(c.opts.Without, "LIMITS") {
		return 0, 0
	}
	return recipients, messages
}

// TLS is the state of the encryption; ok is false in clear.
func (c *Client) TLS() (state tls.ConnectionState, ok bool) {
	t, ok := c.peer.nc.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return tls.ConnectionState{}, false
	}
	return t.ConnectionState(), true
}

// Quit says QUIT, waits for the answer and closes. It closes in any case; the
// error is for the log, since all mail was settled before.
func (c *Client) Quit(ctx context.Context) error {
	defer c.Close()
	if c.err != nil {
		return nil
	}
	defer context.AfterFunc(ctx, func() { c.peer.Close() })()
	c.err = errOver
	if err := c.smtp.Quit(); err != nil {
		return c.reason(ctx, c.peer.replyError(err))
	}
	return nil
}

var errOver = errors.New("the conversation is over")

// Close closes the connection without QUIT. It may be called again and from
// anywhere.
func (c *Client) Close() error { return c.peer.Close() }

// replyError is the peer's reply if go-smtp made an error of it, and else err.
func (p *peer) replyError(err error) error {
	var said *smtp.SMTPError
	switch {
	case p.err != nil: // before go-smtp wrapped it
		return p.err
	case errors.As(err, &said) && p.reply.Code >= 400:
		return p.reply
	case errors.As(err, &said): // a yes to another question
		err = fmt.Errorf("%w: %.60q", ErrProtocol, p.reply.String())
	}
	return &PhaseError{p.phase, err}
}
