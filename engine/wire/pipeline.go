// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"restante/engine/mail"
)

// Limits of what is under way. In a group that waits for its replies, neither side's
// socket buffers can fill up with commands or replies that the other does not read
// (RFC 2920 §3.1). Where messages ride, replies are read while we write.
const (
	maxGroup         = 100
	maxAsked         = 1000
	maxRiding        = 128
	maxRidingOctets  = 1 << 20
	maxBlind         = 64 << 10 // of a message that goes before it is known whether somebody takes it
	flushSize        = 16 << 10
	lateReplyTimeout = 5 * time.Second  // for a reply to come from a peer that takes no more
	idleTime         = 30 * time.Second // who hangs up after so much silence has waited for a command
)

// A pipeline is what goes to the peer, and what is to come from it.
type pipeline struct {
	out     []byte     // to be written
	asked   []step     // those whose replies are to come, in order;
	unsent  int        // the last ones of them are still in out
	under   []*sending // messages that have no outcome yet
	octets  int64      // of them
	open    *sending   // whose body is being written
	broken  error      // of a write
	unmeant error      // PIPELINING was not meant: a command of a group was refused for its place
	trial   int        // see rides: 1: a message was taken that came by BDAT; 2: and the reply behind it was to its command

	answered bool // a step of the group; it ends when all replies are in
	behind   bool // that was the end of a message
	rode     bool // the peer has answered what rode behind the end of a message
}

// A step is a command, and what to do with its reply.
type step struct {
	of    *sending
	line  string // as it goes out; "" for the end of a message
	phase string
	got   func(mail.Reply)
	at    int // where it ends in out
}

func (s *sending) step(line string, got func(mail.Reply)) step {
	phase, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	return step{of: s, line: line, phase: phase, got: got}
}

// SendAll hands over the messages that next gives, until it has none, and has the Done of
// each called with its replies: by the time that SendAll returns, and in order but for
// those that the peer cannot have. With an error the conversation is over, as with Send's;
// messages that the peer had to their end are in doubt. After a 421 the error is that
// reply, and what the peer has not answered before it is not with it.
//
// To a peer with PIPELINING the sender, the recipients and DATA of a message ride behind
// the final dot of the one before (RFC 2920 §3.1): a round trip for each. With CHUNKING,
// too, whole messages ride one behind the other (RFC 3030 §4.2).
//
// Next is asked when what the message before has of Body is read.
func (c *Client) SendAll(ctx context.Context, next func() (Outgoing, bool)) error {
	if c.err != nil {
		return c.err
	}
	defer context.AfterFunc(ctx, func() { c.peer.Close() })()
	err := cmp.Or(c.sendEach(next), c.pipe.unmeant)
	c.abandon(err)
	if saidSo(err) {
		return err
	}
	return c.end(ctx, err)
}

func (c *Client) sendEach(next func() (Outgoing, bool)) error {
	for {
		m, ok := next()
		if !ok {
			return c.drain()
		}
		s := &sending{Client: c, m: m, replies: make([]mail.Reply, len(m.To))}
		c.pipe.under = append(c.pipe.under, s)
		c.pipe.octets += m.Size
		if r := s.cannotTake(); r.Code != 0 {
			s.fillReplies(r)
			s.complete()
			continue
		}
		err := c.makeRoom(m)
		if err == nil {
			err = s.send()
		}
		if err == nil && (m.Alone || c.rides() && c.pipe.trial < 2) {
			err = c.drain()
		}
		switch {
		case err != nil:
			return err
		case c.pipe.unmeant != nil:
			return c.drain()
		}
		if s.answered && slices.ContainsFunc(s.replies, mail.Reply.Positive) {
			c.pipe.trial = max(c.pipe.trial, 1)
		}
	}
}

// rides says that whole messages go out one behind the other. Over a line that takes one
// command of a record they do not: who reads so finds the end of a body after 354 only.
//
// Where all replies are 250, one too many has that of a recipient stand for the message's. So
// the first messages of a conversation go one by one: one by BDAT, and behind it one by DATA,
// whose 354 is like no other reply. Those behind these ride.
func (c *Client) rides() bool {
	return c.Supports("PIPELINING") && c.Supports("CHUNKING") && !c.opts.LineWrites && !c.opts.LMTP
}

