// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"restante/engine/mail"
	"restante/engine/wire/params"
	"restante/engine/wire/reply"
)

// A conn is one accepted connection: its stream and the state of its dialogue.
// Only go-smtp's goroutine uses it.
type conn struct {
	stream
	dialogue

	ctx     context.Context // of the Session's calls: go-smtp's callbacks bring none
	stops   context.Context // ends when the service stops, before ctx
	log     *slog.Logger
	cfg     Config
	caller  *Caller
	sess    Session
	inner   *innerConn // go-smtp's side
	timeout string     // the property that sets the wait under way
	errors  int        // bad commands
	became  *Identity  // by XCLIENT: the connection goes on as another's
	junk    int        // commands since the last message that lead to none
}

// dialogue is the state of one conversation.
type dialogue struct {
	now           request
	greeted       bool
	encrypted     bool
	inTransaction bool // a MAIL was accepted,
	wide          bool // with SMTPUTF8,
	binary        bool // with BODY=BINARYMIME
	rcptCommands  int  // since MAIL
	rcptAccepted  int
	inRefusedBDAT bool // in the rest of a refused series of BDAT, whose sender may have sent it ahead: no more errors
	closed        bool // nothing more is read or said
	restart       bool // go-smtp's connection ends, the caller's does not
}

// A request is the command that runs: what go-smtp's callback needs of it, and
// its reply.
type request struct {
	verb     string // "" for a word that is no verb: it may be a credential, of which no log has anything
	arg      string
	mail     params.Mail
	rcpt     params.Rcpt
	chunk    *chunk // a BDAT, which go-smtp takes for DATA
	reply    mail.Reply
	style    style
	pending  bool
	reported bool // the Session knows of the refusal
	begin    time.Time
	received int64  // octets of the command and its message
	nextLine string // a command line that broke a series of BDAT off: the next to run
}

// style says how a reply is written and when it goes out.
type style int

const (
	noStatus style = 1 << iota // without a status code: greetings (RFC 2034 §4)
	batched                    // may wait for the next reply (RFC 2920 §3.2)
)

// An innerConn is the connection as go-smtp sees it. Go-smtp reads only when it
// has nothing left, so each Read gives it one line. Its output is dropped: by
// its next Read the reply is known.
type innerConn struct {
	c     *conn
	ready string // what go-smtp has still to read
	done  chan struct{}
	once  sync.Once
}

func (l *innerConn) Read(p []byte) (n int, err error) {
	if l.ready == "" {
		l.c.protect("read", func() { l.ready = l.c.next() })
	}
	if l.ready == "" {
		return 0, io.EOF
	}
	n = copy(p, l.ready)
	l.ready = l.ready[n:]
	return n, nil
}

func (l *innerConn) Write(p []byte) (int, error) { return len(p), nil }

func (l *innerConn) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *innerConn) LocalAddr() net.Addr              { return l.c.raw.LocalAddr() }
func (l *innerConn) RemoteAddr() net.Addr             { return l.c.raw.RemoteAddr() }
func (l *innerConn) SetDeadline(time.Time) error      { return nil }
func (l *innerConn) SetReadDeadline(time.Time) error  { return nil }
func (l *innerConn) SetWriteDeadline(time.Time) error { return nil }

// next sends the reply of the command that go-smtp has finished, runs the
// commands that go-smtp has no part in, and gives the next line for it; "" ends the inner connection.
func (c *conn) next() string {
	c.sendPending()
	for !c.closed && !c.restart {
		if r := c.disconnected.Load(); r != nil {
			c.disconnect(*r)
			break
		}
		line := c.now.nextLine
		c.now = request{}
		if line == "" {
			b, err := c.commandLine()
			if err != nil {
				c.readError(err)
				continue
			}
			line = string(b)
		}
		c.beginRequest(line)
		if give := c.command(line); give != "" {
			return give
		}
	}
	return ""
}

// waitAfter begins the waits after verb.
func (c *conn) waitAfter(verb string) {
	w := c.cfg.wait(verb)
	c.idle, c.timeout = w.Time, w.Property
}

// forward passes one line to go-smtp. Its callback replaces the reply.
func (c *conn) forward(line string) string {
	c.setReply(mail.Reply{Code: 451, Enhanced: "3.0", Text: "Internal error", Cause: errNoCallback}, c.now.style)
	return line
}

var errNoCallback = errors.New("go-smtp did not ask the session")

func (c *conn) setReply(r mail.Reply, s style) {
	c.now.reply, c.now.style, c.now.pending = r, s, true
}

