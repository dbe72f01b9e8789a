// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"restante/engine/mail"
	"restante/engine/session/header"
	"restante/engine/wire/params"
)

// Data takes the message in: our trace header first, then the body as it comes.
func (s *Session) Data(ctx context.Context, body io.Reader) mail.Reply {
	if s.tx == nil || len(s.tx.to) == 0 {
		return s.refused(ctx, "DATA", "", mail.Reply{Code: 554, Enhanced: "5.1", Text: "No valid recipients"})
	}
	if r := s.recheckRecipients(ctx); !r.Positive() {
		return s.refused(ctx, "DATA", "", r)
	}
	env := s.envelope()
	m := s.meter(body)
	defer func() { s.octets += m.octets }()
	var complete []*header.Field
	submitted := s.tx.relayed || env.Account != ""
	if submitted {
		complete = submittedFields(s.policy.Hostname, env)
	}
	defer s.endFilter()
	in, r := s.inspect(ctx, m, &env, s.tx.filter, s.tx.to, complete)
	defer in.end()
	if !r.Positive() {
		return s.refused(ctx, "DATA", string(env.ID), r)
	}
	if in.discard {
		return queued(env.ID)
	}
	tls, _ := s.caller.TLS()
	text, utf8Header := scanned(in.text, env)
	b, r := s.draft(ctx, s.signing(submitted, env), in.fields+trace(s.policy.Hostname, s.traceClient(env), env, s.extended, tls), text, in.complete...)
	if r.Positive() {
		env.UTF8Header = utf8Header()
		r = s.accept(ctx, b, env)
	}
	if r.Positive() {
		s.noteRewritten(ctx, env.ID)
	}
	if !r.Positive() {
		return s.refused(ctx, "DATA", string(env.ID), r)
	}
	return r
}

// scanned is a message that is looked through on its way, and whether it had a header
// beyond ASCII: one without SMTPUTF8 is not looked through, and goes as it came.
func scanned(text io.Reader, env mail.Envelope) (io.Reader, func() bool) {
	if !env.UTF8 {
		return text, func() bool { return false }
	}
	var s header.Scanner
	return io.TeeReader(text, &s), s.Found
}

// draft takes a message in behind its trace field, with the fields of complete
// that its header lacks. It is signed by sign, unless that is nil.
func (s *Session) draft(ctx context.Context, sign Signing, trace string, body io.Reader, complete ...*header.Field) (Body, mail.Reply) {
	b, err := s.deps.Intake.Create(ctx)
	if err != nil {
		if sign != nil {
			sign.Close()
		}
		return nil, s.fault(ctx, "create", err)
	}
	if sign != nil {
		b = signedBody{b, sign}
	}
	r := s.stream(ctx, b, trace, body, complete)
	if !r.Positive() {
		b.Abort()
	}
	return b, r
}

func (s *Session) accept(ctx context.Context, b Body, env mail.Envelope) mail.Reply {
	defer b.Abort()
	env.Size, env.HeaderID = b.Size(), s.headerID
	if err := b.Accept(ctx, env); err != nil {
		return s.fault(ctx, "accept", err)
	}
	// From here on the message is ours: a crash must not lose it.
	return queued(env.ID)
}

// noteRewritten writes down which recipients were not queued as the caller named them.
func (s *Session) noteRewritten(ctx context.Context, id mail.MessageID) {
	if s.policy.Stored == nil {
		return
	}
	for _, to := range s.tx.to {
		if is := s.policy.Stored(to.Address); is != to.Address {
			s.deps.Journal.Rewritten(ctx, id, to.Address, is)
		}
	}
}

func queued(id mail.MessageID) mail.Reply {
	return mail.Reply{Code: 250, Enhanced: "6.0", Text: string(id) + " queued for delivery"}
}

// recheckRecipients refuses a message one of whose recipients would be refused
// under the rights that are in force since.
func (s *Session) recheckRecipients(ctx context.Context) mail.Reply {
	q := s.question()
	if s.tx.under == s.under {
		return ok
	}
	q.Size = s.tx.from.Size
	for _, rcpt := range s.tx.to {
		q.To = rcpt.Address
		if d := s.policy.Decide(ctx, AtVerb, AtRcpt, q); !d.Accepted() {
			return d.Reply
		}
	}
	return ok
}

