// SPDX-License-Identifier: Apache-2.0

package site

import (
	"bytes"
	"context"

	"restante/engine/alert"
	"restante/engine/alert/digest"
	"restante/engine/mail"
	"restante/engine/release/calls"
	"restante/engine/session"
	"restante/internal/kv"
)

// newAlerts makes the watcher of the held domains whose mail is in m.
func (s *Site) newAlerts(m *mailQueue) *alert.Watcher {
	return alert.New(alert.Sources{
		Site: s.number, DB: m.DB, Log: s.log, Changed: s.deps.Changed, Names: m.queue.Below, Waiting: m.heldMail, Calls: m.hostCalls,
		Policy: func(d mail.Domain) alert.Policy {
			if of := s.config().Mail.Alerts; of != nil {
				return of(d)
			}
			return alert.Policy{}
		},
		Submit: func(ctx context.Context, d digest.Digest, op kv.Op) mail.Reply { return s.submitDigest(ctx, m, d, op) },
	})
}

// mailCame has the watcher look at a held domain.
func (s *Site) mailCame(d mail.Domain) {
	s.mu.Lock()
	m := s.mail
	s.mu.Unlock()
	if m != nil {
		m.alerts.Came(d)
	}
}

// submitDigest sends a digest. Where an owner is refused, the others are told alone.
func (s *Site) submitDigest(ctx context.Context, m *mailQueue, d digest.Digest, op kv.Op) mail.Reply {
	ops := []kv.Op{op}
	r := s.submitDigestTo(ctx, m, d, ops)
	if r.Positive() || r.Temporary() || len(d.To) == 1 {
		return r
	}
	owners := d.To
	for _, to := range owners {
		d.To, d.ID = []mail.Address{to}, mail.NewMessageID(d.At)
		switch one := s.submitDigestTo(ctx, m, d, ops); {
		case one.Positive():
			r, ops = one, nil
		default:
			s.log.Warn("a digest cannot be sent to an owner: see HoldOwner", "domain", d.Domain, "to", to, "err", one)
		}
	}
	return r
}

// submitDigestTo sends one with the null sender, so that nothing answers it, and stores ops with it.
func (s *Site) submitDigestTo(ctx context.Context, m *mailQueue, d digest.Digest, ops []kv.Op) mail.Reply {
	cfg := s.config()
	text := cfg.signed(digest.Build(d, digest.From{Name: cfg.Mail.From.Name, Address: cfg.Mail.From.Address, Host: cfg.Wire.Hostname}))
	return session.Submit(ctx, &cfg.Session, session.Deps{
		Intake: intake{m.queue, s, ops}, CheckQuota: m.queue.CheckQuota, Journal: s.deps.Journal, Log: s.log,
	}, session.Submission{ID: d.ID, To: d.To, Text: bytes.NewReader(text), Foreign: true, EightBit: func() bool { return false }})
}

// heldMail is the mail that waits for those destinations, or with none for all. One by
// one: nothing else of the queue waits until all are described.
func (m *mailQueue) heldMail(of []mail.Domain) map[mail.Domain]alert.Waiting {
	if of == nil {
		of = m.queue.Names()
	}
	out := make(map[mail.Domain]alert.Waiting, len(of))
	for _, name := range of {
		d := m.queue.Destination(name)
		out[name] = alert.Waiting{
			Messages: d.Messages, Bytes: d.Bytes, Oldest: d.Oldest, Newest: d.Newest, Urgent: d.Urgent, Ends: d.Expires, Busy: d.Holder != "",
		}
	}
	return out
}

// hostCalls is what is known of the calls for those destinations, or with none for all.
func (m *mailQueue) hostCalls(ctx context.Context, of []mail.Domain) map[mail.Domain]alert.Calls {
	out := map[mail.Domain]alert.Calls{}
	note := func(d mail.Domain, last calls.Last) { out[d] = alert.Calls{Last: last.Time(), Every: last.Interval()} }
	if of == nil {
		for last := range m.calls.Lasts(ctx) {
			note(last.Domain, last)
		}
	}
	for _, d := range of {
		note(d, m.calls.Last(d))
	}
	return out
}
