// SPDX-License-Identifier: Apache-2.0

// Package pull collects mail from a host that holds it, and hands it to a local server.
//
// It calls the holder, signs in and says ETRN, or TURN or ATRN. After the latter the
// roles are reversed, and it is the server: each verb of the holder is passed on to the
// local server and answered with that server's reply, RCPT at RCPT and the message after
// the local server has answered for it. The octets stream through; no message is held.
//
// What the holder hears for a message is on stable storage before (see package indoubt):
// one whose confirmation was lost with the line is confirmed at the next call without
// being handed over again. Two losses are left in which a message comes twice: of the
// local server between its last octet and its reply, and of this process before it has
// taken down that reply.
//
// The local server is asked before the holder is called. If it is lost later, the holder
// hears a temporary reply. A message beyond the ceiling gets one, too, at MAIL where its
// size is declared: it stays held. A server that answers for each recipient (LMTP) gets
// one recipient in each transaction, so that the holder hears each answer.
//
// The package knows neither the metabase nor the queue.
package pull

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/engine/pull/indoubt"
	"restante/engine/recipients/hashed"
	"restante/engine/wire"
)

// A Verb asks the holder for the mail.
type Verb string

// The verbs.
const (
	TURN Verb = "TURN"
	ATRN Verb = "ATRN"
	ETRN Verb = "ETRN"
)

// A Security says how the connection to the holder is encrypted.
type Security string

// The ways to encrypt. The password shows in a connection without TLS, where the
// holder offers no mechanism that hides it.
const (
	StartTLS Security = "starttls"
	Implicit Security = "implicit"
	NoTLS    Security = "none"
)

// Options say whose mail is collected, and where it goes.
type Options struct {
	Holder   string // host:port
	Security Security
	TLS      *tls.Config // ServerName and all; used unless Security is NoTLS
	User     string
	Password account.Secret
	Verb     Verb
	Argument string // of ATRN: domains with commas between, "" for all of the account's; of ETRN: the domain

	Local      string                      // host:port of the server that gets the mail
	LMTP       bool                        // it speaks LMTP
	Recipients func() (hashed.Book, error) // that are pushed to the holder before the verb; nil: none are
	Ceiling    int64                       // octets of a message; what is larger stays held; 0: no limit
	State      string                      // folder of package indoubt
	Name       string                      // ours, in greetings; "": the system's

	Taken func(Message) // is told of each message; nil: nobody is
	Warn  func(string)  // is told what is amiss and does not end the call; nil: nobody is
	Dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	Now   func() time.Time
}

// An Outcome is what became of a message.
type Outcome string

// The outcomes.
const (
	Taken    Outcome = "taken"    // the local server has it
	Known    Outcome = "known"    // it had it from an earlier call, and the holder knows now
	Deferred Outcome = "deferred" // the local server does not take it now; it stays with the holder
	Left     Outcome = "left"     // it is larger than the ceiling, and stays with the holder
	Refused  Outcome = "refused"  // for good: the holder returns it
)

// A Message is a message that the holder offered.
type Message struct {
	From    string     `json:"from"`
	To      []string   `json:"to"` // of those that the local server accepted
	ID      string     `json:"message_id,omitempty"`
	Size    int64      `json:"size"`
	Outcome Outcome    `json:"outcome"`
	Reply   mail.Reply `json:"-"`
}

// A Result sums one call up.
type Result struct {
	Messages map[Outcome]int
	Octets   int64         // of the messages taken
	Reply    mail.Reply    // to the verb
	Pushed   []mail.Domain // whose list of recipients was sent: the others' are as they were
	Unpushed error         // why one was not; the mail is collected all the same
	Broken   error         // why the session ended early, after the roles were reversed; nil: by QUIT
}

// ErrRefused means that the holder does not let the account sign in or have the mail.
var ErrRefused = errors.New("the holder refuses")

// replyTime is how long the holder may take to answer a verb: RFC 2645 §5.2 asks for
// ten minutes at least.
const replyTime = 10 * time.Minute

const handshakeTime = 5 * time.Minute // of TLS, as RFC 5321 §4.5.3.2 has it for commands

// graceTime is how long a message under way may take when ctx ends: then the holder's
// line is cut, and after as long again the local server's.
const graceTime = 30 * time.Second

