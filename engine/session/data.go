// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"io"

	"restante/engine/mail"
)

// Data takes the message in: our trace header first, then the body as it comes.
func (s *Session) Data(ctx context.Context, body io.Reader) mail.Reply {
	if s.tx == nil || len(s.tx.to) == 0 {
		return s.refused(ctx, "DATA", "", mail.Reply{Code: 554, Enhanced: "5.1", Text: "no valid recipients"})
	}
	env := s.envelope()
	b, err := s.deps.Intake.Create(ctx)
	if err != nil {
		return s.refused(ctx, "DATA", "", s.fault(ctx, "create", err))
	}
	defer b.Abort()
	if r := s.stream(ctx, b, body, env); !r.Positive() {
		return s.refused(ctx, "DATA", string(env.ID), r)
	}
	env.Size = b.Size()
	if err := b.Accept(ctx, env); err != nil {
		return s.refused(ctx, "DATA", string(env.ID), s.fault(ctx, "accept", err))
	}
	// From here on the message is ours: a crash must not lose it.
	s.taken++
	return mail.Reply{Code: 250, Enhanced: "6.0", Text: string(env.ID) + " queued"}
}

func (s *Session) envelope() mail.Envelope {
	at := now()
	_, secure := s.caller.TLS()
	return mail.Envelope{
		ID: mail.NewMessageID(at), From: s.tx.from.From, To: s.tx.to, Received: at,
		Body8Bit: s.tx.from.Body8, Ret: s.tx.from.Ret, EnvID: s.tx.from.EnvID,
		Client: s.remote, Helo: s.caller.Hello(), Account: s.caller.Account(), TLS: secure,
	}
}

// errStore marks an error of our own side of the copy.
type errStore struct{ error }

// stream writes the trace header and the body, within the limits.
func (s *Session) stream(ctx context.Context, b Body, body io.Reader, env mail.Envelope) mail.Reply {
	tls, _ := s.caller.TLS()
	if _, err := io.WriteString(b, trace(s.policy.Hostname, env, s.extended, tls)); err != nil {
		return s.fault(ctx, "write", err)
	}
	m := &meter{to: b, size: s.policy.Limits.Size, session: s.policy.Limits.Session, before: s.octets, hops: s.policy.Limits.Hops}
	_, err := io.Copy(m, body)
	s.octets += m.octets
	var over limitError
	var own errStore
	var word mail.Reply
	switch {
	case err == nil:
		return ok
	case errors.As(err, &over):
		return over.reply
	case errors.As(err, &own):
		return s.fault(ctx, "write", own.error)
	case errors.As(err, &word): // wire's, about the form of the message
		return word
	}
	// The caller is gone, or went silent: nobody reads this.
	return mail.Reply{Code: 451, Enhanced: "4.2", Text: "the message did not come whole", Cause: err}
}

// fault answers an error of the store. The caller learns nothing of it.
func (s *Session) fault(ctx context.Context, doing string, err error) mail.Reply {
	if r := (mail.Reply{}); errors.As(err, &r) {
		return r
	}
	s.deps.Log.ErrorContext(ctx, "take a message in", "doing", doing, "err", err)
	return mail.Reply{Code: 451, Enhanced: "3.0", Text: "cannot store the message now; try again later", Cause: err}
}

type limitError struct{ reply mail.Reply }

func (e limitError) Error() string { return e.reply.String() }

// A meter passes a message on and counts what is limited.
type meter struct {
	to      io.Writer
	size    int64
	session int64
	before  int64 // octets of earlier messages
	hops    int

	octets   int64
	received receivedCounter
}

func (m *meter) Write(p []byte) (int, error) {
	m.octets += int64(len(p))
	if m.size > 0 && m.octets > m.size {
		return 0, limitError{tooBig}
	}
	if m.session > 0 && m.before+m.octets > m.session {
		if m.before == 0 {
			return 0, limitError{tooBig} // no session has room for it
		}
		return 0, limitError{sessionFull}
	}
	if m.received.feed(p); m.hops > 0 && m.received.count > m.hops {
		return 0, limitError{mail.Reply{Code: 554, Enhanced: "4.6", Text: "too many hops: this message runs in circles"}}
	}
	n, err := m.to.Write(p)
	if err != nil {
		return n, errStore{err}
	}
	return n, nil
}

// A receivedCounter counts the Received fields of a header that comes in
// pieces cut anywhere.
type receivedCounter struct {
	count int

	done bool // the header is over
	line int  // octets of this line so far
	same int  // how many of them spell the field's name; -1: another field
}

const receivedName = "received"

func (r *receivedCounter) feed(p []byte) {
	for _, c := range p {
		if r.done {
			return
		}
		r.octet(c)
	}
}

func (r *receivedCounter) octet(c byte) {
	switch {
	case c == '\n':
		r.done = r.line == 0
		r.line, r.same = 0, 0
		return
	case c == '\r' && r.line == 0:
		return // perhaps the empty line
	}
	r.line++
	switch {
	case r.same < 0:
	case r.same < len(receivedName):
		if c|0x20 == receivedName[r.same] && r.same == r.line-1 {
			r.same++
		} else {
			r.same = -1
		}
	case c == ':':
		r.count++
		r.same = -1
	case c != ' ' && c != '\t': // RFC 5322 §4.5: blanks may precede the colon
		r.same = -1
	}
}
