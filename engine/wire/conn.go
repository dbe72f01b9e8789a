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
)

// A conn is one accepted connection: the stream, what the caller has said so
// far, and what it is owed. Go-smtp's goroutine uses it.
type conn struct {
	stream
	talk

	ctx    context.Context // of the Session's calls: go-smtp's callbacks bring none
	log    *slog.Logger
	cfg    Config
	caller *Caller
	sess   Session
	leg    *leg // go-smtp's side
}

// talk is the state of the dialogue.
type talk struct {
	now       request
	greeted   bool
	encrypted bool
	inMail    bool // a MAIL was accepted
	asked     int  // RCPTs since
	rcpts     int  // those accepted
	errors    int
	behind    bool // in the rest of a refused series of BDAT, whose sender may have sent it ahead: no more errors
	over      bool // nothing more is read or said
	renew     bool // go-smtp's leg ends, the connection does not
}

// A request is the verb in hand: what go-smtp's callback will need of it, and
// what the caller is to be answered.
type request struct {
	mail   MailArgs
	rcpt   RcptArgs
	chunk  *chunk // a BDAT, which go-smtp takes for DATA
	answer mail.Reply
	style  style
	owed   bool
	again  string // a command line that broke a series of BDAT off: the next to run
}

// style says how a reply is written and when it goes out.
type style int

const (
	plain style = 1 << iota // without a status code: greetings (RFC 2034 §4)
	held                    // may wait for the next reply (RFC 2920 §3.2)
)

// A leg is the connection as go-smtp sees it. Go-smtp asks for more only when
// it has nothing left: each Read gives it one line, and what it writes is
// ignored, because by its next Read we know what the caller is to be answered.
type leg struct {
	c     *conn
	ready string // what go-smtp has still to read
	done  chan struct{}
	once  sync.Once
}

func (l *leg) Read(p []byte) (n int, err error) {
	if l.ready == "" {
		l.c.guard("read", func() { l.ready = l.c.next() })
	}
	if l.ready == "" {
		return 0, io.EOF
	}
	n = copy(p, l.ready)
	l.ready = l.ready[n:]
	return n, nil
}

func (l *leg) Write(p []byte) (int, error) { return len(p), nil }

func (l *leg) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *leg) LocalAddr() net.Addr              { return l.c.raw.LocalAddr() }
func (l *leg) RemoteAddr() net.Addr             { return l.c.raw.RemoteAddr() }
func (l *leg) SetDeadline(time.Time) error      { return nil }
func (l *leg) SetReadDeadline(time.Time) error  { return nil }
func (l *leg) SetWriteDeadline(time.Time) error { return nil }

// next settles the verb that go-smtp has just finished, answers what go-smtp
// has no part in, and gives the next line for it; "" ends the leg.
func (c *conn) next() string {
	c.settle()
	for !c.over && !c.renew {
		if r := c.kicked.Load(); r != nil {
			c.hangUp(*r)
			break
		}
		line := c.now.again
		c.now = request{}
		if line == "" {
			b, err := c.line(c.cfg.MaxLine)
			if err != nil {
				c.readError(err)
				continue
			}
			line = string(b)
		}
		if give := c.command(line); give != "" {
			return give
		}
	}
	return ""
}

// hand passes one line to go-smtp. Until a callback says better, the verb has
// no answer.
func (c *conn) hand(line string) string {
	c.owe(mail.Reply{Code: 451, Enhanced: "3.0", Text: "local error", Cause: errUnasked}, c.now.style)
	return line
}

var errUnasked = errors.New("go-smtp did not ask the session")

func (c *conn) owe(r mail.Reply, s style) {
	c.now.answer, c.now.style, c.now.owed = r, s, true
}

func (c *conn) settle() {
	if !c.now.owed || c.over {
		return
	}
	c.now.owed = false
	if c.now.answer.Cause == errUnasked {
		c.log.Error("a verb went unanswered")
	}
	c.answer(c.now.answer, c.now.style)
}

// say answers the verb in hand at once.
func (c *conn) say(r mail.Reply) { c.answer(r, 0) }

func (c *conn) answer(r mail.Reply, s style) {
	c.out = appendReply(c.out, r, s&plain == 0 && c.cfg.Verbs.EnhancedCodes)
	if r.Code == 421 { // RFC 5321 §3.8: after it, nobody is there
		c.end()
		return
	}
	// A held reply goes out with the next, or when the input is used up.
	if s&held == 0 && c.flush() != nil {
		c.over = true
	}
}

