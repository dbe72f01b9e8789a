// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"math"

	"restante/engine/mail"
	"restante/internal/kv"
)

// New opens the queue whose messages are in store and whose entries are in db,
// which must be the DB that store writes to. What a crash left undone is done.
// It starts nothing; see [Queue.Run].
func New(ctx context.Context, store Store, db kv.DB, deps Deps) (*Queue, error) {
	if err := deps.validate(); err != nil {
		return nil, err
	}
	q := &Queue{
		store: store, db: db, deps: deps,
		wake:  make(chan struct{}, 1),
		seed:  maphash.MakeSeed(),
		dests: map[mail.Domain]*destination{},
		multi: map[mail.MessageID]int{},
	}
	l := loader{Queue: q}
	for _, step := range []func(context.Context) error{l.entries, l.backoffs, l.finish, l.requeue} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("queue: load: %w", err)
		}
	}
	q.Recheck()
	return q, nil
}

// loader is a Queue that nobody else has yet.
type loader struct {
	*Queue
	previous *entry           // the one before
	siblings int              // entries of its message so far
	settled  []mail.MessageID // messages that only wait to be removed
	unqueued []mail.MessageID // messages that have no entry
	ops      []kv.Op          // what is to be put right
}

// entries reads the queue's entries beside the spool's envelopes: both come in
// the order of the ids.
func (l *loader) entries(ctx context.Context) error {
	envelopes := newEnvelopeCursor(l.store.Scan(ctx))
	defer envelopes.stop()
	for pair, err := range l.db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return err
		}
		id, name, err := splitEntryKey(pair.Key)
		if err != nil {
			return err
		}
		there, damage, err := envelopes.seek(id)
		if err != nil {
			return err
		}
		rec, err := decodeRecord(pair.Value)
		switch {
		case err == nil && len(rec.open) == 0:
			l.settled = append(l.settled, id)
			l.ops = append(l.ops, kv.Del(bytes.Clone(pair.Key)))
			continue
		case !there:
			// Its body never came to the disk, so nobody was told 250.
			l.deps.Journal.Dropped(ctx, id, mail.Address{Local: "*", Domain: name}, "it was cut off before it was accepted")
			l.ops = append(l.ops, kv.Del(bytes.Clone(pair.Key)))
			continue
		case err == nil:
			err = damage
		}
		l.add(ctx, id, name, rec, err)
	}
	var err error
	l.unqueued, err = envelopes.drain()
	return err
}

// add takes in one entry; one that cannot be read for cause is set aside.
func (l *loader) add(ctx context.Context, id mail.MessageID, name mail.Domain, rec record, cause error) {
	e := l.entry(id, rec)
	if cause != nil {
		e.flags |= unreadable
		l.deps.Journal.SetAside(ctx, id, name, cause)
	}
	d := l.destination(name)
	d.add(e)
	if rec.last.tried > d.backoff.last.tried {
		d.backoff.last = rec.last
	}
}

// A walk goes along the spool's envelopes and notes those nobody asks for.
type envelopeCursor struct {
	next      func() (mail.Envelope, error, bool)
	stop      func()
	id        mail.MessageID   // where it stands; "" at the end
	err       error            // what is wrong with the envelope there, or why the walk ended
	matched   bool             // somebody asked for it
	unmatched []mail.MessageID // what nobody asked for
}

func newEnvelopeCursor(envelopes iter.Seq2[mail.Envelope, error]) *envelopeCursor {
	w := &envelopeCursor{}
	w.next, w.stop = iter.Pull2(envelopes)
	w.step()
	return w
}

func (w *envelopeCursor) step() {
	if w.id != "" && !w.matched {
		w.unmatched = append(w.unmatched, w.id)
	}
	env, err, _ := w.next()
	w.id, w.err, w.matched = env.ID, err, false
}

// seek goes on to id, and says whether it is there and what is wrong with it.
func (w *envelopeCursor) seek(id mail.MessageID) (there bool, damage, err error) {
	for w.id != "" && w.id < id {
		w.step()
	}
	switch w.id {
	case "":
		return false, nil, w.err
	case id:
		w.matched = true
		return true, w.err, nil
	}
	return false, nil, nil
}

// drain goes to the end.
func (w *envelopeCursor) drain() ([]mail.MessageID, error) {
	for w.id != "" {
		w.step()
	}
	return w.unmatched, w.err
}

// entry makes the entry of rec. Those of one message follow each other.
func (l *loader) entry(id mail.MessageID, rec record) *entry {
	e := &entry{id: id, received: rec.received, size: rec.size, next: rec.next, flags: rec.flags,
		attempts: uint16(min(rec.attempts, math.MaxUint16))}
	if l.previous != nil && l.previous.id == id {
		e.id = l.previous.id // one copy of the text
		l.siblings++
		l.multi[id] = l.siblings
	} else {
		l.siblings = 1
		l.total.Messages++
		l.total.Bytes += rec.size
	}
	l.previous = e
	return e
}

func (l *loader) backoffs(ctx context.Context) error {
	for pair, err := range l.db.Scan(ctx, []byte(backoffPrefix)) {
		if err != nil {
			return err
		}
		d := l.dests[mail.Domain(bytes.TrimPrefix(pair.Key, []byte(backoffPrefix)))]
		off, err := decodeBackoff(pair.Value)
		if d == nil || err != nil {
			// Nothing waits there any more, or it is no use: forget it.
			l.ops = append(l.ops, kv.Del(bytes.Clone(pair.Key)))
			continue
		}
		d.backoff = off
	}
	return nil
}

// finish does what a crash left undone: messages that are settled go.
func (l *loader) finish(ctx context.Context) error {
	var ids []mail.MessageID
	for _, id := range l.settled {
		if !l.has(id) {
			ids = append(ids, id)
		}
	}
	switch {
	case len(ids) > 0:
		return l.store.Remove(ctx, ids, l.ops...)
	case len(l.ops) > 0:
		return l.db.Commit(ctx, l.ops...)
	}
	return nil
}

func (q *Queue) has(id mail.MessageID) bool {
	for _, d := range q.dests {
		if d.find(id) != nil {
			return true
		}
	}
	return false
}

// requeue gives a place in the queue to messages that have none: the spool
// found them on the disk when its index was damaged.
func (l *loader) requeue(ctx context.Context) error {
	for _, id := range l.unqueued {
		env, err := l.store.Envelope(id)
		if err != nil && !errors.Is(err, mail.ErrLost) {
			return err
		}
		var parts map[mail.Domain]record
		var ops []kv.Op
		if err == nil {
			parts, ops, err = entriesOf(env)
		}
		if err != nil {
			l.deps.Journal.SetAside(ctx, id, "", err)
			continue // it stays in the spool, which names it too
		}
		if err := l.db.Commit(ctx, ops...); err != nil {
			return err
		}
		l.deps.Journal.Requeued(ctx, id)
		l.enter(env, parts)
	}
	return nil
}
