// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"crypto/tls"
	"io"
	"net/netip"
	"time"

	"restante/engine/journal"
	"restante/engine/mail"
)

// A Filter is shown one message as it comes. Its methods are called in the order in
// which they stand here, Recipient for each recipient that the Policy accepts.
type Filter interface {
	// Recipient refuses a recipient, or the message at each of them; the zero Reply: it
	// does not.
	Recipient(ctx context.Context, to mail.Recipient) mail.Reply

	// Message decides about the message when it has come whole.
	Message(ctx context.Context, m Arrival) Verdict

	// Close ends it, at any point.
	Close()
}

// A Transaction is what is known of a message before its recipients.
type Transaction struct {
	Envelope      mail.Envelope  // without recipients
	Hostname      string         // ours
	Local, Remote netip.AddrPort // the ends of the connection; zero for a submission, which has none
	Names         Names          // of the client; nil: it has none
	TLS           *tls.ConnectionState
	Mechanism     string // of the sign-in
	Journal       *journal.Journal
}

// A Verdict is what a Filter decides about a message.
type Verdict struct {
	Refuse     mail.Reply       // the zero Reply: it is taken,
	Discard    bool             // and goes nowhere,
	Quarantine string           // or waits for an administrator, who is told this,
	From       mail.Address     // from this sender
	To         []mail.Recipient // to these
	Open       func() io.Reader // as this
}

// openFilter gives the filter of the transaction, which begins with its first
// recipient; nil where there is none.
func (s *Session) openFilter() Filter {
	if s.tx.filter == nil && s.policy.Filter != nil {
		env := s.envelope()
		s.tx.id = env.ID
		t := Transaction{
			Envelope: env, Hostname: s.policy.Hostname, Local: s.deps.Local, Remote: s.deps.Remote,
			Names: s.deps.Host.lookup(), Journal: s.deps.Journal,
		}
		if state, secure := s.caller.TLS(); secure {
			t.TLS = &state
		}
		if proof := s.proof.Load(); proof != nil {
			t.Mechanism = proof.mechanism
		}
		s.tx.filter = s.policy.Filter(t)
	}
	return s.tx.filter
}

// filter has the filter of the transaction decide, and puts what it changes into env.
// Refused recipients are those of env.
func (s *Session) filter(ctx context.Context, f Filter, m Arrival, env *mail.Envelope) (Verdict, mail.Reply) {
	m.Create, m.Limit = func() (Body, error) { return s.deps.Intake.Create(ctx) }, s.policy.Limits.messageSize()
	v := f.Message(ctx, m)
	if v.Refuse.Code != 0 {
		for _, to := range m.Envelope.To {
			v.Refuse = s.policy.soften(to.Address.Domain, v.Refuse)
		}
		return v, v.Refuse
	}
	env.From, env.To, env.Quarantine = v.From, s.policy.stored(v.To), v.Quarantine
	env.UTF8 = env.UTF8 || beyondASCII(v.From, v.To)
	return v, ok
}

// endFilter ends the filter of the transaction.
func (s *Session) endFilter() {
	if s.tx != nil && s.tx.filter != nil {
		s.tx.filter.Close()
		s.tx.filter = nil
	}
}

// newID is that of the message of the transaction.
func (s *Session) newID(at time.Time) mail.MessageID {
	if s.tx.id == "" {
		s.tx.id = mail.NewMessageID(at)
	}
	return s.tx.id
}
