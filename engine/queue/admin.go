// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

// A Filter picks messages. All conditions that are set must hold. A Filter
// without conditions is an error unless All is set.
type Filter struct {
	IDs    []mail.MessageID
	Domain mail.Domain
	From   *mail.Address // the sender; the null address picks reports
	Before time.Time     // received before
	All    bool

	By string // who asks, for the journal; it picks none
}

// ErrNoFilter means that a Filter has no condition.
var ErrNoFilter = errors.New("queue: no message is named")

// A Tally counts the messages that an action changed, or would change.
type Tally struct {
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
	Busy     int   `json:"busy"`             // claimed by a lease or another act, and not changed
	Held     int   `json:"held,omitempty"`   // of a retry: they wait for their host all the same
	Frozen   int   `json:"frozen,omitempty"` // of a retry: they are frozen all the same
}

// Add adds another queue's.
func (t *Tally) Add(o Tally) {
	t.Messages += o.Messages
	t.Bytes += o.Bytes
	t.Busy += o.Busy
	t.Held += o.Held
	t.Frozen += o.Frozen
}

// An act changes claimed entries. It leaves them claimed or removes them.
type act struct {
	name string
	do   func(ctx context.Context, entries []*entry) error

	in func(e *entry, sum *Tally) bool // or counts e as one that would not change; nil: all would
}

// Retry makes the picked messages due now, and tries again to read those that
// could not be read. A held destination stays held, a frozen message frozen.
func (q *Queue) Retry(ctx context.Context, f Filter, dry bool) (Tally, error) {
	in := func(e *entry, sum *Tally) bool {
		switch {
		case e.is(unreadable):
		case e.is(frozen):
			sum.Frozen++
			if !dry { // the destination itself is tried, for others
				e.dest.backoff.next = 0
				q.reschedule(e.dest)
			}
			return false
		case e.onHold():
		case q.route(e.dest.name).Held:
			sum.Held++
			return false
		}
		return true
	}
	return q.act(ctx, f, dry, act{name: "retry", in: in, do: func(ctx context.Context, entries []*entry) error {
		err := q.change(ctx, entries, func(_ *entry, r *record) {
			if r.flags&kept == 0 {
				r.next = 0
			}
		})
		if err != nil {
			return err
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, e := range entries {
			if !e.is(kept) {
				e.next = 0
			}
			e.dest.backoff.next = 0
			q.letGo(e, 0, unreadable)
		}
		return nil
	}})
}

// Freeze keeps the picked messages from every lease.
func (q *Queue) Freeze(ctx context.Context, f Filter, dry bool) (Tally, error) {
	return q.freeze(ctx, f, dry, "freeze", frozen)
}

// Thaw undoes Freeze and Keep.
func (q *Queue) Thaw(ctx context.Context, f Filter, dry bool) (Tally, error) {
	return q.freeze(ctx, f, dry, "thaw", 0)
}

// freeze gives the picked messages the flags, which are frozen or none. They are kept no
// longer.
func (q *Queue) freeze(ctx context.Context, f Filter, dry bool, name string, flags uint8) (Tally, error) {
	return q.act(ctx, f, dry, act{name: name, do: func(ctx context.Context, entries []*entry) error {
		ofKeep := slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return !e.is(kept) })
		if err := q.setKept(ctx, ofKeep, flags, 0); err != nil {
			return err
		}
		return q.flag(ctx, entries, flags, frozen&^flags)
	}})
}

// flag sets and clears flags of claimed entries.
func (q *Queue) flag(ctx context.Context, entries []*entry, set, clear uint8) error {
	err := q.change(ctx, entries, func(_ *entry, r *record) { r.flags = r.flags&^clear | set })
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		q.letGo(e, set, clear)
	}
	return nil
}

// Delete removes the picked messages without a report.
func (q *Queue) Delete(ctx context.Context, f Filter, dry bool) (Tally, error) {
	return q.act(ctx, f, dry, act{name: "delete", do: q.remove})
}

// Bounce fails the picked messages and reports that to their senders.
func (q *Queue) Bounce(ctx context.Context, f Filter, dry bool) (Tally, error) {
	reply := mail.Reply{Code: 550, Text: "taken out of the queue by its administrator"}
	return q.act(ctx, f, dry, act{name: "bounce", do: func(ctx context.Context, entries []*entry) error {
		for _, e := range entries {
			if e.dest.name == Reports {
				continue // the report is made with the last of the others, or when it is due
			}
			rec, env, err := q.load(e)
			if err != nil {
				return fmt.Errorf("queue %s: %w", e.id, err)
			}
			o := outcomesFor(env, rec.open, mail.Outcome{Status: mail.Failed, Reply: reply})
			if _, err := q.settle(ctx, &leasedMessage{entry: e, rec: rec, env: env}, o); err != nil {
				return err
			}
		}
		return nil
	}})
}

// batchSize is the number of messages that share a commit. A release cannot
// hand out the messages of the current batch.
const batchSize = 256

