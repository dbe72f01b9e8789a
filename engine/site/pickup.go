// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"

	"restante/engine/mail"
	"restante/engine/pickup"
	"restante/engine/queue"
	"restante/engine/session"
	"restante/internal/kv"
)

// pickupSettings are those of the Pickup folder now. A site that is paused takes in
// no mail, from there neither.
func (s *Site) pickupSettings() pickup.Settings {
	if s.paused() {
		return pickup.Settings{}
	}
	return s.config().Pickup
}

// submissions is the queue as a Picker uses it.
type submissions struct {
	mail *mailQueue
	site *Site
}

// noteKey holds that the message of a file was stored. A crash between the removal
// of the file and that of the note leaves the note, which does no harm.
func noteKey(id mail.MessageID) []byte { return []byte("w/pickup/" + string(id)) }

func (b submissions) Submit(ctx context.Context, m pickup.Message) mail.Reply {
	in := intake{b.mail.queue, b.site, []kv.Op{kv.Put(noteKey(m.ID), []byte{1})}}
	return session.Submit(ctx, &b.site.config().Session, session.Deps{Intake: in, CheckQuota: b.mail.queue.CheckQuota, Journal: b.site.deps.Journal, Log: b.site.log},
		session.Submission{ID: m.ID, From: m.From, To: m.To, Text: m.Text, Foreign: m.Foreign, EightBit: m.EightBit})
}

func (b submissions) Submitted(id mail.MessageID) (bool, error) {
	_, there, err := b.mail.DB.Get(noteKey(id))
	if there || err != nil {
		return there, err
	}
	switch _, err := b.mail.queue.Show(id); {
	case err == nil:
		return false, pickup.ErrNotOurs
	case !errors.Is(err, queue.ErrNotFound):
		return false, err
	}
	return false, nil
}

func (b submissions) Forget(ctx context.Context, ids []mail.MessageID) error {
	ops := make([]kv.Op, len(ids))
	for i, id := range ids {
		ops[i] = kv.Del(noteKey(id))
	}
	return b.mail.DB.Commit(ctx, ops...)
}
