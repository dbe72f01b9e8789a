// SPDX-License-Identifier: Apache-2.0

package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/emersion/go-sasl"

	"restante/engine/mail"
	"restante/engine/pull/indoubt"
	"restante/engine/wire"
	"restante/engine/wire/params"
)

// serve is the server on the reversed connection, until the holder ends it.
func serve(ctx context.Context, conn net.Conn, o *Options, local *localServer, doubt *indoubt.File, res *Result) {
	s := &session{opts: o, local: local, doubt: doubt, res: res}
	cfg := wire.Config{
		Hostname: o.Name, Verbs: local.verbs(), MaxSize: local.c.MaxSize(), AcceptBareLF: true,
		Log: func(e wire.Exchange) { s.quit = s.quit || e.Verb == "QUIT" && e.Reply.Code == 221 },
	}
	if o.LMTP {
		cfg.MaxRcpts = 1
	}
	noted := &notedConn{Conn: conn}
	server, ended := wire.NewServer(slog.New(slog.DiscardHandler)), make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		for _, cut := range []func() error{conn.Close, server.Close} {
			select {
			case <-ended:
				return
			case <-time.After(graceTime):
				_ = cut()
			}
		}
	})()
	server.Serve(ctx, noted, cfg, func(*wire.Caller) wire.Session { return s })
	close(ended)
	if !s.quit {
		res.Broken = s.whyBroken(ctx, noted)
		return
	}
	if res.Broken = s.err; res.Broken != nil {
		return
	}
	if err := doubt.Confirm(); err != nil {
		res.Broken = fmt.Errorf("state: %w", err)
	}
}

// A notedConn keeps the first error of its connection.
type notedConn struct {
	net.Conn
	err error // of the one goroutine that reads
}

func (c *notedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}

// A session relays what the holder says to the local server.
type session struct {
	wire.Release // of verbs that are off, so that it is not asked

	opts  *Options
	local *localServer
	doubt *indoubt.File
	res   *Result
	quit  bool  // the holder has ended it in order
	err   error // of ours: nothing more is taken

	relay  *wire.Relay // the transaction; nil: none
	from   string
	to     []string // that were accepted
	single bool     // one recipient for each transaction
	size   int64    // as declared
}

// whyBroken says why a session ended without QUIT.
func (s *session) whyBroken(ctx context.Context, conn *notedConn) error {
	switch {
	case s.err != nil:
		return s.err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(conn.err, io.EOF), conn.err == nil:
		return fmt.Errorf("holder %s: the connection ended without QUIT", s.opts.Holder)
	}
	return fmt.Errorf("holder %s: %w", s.opts.Holder, conn.err)
}

var accepted = mail.Reply{Code: 250, Enhanced: "0.0", Text: "OK"}

func (s *session) Hello(context.Context, string, bool) mail.Reply      { return accepted }
func (s *session) Permit(context.Context, string, bool) mail.Reply     { return accepted }
func (s *session) Refused(context.Context, string, string, mail.Reply) {}
func (s *session) Close()                                              {}
func (s *session) Mechanisms() []string                                { return nil }
func (s *session) Reset()                                              { s.relay = nil }

// Auth is asked even where no mechanism is listed.
func (s *session) Auth(context.Context, string) (sasl.Server, error) {
	return nil, mail.Reply{Code: 502, Enhanced: "5.1", Text: "Command not implemented"}
}

// leave refuses a message that is too large for the time being, so that it stays with
// the holder. The ceiling is not listed by SIZE: a holder would return the message.
func (s *session) leave(size int64, id string) mail.Reply {
	r := mail.Reply{Code: 452, Enhanced: "3.1", Text: fmt.Sprintf("more than the %d octets that are taken over this line: the message stays", s.opts.Ceiling)}
	s.count(Message{From: s.from, To: s.to, ID: id, Size: size, Outcome: Left, Reply: r})
	return r
}