func (c *conn) sendPending() {
	if !c.now.pending || c.closed {
		return
	}
	c.now.pending = false
	if c.now.reply.Cause == errNoCallback {
		c.log.Error("go-smtp did not call the session")
	}
	c.writeReply(c.now.reply, c.now.style)
}

// respond sends the reply of the present command at once. It returns "": there
// is nothing for go-smtp to do.
func (c *conn) respond(r mail.Reply) string {
	c.writeReply(r, 0)
	return ""
}

// say puts a reply into the output, and into the log.
func (c *conn) say(r mail.Reply, s style) {
	c.report(r)
	before := len(c.out)
	c.out = reply.Append(c.out, r, s&noStatus == 0 && c.cfg.Verbs.EnhancedCodes, c.wide || c.now.mail.UTF8)
	c.logExchange(r, len(c.out)-before)
}

func (c *conn) writeReply(r mail.Reply, s style) {
	c.say(r, s)
	if r.Code == 421 { // RFC 5321 §3.8: the connection ends
		c.shutdown()
		return
	}
	// A held reply goes out with the next, or when the input is used up.
	if s&batched == 0 && c.flush() != nil {
		c.closed = true
	}
}

// reject is respond for a refusal, which counts as an error. Too many of them
// end the connection.
func (c *conn) reject(r mail.Reply) string {
	if limit := c.cfg.Limits.Errors; limit > 0 && c.errors >= limit {
		c.disconnect(mail.Reply{Code: 421, Enhanced: "7.0", Text: "Too many errors, closing connection", Cause: fmt.Errorf("MaxSmtpErrors is %d", limit)})
		return ""
	}
	c.errors++
	return c.respond(r)
}

// allowJunk counts a command that leads to no message. Too many of them end
// the connection.
func (c *conn) allowJunk() bool {
	if limit := c.cfg.Limits.Junk; limit > 0 && c.junk >= limit {
		c.disconnect(mail.Reply{Code: 421, Enhanced: "7.0", Text: "Too many commands without a message, closing connection", Cause: fmt.Errorf("MaxJunkCommands is %d", limit)})
		return false
	}
	c.junk++
	return true
}

// progress begins anew to count and to time what leads to no message.
func (c *conn) progress() {
	c.junk = 0
	if t := c.cfg.Limits.Session; t > 0 {
		c.bound = waitBound{time.Now().Add(t), errStale}
	}
}

// readError ends the connection, or answers for a line that cannot be read.
func (c *conn) readError(err error) {
	if err == errLong || err == errBareLine || err == errFlood {
		c.now.received += c.lineSize
	}
	switch {
	case errors.Is(err, errLong):
		c.reject(mail.Reply{Code: 500, Enhanced: "5.2", Text: "Line too long"})
	case errors.Is(err, errBareLine):
		c.endUntrusted(mail.Reply{Code: 500, Enhanced: "5.2", Text: "Bare CR or LF in command: lines must end in CRLF"})
	case errors.Is(err, errIdle):
		c.sayGoodbye(mail.Reply{Code: 421, Enhanced: "4.2", Text: "Idle timeout, closing connection", Cause: c.limit(err)})
	case errors.Is(err, errSlow):
		c.disconnect(mail.Reply{Code: 421, Enhanced: "4.2", Text: "Data rate too low, closing connection", Cause: c.limit(err)})
	case errors.Is(err, errStale):
		c.sayGoodbye(mail.Reply{Code: 421, Enhanced: "4.2", Text: "No message for too long, closing connection", Cause: c.limit(err)})
	case errors.Is(err, errDrain):
		c.now.reported = true // nothing is wrong with the caller
		c.sayGoodbye(mail.Reply{Code: 421, Enhanced: "3.2", Text: "Service shutting down, closing connection"})
	case errors.Is(err, errFlood):
		c.disconnect(mail.Reply{Code: 421, Enhanced: "7.0", Text: "Too much input, closing connection"})
	case errors.Is(err, errDisconnected):
		c.disconnect(*c.disconnected.Load())
	default: // the caller is gone
		c.closed = true
		if c.now.verb != "" {
			c.logExchange(c.now.reply, 0)
		}
	}
}

// limit names the property by which a wait ended with err.
func (c *conn) limit(err error) error {
	switch {
	case errors.Is(err, errIdle):
		return fmt.Errorf("%s is %v", c.timeout, c.idle)
	case errors.Is(err, errSlow):
		return fmt.Errorf("MinBodyRate is %d octets per second", c.minRate)
	case errors.Is(err, errStale):
		return fmt.Errorf("SessionTimeout is %v", c.cfg.Limits.Session)
	}
	return nil
}

