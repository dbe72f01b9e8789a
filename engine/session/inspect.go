// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"io"

	"restante/engine/mail"
)

// An Arrival is a message that has come whole and is not ours yet.
type Arrival struct {
	Envelope mail.Envelope
	Open     func() io.Reader // the message as it came, from its beginning
}

// An Opinion is what was found about an Arrival.
type Opinion struct {
	Refuse mail.Reply // the zero Reply: it is taken,
	Fields string     // with these fields of the header on top, each with its line end,
	Text   io.Reader  // as this; nil: as it came
}

// An inspected message is what is to be stored of one that was inspected.
type inspected struct {
	text   io.Reader
	fields string // for the top of its header
	draft  Body   // that text is in; nil: none
}

func (i inspected) end() {
	if i.draft != nil {
		i.draft.Abort()
	}
}

// inspect has a message inspected where the policy asks for that. Until then it is
// in a draft, which takes no more memory than others. Mail of those who may relay is
// not inspected: they submit it. The caller ends what it gets, refused or not.
func (s *Session) inspect(ctx context.Context, body io.Reader, env mail.Envelope) (inspected, mail.Reply) {
	if s.policy.Inspect == nil || s.policy.trusts(s.question()) {
		return inspected{text: body}, ok
	}
	draft, err := s.deps.Intake.Create(ctx)
	if err != nil {
		return inspected{}, s.fault(ctx, "create", err)
	}
	out := inspected{draft: draft}
	if _, err := io.Copy(storeWriter{draft}, body); err != nil {
		return out, s.incomplete(ctx, err)
	}
	found := s.policy.Inspect(ctx, Arrival{Envelope: env, Open: draft.Reader})
	if found.Refuse.Code != 0 {
		for _, to := range s.tx.to {
			found.Refuse = s.policy.soften(to.Address.Domain, found.Refuse)
		}
		return out, found.Refuse
	}
	if out.text, out.fields = found.Text, found.Fields; out.text == nil {
		out.text = draft.Reader()
	}
	return out, ok
}

// A storeWriter marks errors as our own.
type storeWriter struct{ io.Writer }

func (w storeWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = storeError{err}
	}
	return n, err
}

// trusts reports whether a caller has signed in, or may send to any domain by its
// address.
func (p *Policy) trusts(q Question) bool {
	return q.Submitted || q.Account != "" || p.Domains.Relay("").grants(q.Client.Unmap(), q.Host.lookup())
}