// makeRoom takes replies until m may go out, too.
func (c *Client) makeRoom(m Outgoing) error {
	p := &c.pipe
	if m.Alone {
		return c.drain()
	}
	for len(p.asked) > 0 && (len(p.under) > maxRiding || p.octets > maxRidingOctets) {
		do := c.take
		if p.unsent > 0 {
			do = c.flush
		}
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// ask has a command go out. It waits for the reply where the peer does not take groups,
// and for all of them where too many are to come.
func (s *sending) ask(st step) error {
	s.pipe.out = append(s.pipe.out, st.line...)
	s.asks(st)
	most := maxGroup
	if s.rides() {
		most = maxAsked
	}
	switch {
	case !s.Supports("PIPELINING"), len(s.pipe.asked) >= most:
		return s.drain()
	case s.opts.LineWrites:
		return s.flush()
	}
	return nil
}

// asks notes that the reply of st comes when what stands in out is sent.
func (c *Client) asks(st step) {
	st.at = len(c.pipe.out)
	c.pipe.asked = append(c.pipe.asked, st)
	c.pipe.unsent++
}

// flushFull writes if it is worth it.
func (c *Client) flushFull() error {
	if len(c.pipe.out) < flushSize {
		return nil
	}
	return c.flush()
}

// flush writes what is to go out, after it has taken the replies that are there.
func (c *Client) flush() error {
	p := &c.pipe
	if err := c.unasked(); err != nil || len(p.out) == 0 {
		return err
	}
	sent := p.asked[len(p.asked)-p.unsent:]
	limit := c.opts.Timeouts.DataBlock
	switch {
	case p.open != nil:
		c.peer.phase = mail.AtBody
	case len(sent) > 0 && !c.rides():
		c.peer.phase, limit = sent[0].phase, c.opts.Timeouts.Command
	}
	n, err := c.peer.send(p.out, limit)
	for _, st := range sent {
		if st.at > n { // the peer has not all of it
			break
		}
		if st.phase == mail.AfterDot {
			st.of.ended = true
			if p.open == st.of {
				p.open = nil
			}
		}
		if st.line != "" {
			c.peer.logCommand(st.line)
		}
	}
	if err != nil {
		return c.breakOff(err)
	}
	p.out, p.unsent = p.out[:0], 0
	return nil
}

// breakOff takes what the peer has said before it stopped to read: perhaps it said why.
func (c *Client) breakOff(cause error) error {
	p := &c.pipe
	p.broken = cause
	late := !errors.Is(cause, os.ErrDeadlineExceeded)
	for len(p.asked) > 0 && (late || c.peer.hasReply()) {
		if err := c.take(); err != nil {
			return err
		}
	}
	if s := p.open; s != nil && late {
		if r, err := c.peer.answer(lateReplyTimeout); err == nil && (r.Temporary() || r.Permanent()) {
			return c.leave(s, r)
		}
	}
	return cause
}

// drain writes what is to go out, and takes all replies.
func (c *Client) drain() error {
	if err := c.flush(); err != nil {
		return err
	}
	for len(c.pipe.asked) > 0 {
		if err := c.take(); err != nil {
			return err
		}
	}
	return nil
}

// take takes the reply to the first command that has none.
func (c *Client) take() error {
	p := &c.pipe
	st := p.asked[0]
	p.asked = p.asked[1:]
	p.unsent = min(p.unsent, len(p.asked))
	c.peer.phase = st.phase
	begin := time.Now()
	r, err := c.peer.answer(c.replyLimit(st))
	isData := st.line == "DATA\r\n"
	if err != nil || r.Code == 421 {
		c.stuck = p.answered && p.broken == nil && !(p.behind && p.rode) && st.line != "" &&
			(errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) >= idleTime)
	}
	switch {
	case err != nil:
		return errors.Join(p.broken, err)
	case r.Code == 421:
		return c.leave(st.of, r)
	case isData != (r.Code == 354) && !r.Temporary() && !r.Permanent(), r.Code/100 == 3 && r.Code != 354:
		return &PhaseError{st.phase, fmt.Errorf("%w: %.60q to %.60q", ErrProtocol, r.String(), st.what())}
	case st.phase == mail.AfterDot && !st.of.ended && r.Positive(), st.line == "RSET\r\n" && !r.Positive() && c.rides():
		return &PhaseError{st.phase, fmt.Errorf("%w: %.60q to %.60q", ErrProtocol, r.String(), st.what())}
	}
	if isData && r.Code == 354 {
		p.trial = 2
	}
	if r.Code == 503 && st.inPlace() && (p.answered || len(p.asked) > 0) {
		c.stuck = true
		p.unmeant = &PhaseError{st.phase, fmt.Errorf("the host offers PIPELINING, and says %.60q to %.60q", r.String(), st.what())}
		r = mail.Reply{Code: 451, Enhanced: "5.1", Text: "the host takes no commands in groups, which it offers; it said " + r.String(), Phase: st.phase}
	}
	p.rode = p.rode || p.behind
	p.answered, p.behind = len(p.asked) > 0, len(p.asked) > 0 && (p.behind || st.phase == mail.AfterDot)
	st.got(r)
	return nil
}

// inPlace says that the peer has taken what has to come before the command.
func (st step) inPlace() bool {
	s := st.of
	switch {
	case st.phase == "MAIL":
		return true
	case st.phase == "RCPT":
		return s.mail.Positive()
	}
	return len(s.accepted) > 0 && s.refused.Code == 0 && st.line != "" && st.phase != "RSET"
}

// what names the step in errors.
func (st step) what() string {
	if st.phase == mail.AfterDot {
		return "the message"
	}
	return st.line
}

// replyLimit is the time for the reply to st.
func (c *Client) replyLimit(st step) time.Duration {
	t := &c.opts.Timeouts
	limit := t.Command
	switch {
	case st.phase == mail.AfterDot || st.phase == mail.AtBody:
		limit = t.DataDone
	case st.line == "DATA\r\n":
		limit = min(limit, t.DataInit)
	}
	if c.pipe.broken != nil {
		limit = min(limit, lateReplyTimeout)
	}
	return limit
}

// unasked takes the replies that are there. Who has said more than the commands ask for
// that were sent answers the next ones with what belongs to others; a 421 may come at any
// time (RFC 5321 §3.8), and a refusal of the message before its end: nobody can have taken it.
func (c *Client) unasked() error {
	p := &c.pipe
	for c.peer.hasReply() && len(p.asked) > p.unsent {
		if err := c.take(); err != nil {
			return err
		}
	}
	if len(p.asked) > p.unsent || !c.peer.hasReply() { // what comes now was asked for
		return nil
	}
	r, err := c.peer.answer(lateReplyTimeout)
	switch {
	case err != nil:
		return err
	case p.open != nil && len(p.open.accepted) > 0 && (r.Temporary() || r.Permanent()):
		return c.leave(p.open, r)
	case p.open != nil:
		return &PhaseError{mail.AtBody, fmt.Errorf("%w: %.60q before the message", ErrProtocol, r.String())}
	case r.Code == 421 && len(p.under) > 0:
		return c.leave(p.under[0], r)
	case r.Code == 421:
		return c.leave(&sending{}, r)
	}
	return &PhaseError{c.peer.phase, fmt.Errorf("%w: %.60q before it was asked", ErrProtocol, r.String())}
}

// leave ends the conversation by a reply: the message s is not with the peer, and those
// behind it are not where the peer hangs up. One that goes on may take what it has.
func (c *Client) leave(s *sending, r mail.Reply) error {
	if c.peer.phase == mail.AfterDot {
		s.fillReplies(r)
	}
	ended := func(u *sending) bool {
		return u.ended && slices.ContainsFunc(u.replies, func(r mail.Reply) bool { return r.Code == 0 })
	}
	if slices.ContainsFunc(c.pipe.under, ended) && !c.hangsUp() {
		for _, u := range c.pipe.under {
			u.doubt(r, false)
		}
	}
	s.fillReplies(r)
	c.err = r
	c.Close()
	return r
}

// hangsUp says that nothing comes from the peer but the end.
func (c *Client) hangsUp() bool {
	_, err := c.peer.answer(lateReplyTimeout)
	for _, other := range []error{os.ErrDeadlineExceeded, ErrProtocol, net.ErrClosed, io.ErrClosedPipe} {
		if errors.Is(err, other) {
			return false
		}
	}
	return err != nil
}

// saidSo says that the conversation ended by a reply, which a message has.
func saidSo(err error) bool {
	_, ok := err.(mail.Reply)
	return ok
}

// abandon tells what is known of the messages that err has ended.
func (c *Client) abandon(err error) {
	for first := true; len(c.pipe.under) > 0; first = false {
		s := c.pipe.under[0]
		if !saidSo(err) {
			s.doubt(err, first)
		}
		s.complete()
	}
}