func (s *Session) envelope() mail.Envelope {
	at := time.Now()
	_, secure := s.caller.TLS()
	return mail.Envelope{
		ID: s.newID(at), From: s.tx.from.From, To: s.policy.stored(s.tx.to), Received: at,
		Body8Bit: s.tx.from.Body8, Ret: s.tx.from.Ret, EnvID: s.tx.from.EnvID,
		RequireTLS: s.tx.from.RequireTLS, Priority: s.tx.from.Priority, HoldUntil: s.tx.from.HoldUntil,
		UTF8: s.tx.from.UTF8, Binary: s.tx.from.Binary, By: s.tx.from.By,
		Client: s.remote, Helo: s.caller.Hello(), Account: s.caller.Account(), TLS: secure, Session: s.deps.ID,
	}
}

// A storeError is an error of our own side of the copy.
type storeError struct{ error }

// stream writes the trace header and the body, within the limits.
func (s *Session) stream(ctx context.Context, b Body, trace string, body io.Reader, complete []*header.Field) mail.Reply {
	if _, err := io.WriteString(b, trace); err != nil {
		return s.fault(ctx, "write", err)
	}
	m := &headerWriter{limits: s.policy.Limits, header: header.NewWriter(b, complete...)}
	if m.limits.OwnHops > 0 {
		m.header.Trace = func(field []byte) {
			if ownTrace(field, s.policy.Hostname) {
				m.own++
			}
		}
	}
	_, err := io.Copy(m, body)
	if closeErr := m.header.Close(); err == nil && closeErr != nil {
		err = storeError{closeErr}
	}
	s.headerID = m.header.MessageID()
	if err == nil { // the last field may be one
		err = m.circles()
	}
	if err == nil {
		return ok
	}
	return s.incomplete(ctx, err)
}

// incomplete answers an error of a copy.
func (s *Session) incomplete(ctx context.Context, err error) mail.Reply {
	var over limitError
	var own storeError
	var formReply mail.Reply
	switch {
	case errors.As(err, &over):
		return over.reply
	case errors.As(err, &own):
		return s.fault(ctx, "write", own.error)
	case errors.As(err, &formReply): // wire's, about the form of the message
		return formReply
	}
	// The caller is gone or too slow: the reply is for the log.
	return mail.Reply{Code: 451, Enhanced: "4.2", Text: "Message incomplete", Cause: err}
}

// fault answers an error of the store. The caller learns nothing of it.
func (s *Session) fault(ctx context.Context, doing string, err error) mail.Reply {
	if r := (mail.Reply{}); errors.As(err, &r) {
		return r
	}
	s.deps.Log.ErrorContext(ctx, "take a message in", "doing", doing, "err", err)
	return mail.Reply{Code: 451, Enhanced: "3.0", Text: "Cannot store the message now, try again later", Cause: err}
}

type limitError struct{ reply mail.Reply }

func (e limitError) Error() string { return e.reply.String() }

// A meter reads a message within the limits of size.
type meter struct {
	message io.Reader
	limits  Limits
	before  int64 // octets of earlier messages
	octets  int64
}

func (s *Session) meter(body io.Reader) *meter {
	return &meter{message: body, limits: s.policy.Limits, before: s.octets}
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.message.Read(p)
	m.octets += int64(n)
	if limit := m.limits.messageSize(); m.octets > limit {
		return 0, limitError{params.TooBig(limit)}
	}
	if m.limits.full(m.before, m.octets) {
		return 0, limitError{sessionFull}
	}
	return n, err
}

// A headerWriter passes a message on that does not run in circles.
type headerWriter struct {
	limits Limits
	own    int // Received fields of ours
	header header.Writer
}

func (m *headerWriter) Write(p []byte) (int, error) {
	if err := m.header.Write(p); err != nil {
		return 0, storeError{err}
	}
	if err := m.circles(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// circles refuses a message that has passed too many hosts, or this one too often. A few
// times is common: by an alias, a filter, a mailing list.
func (m *headerWriter) circles() error {
	if m.limits.Hops > 0 && m.header.Received() > m.limits.Hops {
		return limitError{mail.Reply{Code: 554, Enhanced: "4.6", Text: "Hop count exceeded - possible mail loop"}}
	}
	if m.own > 0 && m.own > m.limits.OwnHops {
		return limitError{mail.Reply{
			Code: 554, Enhanced: "4.6", Text: "Mail loop: the message has come through here too often",
			Cause: fmt.Errorf("MaxOwnHops is %d", m.limits.OwnHops),
		}}
	}
	return nil
}