// disconnect sends r and ends the connection.
func (c *conn) disconnect(r mail.Reply) {
	c.say(r, 0)
	c.shutdown()
}

// endUntrusted sends the refusal r of octets that another server may have read
// as other lines than we do, and 421. What follows may be part of somebody's
// message: none of it runs. It is read and dropped, as a message is, so that a
// caller in the middle of one sees the refusal.
func (c *conn) endUntrusted(r mail.Reply) {
	c.say(r, 0)
	c.out = reply.Append(c.out, mail.Reply{Code: 421, Enhanced: "7.0", Text: "Closing connection: what follows cannot be trusted"}, c.cfg.Verbs.EnhancedCodes, false)
	c.closed = true
	c.idle = min(c.idle, maxUntrusted)
	if c.flush() == nil && c.closeWrite() {
		_ = c.skip(maxDrain)
	}
}

// sayGoodbye is disconnect for a caller that has sent all it had to send.
func (c *conn) sayGoodbye(r mail.Reply) {
	c.say(r, 0)
	c.closed = true
	_ = c.flush() // the connection ends in any case
}

// shutdown flushes the replies and waits for the caller to read them.
func (c *conn) shutdown() {
	c.closed = true
	if c.flush() == nil {
		c.linger()
	}
}

// report tells the Session of a refusal that is not its own, once for each
// command.
func (c *conn) report(r mail.Reply) {
	if r.Code < 400 || c.now.reported || c.sess == nil {
		return
	}
	c.now.reported = true
	c.protect("refused", func() { c.sess.Refused(c.ctx, c.now.verb, c.now.publicArg(), r) })
}

// protect runs f. A panic is a fault of ours: it is logged and ends this one
// connection.
func (c *conn) protect(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic in a session", "at", what, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if !c.closed {
				c.disconnect(mail.Reply{Code: 421, Enhanced: "3.0", Text: "Internal error, closing connection"})
			}
		}
	}()
	f()
}

// callSession runs a call of the Session and makes sure that it gives a Reply.
func (c *conn) callSession(what string, f func() mail.Reply) (r mail.Reply) {
	c.protect(what, func() { r = f() })
	class := r.Code / 100
	c.now.reported = class == 4 || class == 5
	if !c.closed && class != 2 && !c.now.reported {
		c.log.Error("a session gave no reply", "at", what, "code", r.Code)
		r = mail.Reply{Code: 451, Enhanced: "3.0", Text: "Internal error", Cause: r.Cause}
	}
	return r
}

// An adapter is the Session as go-smtp sees it. Its addresses and options are
// ignored: command has parsed them, and go-smtp gets a placeholder.
type adapter struct{ c *conn }

// errRefused tells go-smtp that a verb did not take effect.
var errRefused = &smtp.SMTPError{Code: 550, Message: "refused"}

func (a adapter) Mail(string, *smtp.MailOptions) error {
	c := a.c
	r := c.callSession("mail", func() mail.Reply { return c.sess.Mail(c.ctx, c.now.mail) })
	c.now.reply = r
	if !r.Positive() {
		return errRefused
	}
	c.inTransaction, c.wide, c.binary, c.rcptCommands, c.rcptAccepted = true, c.now.mail.UTF8, c.now.mail.Binary, 0, 0
	return nil
}

func (a adapter) Rcpt(string, *smtp.RcptOptions) error {
	c := a.c
	c.rcptCommands++
	r := c.callSession("rcpt", func() mail.Reply { return c.sess.Rcpt(c.ctx, c.now.rcpt) })
	c.now.reply = r
	if !r.Positive() {
		return errRefused
	}
	c.rcptAccepted++
	return nil
}

// Data takes the body straight from the stream; go-smtp's reader then finds
// the end mark alone.
func (a adapter) Data(io.Reader) error {
	c, begin := a.c, time.Now()
	b := c.openBody()
	r := c.callSession("data", func() mail.Reply { return c.sess.Data(c.ctx, b) })
	if c.closeBody(b, r); r.Positive() {
		c.progress()
	} else if !c.bound.at.IsZero() {
		c.bound.at = c.bound.at.Add(time.Since(begin)) // a body has its own limit
	}
	if !c.closed {
		c.inner.ready = ".\r\n"
	}
	return nil
}

func (a adapter) Reset() {
	c := a.c
	c.inTransaction, c.wide, c.binary, c.rcptCommands, c.rcptAccepted = false, false, false, 0, 0
	c.protect("reset", c.sess.Reset)
}

// Logout means nothing: the end of an inner connection is not the caller's.
func (a adapter) Logout() error { return nil }
