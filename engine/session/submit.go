// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"slices"
	"time"

	"restante/engine/mail"
	"restante/engine/session/header"
)

// A Submission is a message of this machine's administrator that came by no
// connection.
type Submission struct {
	ID       mail.MessageID
	From     mail.Address
	To       []mail.Address
	Text     io.Reader   // its lines end in CRLF
	Foreign  bool        // another host's mail that only passes through: it is not signed
	EightBit func() bool // whether Text has octets beyond ASCII; asked when it was read to its end
}

// Submit takes a message in under a policy. It may go to any domain; the limits
// of a message are those of one that a caller sends. Date and Message-ID are
// added where it lacks them (RFC 6409 §8). The reply is positive when the
// message is on stable storage, temporary if it can be submitted again, and else
// permanent.
func Submit(ctx context.Context, p *Policy, deps Deps, m Submission) mail.Reply {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	s := &Session{policy: p, under: p, deps: deps, caller: noCaller{}, submitted: true}
	env := mail.Envelope{ID: m.ID, From: m.From, Received: time.Now()}
	seen := map[mail.Address]bool{}
	for _, to := range m.To {
		if seen[to] {
			continue
		}
		seen[to] = true
		d := p.Decide(ctx, AtRcpt, AtRcpt, Question{To: to, Recipients: len(env.To), Submitted: true, CheckQuota: deps.CheckQuota})
		if d.Rule == RecipientLimit { // there is no other transaction for the rest
			d.Reply.Code = 552
		}
		if !d.Accepted() {
			return d.Reply
		}
		env.To = append(env.To, mail.Recipient{Address: to})
	}
	env.UTF8 = beyondASCII(env.From, env.To)
	env.To = p.stored(env.To)
	if len(env.To) == 0 {
		return mail.Reply{Code: 554, Enhanced: "5.1", Text: "No valid recipients"}
	}
	return s.submit(ctx, m, env)
}

// beyondASCII reports whether an envelope needs SMTPUTF8 (RFC 6531).
func beyondASCII(from mail.Address, to []mail.Recipient) bool {
	return !from.ASCII() || slices.ContainsFunc(to, func(r mail.Recipient) bool { return !r.Address.ASCII() })
}

// submit shows a message to the filter, and stores it.
func (s *Session) submit(ctx context.Context, m Submission, env mail.Envelope) mail.Reply {
	var f Filter
	if s.policy.Filter != nil {
		first := env
		first.To = nil
		f = s.policy.Filter(Transaction{Envelope: first, Hostname: s.policy.Hostname, Journal: s.deps.Journal})
		defer f.Close()
		for _, to := range env.To {
			if r := f.Recipient(ctx, to); r.Code != 0 {
				return r
			}
		}
	}
	in, r := s.inspect(ctx, s.meter(m.Text), &env, f, env.To, submittedFields(s.policy.Hostname, env))
	defer in.end()
	if !r.Positive() || in.discard {
		return r
	}
	text, utf8Header := scanned(in.text, env)
	b, r := s.draft(ctx, s.signing(!m.Foreign, env), submissionTrace(s.policy.Hostname, env), text, in.complete...)
	if !r.Positive() {
		return r
	}
	env.UTF8Header = utf8Header()
	env.Body8Bit = m.EightBit()
	return s.accept(ctx, b, env)
}

// submittedFields are those that a submitted message gets where it lacks them
// (RFC 6409 §8). What only passes through stays as it is.
func submittedFields(hostname string, env mail.Envelope) []*header.Field {
	return []*header.Field{
		{Name: "Date", Value: env.Received.Format(dateTime)},
		{Name: "Message-ID", Value: "<" + string(env.ID) + "@" + hostname + ">"},
	}
}

// noCaller is the Caller of a submission.
type noCaller struct{}

func (noCaller) Hello() string                    { return "" }
func (noCaller) TLS() (tls.ConnectionState, bool) { return tls.ConnectionState{}, false }
func (noCaller) Account() string                  { return "" }
func (noCaller) SignIn(string)                    {}