// Mail asks the local server. What it refuses here is reported, since no more comes.
func (s *session) Mail(ctx context.Context, m params.Mail) mail.Reply {
	if s.err != nil {
		return mail.Reply{Code: 421, Enhanced: "3.0", Text: "no more can be taken now"}
	}
	s.from, s.to, s.size = m.From.String(), nil, m.Size
	s.single = s.opts.LMTP || s.doubt.Sender(s.from)
	if s.opts.Ceiling > 0 && m.Size > s.opts.Ceiling {
		return s.leave(m.Size, "")
	}
	t, r, err := s.local.mail(ctx, wire.Outgoing{From: m.From, Size: m.Size, Body8Bit: m.Body8, Ret: m.Ret, EnvID: m.EnvID, UTF8: m.UTF8})
	if err != nil {
		s.err = s.local.named(err)
		return lost(err)
	}
	if !r.Positive() {
		return s.finish(r, m.Size, "")
	}
	s.relay = t
	return passOn(r)
}

// Rcpt asks the local server.
func (s *session) Rcpt(ctx context.Context, rcpt params.Rcpt) mail.Reply {
	if s.single && len(s.to) > 0 {
		return mail.Reply{Code: 452, Enhanced: "5.3", Text: "one recipient at a time"}
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	r, err := s.relay.Rcpt(ctx, mail.Recipient{Address: rcpt.To, Notify: rcpt.Notify, ORcpt: rcpt.ORcpt})
	if err != nil {
		s.local.close()
		if errors.Is(err, errSilent) {
			s.err = s.local.named(err) // the next message would wait as long
		}
		r = mail.Reply{Code: 451, Enhanced: "4.2", Text: "the local server was lost", Cause: err}
	}
	if r.Positive() {
		s.to = append(s.to, rcpt.To.String())
	} else {
		s.tell(Message{From: s.from, To: []string{rcpt.To.String()}, Size: s.size}, r)
	}
	return passOn(r)
}

// Data passes the message on. It is taken down before the holder hears that it was
// taken.
func (s *session) Data(ctx context.Context, body io.Reader) mail.Reply {
	in := &incoming{session: s, r: body, hash: indoubt.NewHash()}
	replies, err := s.relay.Data(ctx, in)
	s.relay = nil
	var refused mail.Reply
	switch {
	case in.err == errKnown:
		s.local.close() // it has not got the end, and drops it
		r := mail.Reply{Code: 250, Enhanced: "0.0", Text: "OK, taken before"}
		s.count(Message{From: s.from, To: s.to, ID: in.messageID(), Size: in.size, Outcome: Known, Reply: r})
		return r
	case in.err == errCeiling:
		s.local.close()
		return s.leave(max(in.size, s.size), in.messageID())
	case errors.As(in.err, &refused): // larger than the local server takes
		s.local.close()
		return s.finish(refused, in.size, in.messageID())
	case in.err != nil: // the holder's line broke; the reply reaches nobody
		s.local.close()
		return mail.Reply{Code: 451, Enhanced: "4.2", Text: "the message did not come whole"}
	case err != nil || len(replies) == 0:
		s.local.close()
		r := mail.Reply{Code: 451, Enhanced: "4.2", Text: "the local server was lost", Cause: err}
		return s.finish(r, in.size, in.messageID())
	}
	r := replies[0]
	if r.Positive() {
		if err := s.doubt.Add(in.messageID(), in.keys()...); err != nil {
			s.err = fmt.Errorf("state: %w", err) // after this message
		}
	}
	return s.finish(r, in.size, in.messageID())
}

// finish reports the message with its final reply and gives that for the holder.
func (s *session) finish(r mail.Reply, size int64, id string) mail.Reply {
	s.tell(Message{From: s.from, To: s.to, ID: id, Size: size}, r)
	return passOn(r)
}

// tell reports what the local server said.
func (s *session) tell(m Message, r mail.Reply) {
	m.Reply = r
	switch {
	case r.Positive():
		m.Outcome = Taken
	case r.Temporary():
		m.Outcome = Deferred
	default:
		m.Outcome = Refused
	}
	s.count(m)
}

func (s *session) count(m Message) {
	s.res.Messages[m.Outcome]++
	if m.Outcome == Taken {
		s.res.Octets += m.Size
	}
	if s.opts.Taken != nil {
		m.To = slices.Clone(m.To)
		s.opts.Taken(m)
	}
}

// passOn is a reply of the local server as the holder hears it. A 421 is about that
// connection, and not about the holder's.
func passOn(r mail.Reply) mail.Reply {
	if r.Code == 421 {
		r.Code = 451
	}
	return r
}