// act does a to the entries that f picks, batch by batch. Claimed entries are
// counted as busy and not changed. After an error the Tally counts what was
// done.
func (q *Queue) act(ctx context.Context, f Filter, dry bool, a act) (Tally, error) {
	picked, err := q.pick(ctx, f)
	if err != nil {
		return Tally{}, err
	}
	var sum tallyCounter
	for part := range slices.Chunk(picked, batchSize) {
		if err := context.Cause(ctx); err != nil {
			return sum.Tally, err
		}
		free := q.claimAll(part, &sum, dry, a.in)
		if dry || len(free) == 0 {
			continue
		}
		err := a.do(ctx, free)
		dropped := q.unclaimAll(free)
		if err != nil {
			free = dropped // the entries that were done
		}
		for _, e := range free {
			sum.add(e)
			q.deps.Journal.Acted(ctx, a.name, f.By, e.id, e.dest.name)
		}
		if err != nil {
			return sum.Tally, fmt.Errorf("queue: %s: %w", a.name, err)
		}
	}
	return sum.Tally, nil
}

// A tallyCounter counts a message with several destinations once.
type tallyCounter struct {
	Tally
	seen map[mail.MessageID]bool // only those with several
}

func (c *tallyCounter) add(e *entry) {
	if c.seen[e.id] {
		return
	}
	if c.seen == nil {
		c.seen = map[mail.MessageID]bool{}
	}
	c.seen[e.id] = true
	c.Messages++
	c.Bytes += e.size
}

// claimAll claims the entries that are not claimed and are in; a dry run only counts
// them.
func (q *Queue) claimAll(entries []*entry, sum *tallyCounter, dry bool, in func(*entry, *Tally) bool) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var free []*entry
	for _, e := range entries {
		switch {
		case e.is(settled):
		case e.is(claimed):
			sum.Busy++
		case in != nil && !in(e, &sum.Tally):
		case dry:
			sum.add(e)
		default:
			e.dest.setFlags(e, claimed, 0)
			free = append(free, e)
		}
	}
	return free
}

// unclaimAll ends the claims and returns the entries that are settled.
func (q *Queue) unclaimAll(entries []*entry) (dropped []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		if e.is(settled) {
			dropped = append(dropped, e)
			continue
		}
		e.dest.setFlags(e, 0, claimed)
		if h := e.dest.owner; h != nil {
			h.noteArrival(e) // a release may have skipped it
		}
		q.reschedule(e.dest)
	}
	return dropped
}

// pick returns the entries that match f, in the order of arrival within each
// destination. The error for an ID that is not in the queue is ErrNotFound.
func (q *Queue) pick(ctx context.Context, f Filter) ([]*entry, error) {
	if len(f.IDs) == 0 && f.Domain == "" && f.From == nil && f.Before.IsZero() && !f.All {
		return nil, ErrNoFilter
	}
	var all []*entry
	if len(f.IDs) > 0 {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(f.IDs))) {
			found := q.find(id)
			if len(found) == 0 {
				return nil, fmt.Errorf("queue %s: %w", id, ErrNotFound)
			}
			all = append(all, found...)
		}
	} else {
		all = q.entriesIn(f.Domain)
	}
	var out []*entry
	for _, e := range all {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if q.matches(e, f) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (q *Queue) matches(e *entry, f Filter) bool {
	if f.Domain != "" && e.dest.name != f.Domain {
		return false
	}
	if !f.Before.IsZero() && e.received >= f.Before.UnixNano() {
		return false
	}
	if f.From == nil {
		return true
	}
	env, err := q.store.Envelope(e.id)
	return err == nil && env.From == *f.From
}

// change rewrites the records of entries in one commit. It skips a record that
// cannot be read.
func (q *Queue) change(ctx context.Context, entries []*entry, with func(*entry, *record)) error {
	for {
		err := q.tryChange(ctx, entries, with)
		if !errors.Is(err, kv.ErrMoved) {
			return err
		}
	}
}

func (q *Queue) tryChange(ctx context.Context, entries []*entry, with func(*entry, *record)) error {
	var ops []kv.Op
	for _, e := range entries {
		key := e.key()
		raw, ok, err := q.db.Get(key)
		if err != nil {
			return err
		}
		rec, err := decodeRecord(raw)
		if !ok || err != nil {
			continue
		}
		with(e, &rec)
		if e.dest.name == Reports {
			ops = append(ops, kv.Must(key, raw)) // what other entries come to is added, claimed or not
		}
		ops = append(ops, kv.Put(key, rec.encode()))
	}
	return q.db.Commit(ctx, ops...)
}

// remove removes entries, and each message with its last entry.
func (q *Queue) remove(ctx context.Context, entries []*entry) error {
	var ids []mail.MessageID
	var ops []kv.Op
	var single []*entry
	for _, e := range entries {
		last, err := q.removeUnlessLast(ctx, e)
		if err != nil {
			return err
		}
		if last {
			ids, ops, single = append(ids, e.id), append(ops, kv.Del(e.key())), append(single, e)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	// The entries are claimed: nothing else adds an entry to their messages.
	if err := q.store.Remove(ctx, ids, ops...); err != nil {
		return err
	}
	q.dropAll(single, true)
	return nil
}

// removeUnlessLast removes e, unless its message has no other entry.
func (q *Queue) removeUnlessLast(ctx context.Context, e *entry) (last bool, err error) {
	defer q.lockMessage(e)()
	for {
		n, err := q.entriesLeft(e.id)
		if err != nil || n <= 1 {
			return true, err
		}
		err = q.db.Commit(ctx, append(changeCount(e.id, n, n-1), kv.Del(e.key()))...)
		if err == nil {
			q.dropAll([]*entry{e}, false)
		}
		if !errors.Is(err, kv.ErrMoved) {
			return false, err
		}
	}
}

func (q *Queue) dropAll(entries []*entry, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		q.removeEntry(e, last)
	}
}
