// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	lateReplyTimeout = 5 * time.Second // for a reply to come from a peer that takes no more
)

// A pipeline is what goes to the peer, and what is to come from it.
type pipeline struct {
	out    []byte     // to be written
	asked  []step     // those whose replies are to come, in order;
	unsent int        // the last ones of them are still in out
	under  []*sending // messages that have no outcome yet
	octets int64      // of them
	open   *sending   // whose body is being written
	broken error      // of a write

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
	err := c.sendEach(next)
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
		if err == nil && m.Alone {
			err = c.drain()
		}
		if err != nil {
			return err
		}
	}
}

// rides says that whole messages go out one behind the other. Over a line that takes one
// command of a record they do not: who reads so finds the end of a body after 354 only.
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

// send has the message go out. It may be complete, or wait for its last reply.
func (s *sending) send() error {
	steps := s.envelope()
	if s.rides() {
		s.reset = true
	}
	data := mail.Reply{}
	pipelined, chunked := s.Supports("PIPELINING"), s.m.Binary || s.rides()
	if askData := s.step("DATA\r\n", func(r mail.Reply) { data = r }); len(steps) > 0 && !chunked && pipelined {
		steps = append(steps, askData)
	}
	for _, st := range steps {
		if err := s.ask(st); err != nil {
			return err
		}
		if s.mail.Code != 0 && !s.mail.Positive() && data.Code == 0 {
			steps = nil
			break
		}
	}
	if len(steps) == 0 {
		s.fillReplies(s.mail)
		s.complete()
		return nil
	}
	if s.rides() {
		return s.sendRiding()
	}
	if err := s.drain(); err != nil {
		return err
	}
	if chunked || !pipelined {
		if len(s.accepted) == 0 {
			s.fillReplies(s.mail) // no recipient is left where MAIL was accepted
			s.complete()
			return nil
		}
	}
	if chunked {
		return s.raw()
	}
	if !pipelined {
		if err := s.ask(s.step("DATA\r\n", func(r mail.Reply) { data = r })); err != nil {
			return err
		}
	}
	return s.message(data)
}

// sendRiding sends the chunks of a message whose envelope is out. Where that would be much for
// nothing, it waits for the replies to the envelope.
func (s *sending) sendRiding() error {
	s.peer.readWhileWriting()
	if s.m.Size > maxBlind {
		if err := s.drain(); err != nil {
			return err
		}
		if len(s.accepted) == 0 {
			s.fillReplies(s.mail)
			s.complete()
			return nil
		}
	}
	if s.m.Binary {
		return s.raw()
	}
	return s.copy(func(flush func() error) error {
		return s.Client.body.Chunks(func(b []byte, last bool) error {
			if s.refused.Code != 0 {
				return errChunkRefused
			}
			line := fmt.Sprintf("BDAT %d\r\n", len(b))
			if last {
				line = fmt.Sprintf("BDAT %d LAST\r\n", len(b))
			}
			s.pipe.out = append(append(s.pipe.out, line...), b...)
			if last {
				s.askEnd(line)
			} else {
				s.asks(step{of: s, line: line, phase: mail.AtBody, got: s.chunkReply})
			}
			return flush()
		}, s.m.Body)
	})
}

// errChunkRefused ends a message of which a chunk was refused.
var errChunkRefused = errors.New("a chunk was refused")

// chunkReply takes the reply to a chunk that is not the last one. A refusal is one of the
// whole message (RFC 3030 §2).
func (s *sending) chunkReply(r mail.Reply) {
	if !r.Positive() && s.refused.Code == 0 {
		s.refused = r
	}
}

// message goes on after the reply to DATA.
func (s *sending) message(data mail.Reply) error {
	switch {
	case data.Code == 354 && len(s.accepted) == 0:
		// RFC 2920 §3.1: the peer waits for a message without recipients.
		s.reset = false
		s.fillReplies(s.mail)
		if err := s.ask(step{of: s, line: ".\r\n", phase: mail.AfterDot, got: func(mail.Reply) { s.complete() }}); err != nil {
			return err
		}
		return s.drain()
	case data.Code != 354:
		if !s.mail.Positive() {
			data = s.mail
		}
		s.fillReplies(data) // no recipient is left where DATA was not sent
		s.complete()
		return nil
	}
	s.pipe.open, s.peer.phase = s, mail.AtBody
	if err := s.unasked(); err != nil {
		return err
	}
	err := s.copy(func(flush func() error) error {
		return s.Client.body.Copy(func(b []byte) error {
			if s.opts.LineWrites {
				if err := s.flush(); err != nil {
					return err
				}
			}
			s.pipe.out = append(s.pipe.out, b...)
			return flush()
		}, s.m.Body)
	})
	if err != nil {
		return err
	}
	s.reset = false
	s.askEnd("")
	switch {
	case !s.Supports("PIPELINING"):
		return s.drain()
	case s.opts.LineWrites:
		return s.flush()
	}
	return nil
}

