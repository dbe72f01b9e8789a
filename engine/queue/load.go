// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"

	"restante/engine/mail"
	"restante/internal/kv"
)

var errNoMessage = errors.New("the spool has no such message")

// open builds the queue from what is stored.
func open(ctx context.Context, sp store, db kv.DB, deps Deps) (*Queue, error) {
	if err := deps.validate(); err != nil {
		return nil, err
	}
	q := &Queue{
		sp: sp, db: db, deps: deps,
		knock: make(chan struct{}, 1),
		seed:  maphash.MakeSeed(),
		dests: map[mail.Domain]*destination{},
		split: map[mail.MessageID]int{},
	}
	l := loading{Queue: q}
	if err := l.entries(ctx); err != nil {
		return nil, fmt.Errorf("queue: load: %w", err)
	}
	if err := l.backoffs(ctx); err != nil {
		return nil, fmt.Errorf("queue: load: %w", err)
	}
	if err := l.finish(ctx); err != nil {
		return nil, fmt.Errorf("queue: load: %w", err)
	}
	if sp.Messages() != q.total.Messages {
		if err := q.reconcile(ctx); err != nil {
			return nil, fmt.Errorf("queue: load: %w", err)
		}
	}
	q.Recheck()
	return q, nil
}

// loading is a Queue that nobody else has yet.
type loading struct {
	*Queue
	last    *entry           // the one before
	several int              // entries of its message so far
	settled []mail.MessageID // messages that only wait to be removed
	ops     []kv.Op          // their keys
}

func (l *loading) entries(ctx context.Context) error {
	for pair, err := range l.db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return err
		}
		id, name, err := splitEntryKey(pair.Key)
		if err != nil {
			return err
		}
		rec, err := decodeRecord(pair.Value)
		if err == nil && len(rec.open) == 0 {
			l.settled = append(l.settled, id)
			l.ops = append(l.ops, kv.Del(bytes.Clone(pair.Key)))
			continue
		}
		e := l.entry(id, rec)
		if err != nil {
			// Its body may still be good: named and kept, not tried.
			e.flags |= aside
			l.deps.Journal.SetAside(ctx, id, name, err)
		}
		d := l.destination(name)
		d.add(e)
		if rec.last.tried > d.off.last.tried {
			d.off.last = rec.last
		}
	}
	return nil
}

// entry makes the entry of rec. Those of one message follow each other.
func (l *loading) entry(id mail.MessageID, rec record) *entry {
	e := &entry{id: id, received: rec.received, size: rec.size, next: rec.next, flags: rec.flags,
		attempts: uint16(min(rec.attempts, math.MaxUint16))}
	if l.last != nil && l.last.id == id {
		e.id = l.last.id // one copy of the text
		l.several++
		l.split[id] = l.several
	} else {
		l.several = 1
		l.total.Messages++
		l.total.Bytes += rec.size
	}
	l.last = e
	return e
}

func (l *loading) backoffs(ctx context.Context) error {
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
		d.off = off
	}
	return nil
}

// finish does what a crash left undone: messages that are settled go.
func (l *loading) finish(ctx context.Context) error {
	var ids []mail.MessageID
	for _, id := range l.settled {
		if !l.has(id) {
			ids = append(ids, id)
		}
	}
	switch {
	case len(ids) > 0:
		return l.sp.Remove(ctx, ids, l.ops...)
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

// reconcile compares the queue with the spool, message by message: what has no
// place in the queue gets one, and what has no body is set aside.
func (q *Queue) reconcile(ctx context.Context) error {
	known := make(map[mail.MessageID][]*entry, q.total.Messages)
	for _, d := range q.dests {
		for _, e := range d.list {
			known[e.id] = append(known[e.id], e)
		}
	}
	for env, err := range q.sp.Scan(ctx) {
		if err != nil {
			return err
		}
		if known[env.ID] != nil {
			delete(known, env.ID)
			continue
		}
		if err := q.requeue(ctx, env); err != nil {
			return err
		}
	}
	for id, entries := range known {
		for _, e := range entries {
			if !e.is(aside) {
				e.at.mark(e, aside, 0)
				q.deps.Journal.SetAside(ctx, id, e.at.name, errNoMessage)
			}
		}
	}
	return nil
}

func (q *Queue) requeue(ctx context.Context, env mail.Envelope) error {
	parts, ops, err := entriesOf(env)
	if err != nil {
		q.deps.Journal.SetAside(ctx, env.ID, "", err)
		return nil // not ours to judge: it stays in the spool
	}
	if err := q.db.Commit(ctx, ops...); err != nil {
		return err
	}
	q.deps.Journal.Requeued(ctx, env.ID)
	q.enter(env, parts)
	return nil
}
