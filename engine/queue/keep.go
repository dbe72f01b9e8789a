// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

// removed is the reply that returned mail is reported with.
var removed = mail.Reply{Code: 550, Enhanced: "1.2", Text: "mail for its domain is no longer held here"}

// Keep freezes the messages for d, which a change of the settings is about to let go.
// They stay until d is held again or an administrator thaws them, and no longer than
// until at, unless that is zero: then they are returned to their senders. Messages
// that are frozen already stay as they are. The Tally counts as busy what is being
// handed over just now, and not kept.
//
// The caller calls made when the change is in force or has failed. Up to then, d may
// be held as before.
func (q *Queue) Keep(ctx context.Context, d mail.Domain, at time.Time) (sum Tally, made func(), err error) {
	q.mu.Lock()
	q.changing++
	q.mu.Unlock()
	made = sync.OnceFunc(func() {
		q.mu.Lock()
		q.changing--
		q.mu.Unlock()
		q.wakeScheduler()
	})
	var done Tally
	sum, err = q.act(ctx, Filter{Domain: d}, false, act{name: "keep", do: func(ctx context.Context, entries []*entry) error {
		entries = slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return e.is(frozen) })
		for _, e := range entries {
			done.Messages++
			done.Bytes += e.size
		}
		return q.setKept(ctx, entries, frozen|kept, nanos(at))
	}})
	done.Busy = sum.Busy
	return done, made, err
}

// setKept gives claimed entries the flags, of frozen and kept, and the time at which
// they are returned.
func (q *Queue) setKept(ctx context.Context, entries []*entry, flags uint8, at int64) error {
	err := q.change(ctx, entries, func(r *record) { r.flags, r.next = r.flags&^(frozen|kept)|flags, at })
	if err != nil || len(entries) == 0 {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		e.next = at
		q.letGo(e, flags, (frozen|kept)&^flags)
	}
	q.noteKept(entries[0].dest)
	return nil
}

// noteKept finds out when the first kept entry of d is returned. The caller holds q.mu.
func (q *Queue) noteKept(d *destination) {
	first, any := never, false
	for _, e := range d.entries {
		if e.is(kept) && !e.is(settled) {
			any = true
			if e.next != 0 {
				first = min(first, e.next)
			}
		}
	}
	if any {
		q.kept[d.name] = first
	} else {
		delete(q.kept, d.name)
	}
}

// A keptWork is what is to be done with the kept messages of a destination.
type keptWork struct {
	name mail.Domain
	held bool // again; else their time has come
}

// nextKept gives the next work, or when to look again.
func (q *Queue) nextKept() (work *keptWork, next int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	next = never
	if q.changing > 0 {
		return nil, never // its end wakes the scheduler
	}
	for name, at := range q.kept {
		switch held := q.route(name).Held; {
		case q.dests[name] == nil:
			delete(q.kept, name)
		case held || at <= now():
			q.kept[name] = now() + int64(q.policyOf(name).interval(1)) // should it fail
			return &keptWork{name, held}, 0
		default:
			next = min(next, at)
		}
	}
	return nil, next
}

// endKept lets kept messages wait for their host again, or returns those whose time
// has come to their senders.
func (q *Queue) endKept(ctx context.Context, w *keptWork) {
	ctx = context.WithoutCancel(ctx)
	name, do := "return", q.returnKept
	if w.held {
		name, do = "hold", func(ctx context.Context, entries []*entry) error {
			entries = slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return !e.is(kept) })
			return q.setKept(ctx, entries, 0, 0)
		}
	}
	if _, err := q.act(ctx, Filter{Domain: w.name}, false, act{name: name, do: do}); err != nil {
		q.deps.Journal.SetAside(ctx, "", w.name, err) // tried again by nextKept
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if d := q.dests[w.name]; d != nil {
		q.noteKept(d)
	}
	q.wakeScheduler()
}

func (q *Queue) returnKept(ctx context.Context, entries []*entry) error {
	for _, e := range entries {
		if !e.is(kept) || e.next == 0 || e.next > now() {
			continue
		}
		rec, env, err := q.load(e)
		if err != nil {
			return fmt.Errorf("queue %s: %w", e.id, err)
		}
		o := outcomesFor(env, rec.open, mail.Outcome{Status: mail.Failed, Reply: removed})
		if _, err := q.settle(ctx, &leasedMessage{e, rec, env}, o); err != nil {
			return err
		}
	}
	return nil
}

// CountEntries counts the messages for each destination of the queue in db, which need
// not be open.
func CountEntries(ctx context.Context, db kv.DB) (map[mail.Domain]int, error) {
	out := map[mail.Domain]int{}
	for pair, err := range db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return nil, err
		}
		name, _, err := splitEntryKey(pair.Key)
		if err != nil {
			return nil, err
		}
		if rec, err := decodeRecord(pair.Value); err != nil || len(rec.open) > 0 && rec.flags&frozen == 0 {
			out[mail.Domain(name)]++
		}
	}
	return out, nil
}