// Call makes one call. An error means that nothing was handed over. When ctx ends, the
// message under way has graceTime to be finished.
func Call(ctx context.Context, o Options) (res Result, err error) {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: time.Minute}).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Name == "" {
		o.Name, _ = os.Hostname()
	}
	if _, perr := mail.ParseDomain(o.Name); perr != nil {
		o.Name = "localhost"
	}
	if o.Verb == ETRN {
		return o.askOnly(ctx)
	}
	doubt, err := indoubt.Open(o.State, o.Holder, o.User, o.Now)
	if err != nil {
		return res, fmt.Errorf("state: %w", err)
	}
	defer doubt.Close()
	if doubt.Unread > 0 && o.Warn != nil {
		o.Warn(fmt.Sprintf("state: %s: %d of its lines are damaged: the messages that they are about may come twice", doubt.Name, doubt.Unread))
	}
	local := &localServer{opts: &o}
	if err := local.connect(ctx); err != nil {
		return res, local.named(err)
	}
	defer local.quit(ctx)
	holder, res, err := o.ask(ctx)
	if err != nil || res.Reply.Code == NothingWaits {
		return res, err
	}
	conn, err := holder.Reverse()
	if err != nil {
		return res, fmt.Errorf("holder %s: %w", o.Holder, err)
	}
	res.Messages = map[Outcome]int{}
	serve(ctx, conn, &o, local, doubt, &res)
	return res, nil
}

// askOnly says ETRN: the mail comes to the local server by itself.
func (o *Options) askOnly(ctx context.Context) (Result, error) {
	holder, res, err := o.ask(ctx)
	if err != nil {
		return res, err
	}
	quit(ctx, holder)
	return res, nil
}

// NothingWaits is the code of the reply to ATRN that says so (RFC 2645 §5.2.1).
const NothingWaits = 453

// ask opens the conversation with the holder and says the verb.
func (o *Options) ask(ctx context.Context) (*wire.Client, Result, error) {
	fail := func(err error) (*wire.Client, Result, error) {
		return nil, Result{}, fmt.Errorf("holder %s: %w", o.Holder, err)
	}
	conn, err := o.Dial(ctx, "tcp", o.Holder)
	if err != nil {
		return fail(err)
	}
	policy := wire.TLSNever
	switch o.Security {
	case Implicit:
		tc := tls.Client(conn, o.TLS)
		limited, cancel := context.WithTimeout(ctx, handshakeTime)
		err := tc.HandshakeContext(limited)
		cancel()
		if err != nil {
			conn.Close()
			return fail(fmt.Errorf("TLS: %w", err))
		}
		conn = tc
	case StartTLS:
		policy = wire.TLSRequired
	}
	c, err := wire.NewClient(ctx, conn, wire.ClientOptions{
		Hello: o.Name, TLS: o.TLS, TLSPolicy: policy, Timeouts: wire.Timeouts{Command: replyTime}, OneVerdict: true,
		Auth: account.SignIn{Name: o.User, Password: o.Password, Mechanisms: account.ByPassword, InClear: o.Security == NoTLS},
	})
	if err != nil {
		return fail(signInError(err))
	}
	var res Result
	res.Pushed, res.Unpushed = o.push(ctx, c)
	r, err := c.Ask(ctx, strings.TrimSpace(string(o.Verb)+" "+o.Argument))
	res.Reply = r
	switch {
	case err != nil:
		return fail(err)
	case r.Positive():
		return c, res, nil
	}
	quit(ctx, c)
	if o.Verb == ATRN && r.Code == NothingWaits {
		return c, res, nil
	}
	if denies(o.Verb, r) {
		return fail(fmt.Errorf("%s: %w: %s", o.Verb, ErrRefused, r))
	}
	return fail(fmt.Errorf("%s: %w", o.Verb, r))
}

// push has the holder store the lists of recipients.
func (o *Options) push(ctx context.Context, c *wire.Client) (sent []mail.Domain, err error) {
	if o.Recipients == nil {
		return nil, nil
	}
	book, err := o.Recipients()
	if err != nil {
		return nil, err
	}
	if sent, err = book.Push(ctx, c.Ask); err != nil {
		err = pushError(o.Holder, err)
	}
	return sent, err
}

// pushError marks a list that the holder takes from nobody, or not from the account.
func pushError(holder string, err error) error {
	var r mail.Reply
	switch {
	case !errors.As(err, &r):
	case r.Code == 500 || r.Code == 502:
		err = fmt.Errorf("%w: it takes no lists of recipients: %w", ErrRefused, err)
	case r.Permanent():
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("holder %s: %w", holder, err)
}

// signInError marks what keeps the account out for good.
func signInError(err error) error {
	var phase *wire.PhaseError
	var r mail.Reply
	switch {
	case errors.As(err, &phase) && phase.Phase == "AUTH" && errors.As(err, &r): // ours
		return fmt.Errorf("sign-in: %w: it %s; known are %s", ErrRefused, r.Text, strings.Join(account.ByPassword, ", "))
	case errors.As(err, &r) && r.Phase == "AUTH" && r.Permanent():
		return fmt.Errorf("sign-in: %w: %w", ErrRefused, err)
	}
	return err
}

// denies reports whether a negative reply to a verb says that the account may not have
// the mail. RFC 2645 has 450 for that, RFC 1985 459.
func denies(verb Verb, r mail.Reply) bool {
	own, _, _ := strings.Cut(r.Enhanced, ".")
	return r.Permanent() || own == "7" || r.Enhanced == "" && (verb == ATRN && r.Code == 450 || verb == ETRN && r.Code == 459)
}
