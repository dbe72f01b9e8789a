// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

// removed is the reply that returned mail is reported with.
var removed = mail.Reply{Code: 550, Enhanced: "1.2", Text: "mail for its domain is no longer held here"}

// A keptState is what the queue knows of the kept messages for a destination.
type keptState struct {
	returns  int64 // when the first is returned; never where none is
	after    int64 // nothing is done with them before: something has failed
	busy     bool  // something is done with them just now
	changing int   // changes under way, for which Keep was called
	at       int64 // when messages that come meanwhile are returned; 0 for never
}

// Keep freezes the messages for d, which a change of the settings is about to let go,
// and those that come until made is called. They stay until d is held again or an
// administrator thaws them, and no longer than until at, unless that is zero: then
// they are returned to their senders. Messages that are frozen already stay as they
// are. The Tally counts as busy what is being handed over just now, and not kept.
//
// The caller calls made when the change is in force or has failed. Up to then, d may
// be held as before.
func (q *Queue) Keep(ctx context.Context, d mail.Domain, at time.Time) (sum Tally, made func(), err error) {
	q.mu.Lock()
	k := q.kept[d]
	if k == nil {
		k = &keptState{returns: never}
		q.kept[d] = k
	}
	k.changing++
	k.at = nanos(at)
	q.mu.Unlock()
	made = sync.OnceFunc(func() {
		// What has come meanwhile is not stored as kept yet.
		_, err := q.keep(context.WithoutCancel(ctx), d, at, func(e *entry) bool { return e.is(kept) })
		if err != nil {
			q.deps.Journal.SetAside(ctx, "", d, err)
		}
		q.mu.Lock()
		k.changing--
		q.mu.Unlock()
		q.wakeScheduler()
	})
	sum, err = q.keep(ctx, d, at, func(e *entry) bool { return !e.is(frozen) })
	return sum, made, err
}

// keep has those messages for d stored as kept that which picks, and counts them.
func (q *Queue) keep(ctx context.Context, d mail.Domain, at time.Time, which func(*entry) bool) (Tally, error) {
	return q.act(ctx, Filter{Domain: d}, false, act{name: "keep", in: func(e *entry, _ *Tally) bool { return which(e) },
		do: func(ctx context.Context, entries []*entry) error {
			return q.setKept(ctx, entries, frozen|kept, nanos(at))
		}})
}

// noteArrival has a new message for d kept where a change is under way. The caller
// holds q.mu.
func (k *keptState) noteArrival(e *entry) {
	if k != nil && k.changing > 0 && !e.is(frozen) {
		e.flags |= frozen | kept
		e.next = k.at
	}
}

// setKept gives claimed entries the flags, of frozen and kept, and the time at which
// they are returned. Where they are not kept, they wait for what their senders have asked.
func (q *Queue) setKept(ctx context.Context, entries []*entry, flags uint8, at int64) error {
	next := map[*entry]int64{}
	for _, e := range entries {
		if next[e] = at; flags&kept == 0 {
			next[e] = q.askedTime(e)
		}
	}
	err := q.change(ctx, entries, func(e *entry, r *record) { r.flags, r.next = r.flags&^(frozen|kept)|flags, next[e] })
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	dests := map[*destination]bool{}
	for _, e := range entries {
		e.next, dests[e.dest] = next[e], true
		q.letGo(e, flags, (frozen|kept)&^flags)
	}
	for d := range dests {
		q.noteKept(d)
	}
	return nil
}

// askedTime is the time that the sender has asked for (RFC 4865), where no attempt was
// made yet; 0 for none.
func (q *Queue) askedTime(e *entry) int64 {
	if !e.is(postdated) || e.attempts > 0 {
		return 0
	}
	env, err := q.store.Envelope(e.id)
	if err != nil {
		return 0
	}
	return nanos(env.HoldUntil)
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
	k := q.kept[d.name]
	switch {
	case k == nil && any:
		q.kept[d.name] = &keptState{returns: first}
	case k != nil:
		k.returns = first
		if !any && k.changing == 0 && !k.busy {
			delete(q.kept, d.name)
		}
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
	for name, k := range q.kept {
		due := k.returns
		held := q.route(name).Held
		if held {
			due = 0
		}
		due = max(due, k.after)
		switch {
		case k.changing > 0 || k.busy: // its end wakes the scheduler
		case q.dests[name] == nil:
			delete(q.kept, name)
		case due <= now():
			k.busy = true
			return &keptWork{name, held}, 0
		default:
			next = min(next, due)
		}
	}
	return nil, next
}

// endKept lets kept messages wait for their host again, or returns those whose time
// has come to their senders. What fails is tried again later.
func (q *Queue) endKept(ctx context.Context, w *keptWork) {
	name, do := "return", q.returnKept
	if w.held {
		name, do = "hold", func(ctx context.Context, entries []*entry) error { return q.setKept(ctx, entries, 0, 0) }
	}
	sum, err := q.act(context.WithoutCancel(ctx), Filter{Domain: w.name}, false,
		act{name: name, in: func(e *entry, _ *Tally) bool { return e.is(kept) }, do: do})
	if err != nil {
		q.deps.Journal.SetAside(ctx, "", w.name, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if k := q.kept[w.name]; k != nil {
		k.busy = false
		if err != nil || sum.Busy > 0 {
			k.after = now() + int64(q.policyOf(w.name).interval(1))
		}
	}
	if d := q.dests[w.name]; d != nil {
		q.noteKept(d)
	}
	q.wakeScheduler()
}

func (q *Queue) returnKept(ctx context.Context, entries []*entry) error {
	for _, e := range entries {
		if e.next == 0 || e.next > now() {
			continue
		}
		rec, env, err := q.load(e)
		if err != nil {
			return fmt.Errorf("queue %s: %w", e.id, err)
		}
		o := outcomesFor(env, rec.open, mail.Outcome{Status: mail.Failed, Reply: removed})
		if _, err := q.settle(ctx, &leasedMessage{entry: e, rec: rec, env: env}, o); err != nil {
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
