// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"restante/engine/mail"
)

// send has the message go out. It may be complete, or wait for its last reply.
func (s *sending) send() error {
	steps := s.envelope()
	if s.rides() {
		s.reset = true
	}
	data := mail.Reply{}
	pipelined, chunked := s.Supports("PIPELINING"), s.m.Binary || s.rides() && s.pipe.trial != 1
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
	if chunked && s.rides() {
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
	if s.refused.Code != 0 {
		s.answered = true
		s.fillReplies(s.refused)
	}
	s.fillReplies(mail.Reply{Code: 451, Enhanced: "4.2", Text: "in doubt: the host has the whole message, and " + what, Phase: mail.AfterDot, Cause: err})
}