// raw sends a binary message as one chunk.
func (s *sending) raw() error {
	s.pipe.open, s.peer.phase = s, mail.AtBody
	if !s.rides() {
		if err := s.unasked(); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("BDAT %d LAST\r\n", s.m.Size)
	s.pipe.out = append(s.pipe.out, line...)
	err := s.copy(func(flush func() error) error {
		n, err := io.Copy(writerFunc(func(b []byte) error {
			s.pipe.out = append(s.pipe.out, b...)
			return flush()
		}), io.LimitReader(s.m.Body, s.m.Size))
		if err == nil && n != s.m.Size {
			err = fmt.Errorf("body: %d octets instead of %d", n, s.m.Size)
		}
		return err
	})
	if err != nil {
		return err
	}
	if s.askEnd(line); !s.rides() {
		return s.drain()
	}
	return s.flushFull()
}

// askEnd notes that the end of the message, by line, is in out. LMTP has a reply for each
// accepted recipient (RFC 2033 §4.2).
func (s *sending) askEnd(line string) {
	s.asks(step{of: s, line: line, phase: mail.AfterDot, got: s.finalReply})
	for i := 1; s.opts.LMTP && i < len(s.accepted); i++ {
		s.asks(step{of: s, phase: mail.AfterDot, got: s.finalReply})
	}
}

// A writerFunc is an io.Writer that sends.
type writerFunc func([]byte) error

func (f writerFunc) Write(b []byte) (int, error) { return len(b), f(b) }

// copy has the body go out by write, which calls flush when there is more of it. If it
// cannot be read, the peer does not get its end, and those before it are not left in doubt.
func (s *sending) copy(write func(flush func() error) error) error {
	var broken error
	err := write(func() error {
		broken = s.flushFull()
		return broken
	})
	switch {
	case err == errChunkRefused:
		s.answered = true
		s.decide(s.refused)
		return nil
	case err == nil || broken != nil:
		return err
	}
	s.pipe.open = nil
	if r := s.drain(); saidSo(r) {
		return r
	}
	return err
}

// decide gives the recipients the reply to the message, if they have none.
func (s *sending) decide(r mail.Reply) {
	if !s.mail.Positive() {
		s.fillReplies(s.mail)
	}
	s.fillReplies(r) // nobody is left where no recipient was accepted
	s.complete()
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
	r, err := c.peer.answer(c.replyLimit(st))
	isData := st.line == "DATA\r\n"
	switch {
	case err != nil:
		c.stuck = p.answered && p.broken == nil && !(p.behind && p.rode) && errors.Is(err, os.ErrDeadlineExceeded) && st.line != ""
		return errors.Join(p.broken, err)
	case r.Code == 421:
		return c.leave(st.of, r)
	case isData != (r.Code == 354) && !r.Temporary() && !r.Permanent(), r.Code/100 == 3 && r.Code != 354:
		return &PhaseError{st.phase, fmt.Errorf("%w: %.60q to %.60q", ErrProtocol, r.String(), st.what())}
	case st.phase == mail.AfterDot && !st.of.ended && r.Positive(), st.line == "RSET\r\n" && !r.Positive() && c.rides():
		return &PhaseError{st.phase, fmt.Errorf("%w: %.60q to %.60q", ErrProtocol, r.String(), st.what())}
	}
	p.rode = p.rode || p.behind
	p.answered, p.behind = len(p.asked) > 0, len(p.asked) > 0 && (p.behind || st.phase == mail.AfterDot)
	st.got(r)
	return nil
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
	if !c.peer.hasReply() {
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

// leave ends the conversation by a reply: the message s is not with the peer.
func (c *Client) leave(s *sending, r mail.Reply) error {
	s.fillReplies(r)
	c.err = r
	c.Close()
	return r
}

// saidSo says that the conversation ended by a reply, which a message has.
func saidSo(err error) bool {
	_, ok := err.(mail.Reply)
	return ok
}

// finalReply takes the peer's reply to the message.
func (s *sending) finalReply(r mail.Reply) {
	s.answered = true
	s.peer.took.Store(time.Now().UnixNano())
	if s.opts.LMTP {
		for i := range s.accepted {
			if at := s.accepted[i]; s.replies[at].Code == 0 {
				s.replies[at] = r
				break
			}
		}
		if s.replies[s.accepted[len(s.accepted)-1]].Code == 0 {
			return
		}
	}
	if r.Positive() && s.last() {
		s.reset = false
	}
	if s.refused.Code != 0 {
		r = s.refused
	}
	s.decide(r)
}

// last says that nothing has gone out behind the message.
func (s *sending) last() bool {
	under := s.pipe.under
	return len(under) == 0 || under[len(under)-1] == s
}

// complete tells the outcome of the message.
func (s *sending) complete() {
	p := &s.pipe
	if i := slices.Index(p.under, s); i >= 0 {
		p.under = slices.Delete(p.under, i, i+1)
		p.octets -= s.m.Size
	}
	if s.m.Keep {
		s.keep()
	}
	if s.m.Done != nil {
		s.m.Done(s.replies)
	}
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

// doubt gives the recipients of a message that the peer has to its end a reply of our own: RFC
// 5321 §4.2.5 has it the peer's with its reply, and that is lost.
func (s *sending) doubt(err error, first bool) {
	if !s.ended {
		return
	}
	what := "its answer did not come"
	if first && errors.Is(err, ErrProtocol) {
		what = "its answer is no reply"
	}
	if s.mail.Code != 0 && !s.mail.Positive() {
		s.fillReplies(s.mail)
	}
	s.fillReplies(mail.Reply{Code: 451, Enhanced: "4.2", Text: "in doubt: the host has the whole message, and " + what, Phase: mail.AfterDot, Cause: err})
}
