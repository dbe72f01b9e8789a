// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"io"

	"restante/engine/mail"
	"restante/engine/session/header"
)

// An Arrival is a message that has come whole and is not ours yet.
type Arrival struct {
	Envelope mail.Envelope
	Open     func() io.Reader // the message, from its beginning
	Size     int64            // octets of it

	Create func() (Body, error) // another draft, which its caller aborts; for a Filter
	Limit  int64                // octets of a message
}

// An Opinion is what was found about an Arrival.
type Opinion struct {
	Refuse mail.Reply       // the zero Reply: it is taken,
	Fields string           // with these fields of the header on top, each with its line end,
	Open   func() io.Reader // as this; nil: as it came
}

// An inspected message is what is to be stored of one that was inspected.
type inspected struct {
	text     io.Reader
	fields   string          // for the top of its header
	complete []*header.Field // that it may lack
	draft    Body            // that text is in; nil: none
	discard  bool            // nothing is to be stored
}

func (i inspected) end() {
	if i.draft != nil {
		i.draft.Abort()
	}
}

// inspect has a message inspected where the policy asks for that, and shown to the
// filter. Until then it is in a draft, which takes no more memory than others. Mail of those who may relay is
// not inspected: they submit it. The caller ends what it gets, refused or not.
func (s *Session) inspect(ctx context.Context, body io.Reader, env *mail.Envelope, f Filter, to []mail.Recipient, complete []*header.Field) (inspected, mail.Reply) {
	checks := s.policy.Inspect != nil && !s.policy.trusts(s.question())
	if !checks && f == nil {
		return inspected{text: body, complete: complete}, ok
	}
	draft, r := s.draft(ctx, nil, "", body, complete...)
	if !r.Positive() {
		return inspected{}, r
	}
	out := inspected{draft: draft}
	m := Arrival{Envelope: *env, Open: draft.Reader, Size: draft.Size()}
	if checks {
		found := s.policy.Inspect(ctx, m)
		if found.Refuse.Code != 0 {
			for _, one := range to {
				found.Refuse = s.policy.soften(one.Address.Domain, found.Refuse)
			}
			return out, found.Refuse
		}
		if out.fields = found.Fields; found.Open != nil {
			m.Open = found.Open
		}
	}
	if f != nil {
		m.Envelope.To = to
		v, r := s.filter(ctx, f, m, env)
		if !r.Positive() {
			return out, r
		}
		m.Open, out.discard = v.Open, v.Discard
	}
	out.text = m.Open()
	return out, ok
}

// trusts reports whether a caller has signed in, or may send to any domain by its
// address.
func (p *Policy) trusts(q Question) bool {
	return q.Submitted || q.Account != "" || p.Domains.Relay("").grants(q.Client.Unmap(), q.Host.lookup())
}