// wrong answers a command that should not have come. When there were too many
// of them, it is the last.
func (c *conn) wrong(r mail.Reply) {
	if c.cfg.MaxErrors > 0 && c.errors >= c.cfg.MaxErrors {
		c.hangUp(mail.Reply{Code: 421, Enhanced: "7.0", Text: "too many errors"})
		return
	}
	c.errors++
	c.say(r)
}

// readError ends the connection, or answers for a line that cannot be read.
func (c *conn) readError(err error) {
	switch {
	case errors.Is(err, errLong):
		c.wrong(mail.Reply{Code: 500, Enhanced: "5.2", Text: "line too long"})
	case errors.Is(err, errIdle):
		c.farewell(mail.Reply{Code: 421, Enhanced: "4.2", Text: "idle for too long"})
	case errors.Is(err, errSlow):
		c.hangUp(mail.Reply{Code: 421, Enhanced: "4.2", Text: "too slow"})
	case errors.Is(err, errDrain):
		c.farewell(mail.Reply{Code: 421, Enhanced: "3.2", Text: "shutting down, call again"})
	case errors.Is(err, errFlood):
		c.hangUp(mail.Reply{Code: 421, Enhanced: "7.0", Text: "too much"})
	case errors.Is(err, errKicked):
		c.hangUp(*c.kicked.Load())
	default:
		c.over = true // the caller is gone
	}
}

// hangUp says r and ends.
func (c *conn) hangUp(r mail.Reply) {
	c.out = appendReply(c.out, r, c.cfg.Verbs.EnhancedCodes)
	c.end()
}

// farewell is hangUp for a caller that has nothing on its way to us.
func (c *conn) farewell(r mail.Reply) {
	c.out = appendReply(c.out, r, c.cfg.Verbs.EnhancedCodes)
	c.over = true
	_ = c.flush() // there is nobody left to tell
}

// end says what is left to say and lets the caller read it.
func (c *conn) end() {
	c.over = true
	if c.flush() == nil {
		c.linger()
	}
}

// guard runs f. A panic is a fault of ours: it is logged, and this one caller
// is let go.
func (c *conn) guard(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("panic in a session", "at", what, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if !c.over {
				c.hangUp(mail.Reply{Code: 421, Enhanced: "3.0", Text: "local error, closing connection"})
			}
		}
	}()
	f()
}

// ask runs a call that gives a Reply, and sees to it that there is one.
func (c *conn) ask(what string, f func() mail.Reply) (r mail.Reply) {
	c.guard(what, func() { r = f() })
	if class := r.Code / 100; !c.over && class != 2 && class != 4 && class != 5 {
		c.log.Error("a session gave no reply", "at", what, "code", r.Code)
		r = mail.Reply{Code: 451, Enhanced: "3.0", Text: "local error", Cause: r.Cause}
	}
	return r
}

// An adapter is the Session as go-smtp sees it. Its addresses and options are
// not looked at: the filter has parsed them, and go-smtp gets a stand-in.
type adapter struct{ c *conn }

// errRefused tells go-smtp that a verb did not take effect.
var errRefused = &smtp.SMTPError{Code: 550, Message: "refused"}

func (a adapter) Mail(string, *smtp.MailOptions) error {
	c := a.c
	r := c.ask("mail", func() mail.Reply { return c.sess.Mail(c.ctx, c.now.mail) })
	c.now.answer = r
	if !r.Positive() {
		return errRefused
	}
	c.inMail, c.asked, c.rcpts = true, 0, 0
	return nil
}

func (a adapter) Rcpt(string, *smtp.RcptOptions) error {
	c := a.c
	c.asked++
	r := c.ask("rcpt", func() mail.Reply { return c.sess.Rcpt(c.ctx, c.now.rcpt) })
	c.now.answer = r
	if !r.Positive() {
		return errRefused
	}
	c.rcpts++
	return nil
}

// Data takes the body straight from the stream; go-smtp's reader then finds
// the end mark alone.
func (a adapter) Data(io.Reader) error {
	c := a.c
	b := c.openBody()
	r := c.ask("data", func() mail.Reply { return c.sess.Data(c.ctx, b) })
	c.closeBody(b, r)
	if !c.over {
		c.leg.ready = ".\r\n"
	}
	return nil
}

func (a adapter) Reset() {
	c := a.c
	c.inMail, c.asked, c.rcpts = false, 0, 0
	c.guard("reset", c.sess.Reset)
}

// Logout means nothing: a leg's end is not the caller's.
func (a adapter) Logout() error { return nil }
