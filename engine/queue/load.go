// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"restante/engine/mail"
	"restante/internal/kv"
)

// New opens the queue with its messages in store and its entries in db, which
// must be the DB that store writes to. It completes what a crash interrupted.
// It starts nothing; see [Queue.Run].
func New(ctx context.Context, store Store, db kv.DB, deps Deps) (*Queue, error) {
	if err := deps.validate(); err != nil {
		return nil, err
	}
	if err := migrate(ctx, db); err != nil {
		return nil, fmt.Errorf("queue: load: %w", err)
	}
	q := &Queue{
		store: store, db: db, deps: deps,
		wake:  make(chan struct{}, 1),
		dests: map[mail.Domain]*destination{}, unsettled: maps.Clone(deps.Unsettled), kept: map[mail.Domain]*keptState{},
		quotas: quotas{map[string]*group{}, map[string]*Usage{}, map[string]bool{}},
	}
	if q.unsettled == nil {
		q.unsettled = Unsettled{}
	}
	l := loader{Queue: q, damage: map[*entry]error{}, counts: map[mail.MessageID]int{}}
	for _, step := range []func(context.Context) error{l.readEntries, l.matchEnvelopes, l.backoffs, l.checkCounts, l.finish, l.requeue} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("queue: load: %w", err)
		}
	}
	for _, d := range q.dests {
		d.graceEnd = now() + int64(grace) // what the settings were before is not known
		if d.parked > 0 {
			q.noteKept(d)
		}
	}
	q.Recheck()
	return q, nil
}

// A loader fills a Queue from the store before New returns it.
type loader struct {
	*Queue
	entries  []*entry
	damage   map[*entry]error       // why a record does not read
	counts   map[mail.MessageID]int // entries of messages that have several
	settled  []mail.MessageID       // messages that were settled and not yet removed
	unqueued []mail.MessageID       // messages that have no entry
	ops      []kv.Op                // corrections of what is stored
}

// readEntries reads the entries of all destinations.
func (l *loader) readEntries(ctx context.Context) error {
	for pair, err := range l.db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return err
		}
		name, id, err := splitEntryKey(pair.Key)
		if err != nil {
			return err
		}
		rec, err := decodeRecord(pair.Value)
		if err == nil && len(rec.open) == 0 {
			l.settled = append(l.settled, mail.MessageID(id))
			l.ops = append(l.ops, kv.Del(bytes.Clone(pair.Key)))
			continue
		}
		d := l.dests[mail.Domain(name)]
		if d == nil {
			d = l.destination(mail.Domain(name))
		}
		e := &entry{id: mail.MessageID(id), dest: d, received: rec.received, size: rec.size, next: rec.next,
			flags: rec.flags, attempts: uint16(min(rec.attempts, math.MaxUint16))}
		if err != nil {
			l.damage[e] = err
		}
		if rec.last.tried > d.backoff.last.tried {
			d.backoff.last = rec.last
		}
		l.entries = append(l.entries, e)
	}
	return nil
}

// matchEnvelopes puts each entry that has an envelope into its destination, in
// the order of the IDs, which is also the store's.
func (l *loader) matchEnvelopes(ctx context.Context) error {
	slices.SortFunc(l.entries, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	envelopes := newEnvelopeCursor(l.store.Scan(ctx))
	defer envelopes.stop()
	var previous *entry
	for _, e := range l.entries {
		there, damage, err := envelopes.seek(e.id)
		if err != nil {
			return err
		}
		if !there {
			// Its text never came to the disk, so no sender was told 250.
			l.deps.Journal.Dropped(ctx, mail.Envelope{ID: e.id}, mail.Address{Local: "*", Domain: e.dest.name}, "it was cut off before it was accepted")
			l.ops = append(l.ops, kv.Del(e.key()))
			continue
		}
		if l.damage[e] != nil {
			damage = l.damage[e]
		}
		e.setEnvelope(&envelopes.env)
		l.add(ctx, e, previous, damage)
		previous = e
	}
	for name, d := range l.dests {
		if d.live() == 0 {
			delete(l.dests, name)
		}
	}
	var err error
	l.unqueued, err = envelopes.drain()
	return err
}

// add puts e into its destination. An entry that cannot be read, because of
// damage, is kept and not tried.
func (l *loader) add(ctx context.Context, e, previous *entry, damage error) {
	if damage != nil {
		e.flags |= unreadable
		l.deps.Journal.SetAside(ctx, e.id, e.dest.name, damage)
	}
	if previous != nil && previous.id == e.id {
		e.id = previous.id // one copy of the text
		previous.dest.share(previous)
		e.flags |= shared
		l.counts[e.id] = max(l.counts[e.id], 1) + 1
	} else {
		l.total.Messages++
		l.total.Bytes += e.size
	}
	e.dest.add(e)
}

// checkCounts compares the counts that are stored with the entries that are.
func (l *loader) checkCounts(ctx context.Context) error {
	stored := map[mail.MessageID]bool{}
	for pair, err := range l.db.Scan(ctx, []byte(countPrefix)) {
		if err != nil {
			return err
		}
		id := mail.MessageID(pair.Key[len(countPrefix):])
		stored[id] = true
		if want := l.counts[id]; want == 0 || decodeCount(pair.Value) != want {
			l.ops = append(l.ops, setCount(id, want))
		}
	}
	for id, n := range l.counts {
		if !stored[id] {
			l.ops = append(l.ops, setCount(id, n))
		}
	}
	return nil
}

// An envelopeCursor steps along a store's envelopes and collects those that no
// entry asks for.
type envelopeCursor struct {
	next      func() (mail.Envelope, error, bool)
	stop      func()
	env       mail.Envelope    // the current one
	id        mail.MessageID   // of it; "" at the end
	err       error            // why the current envelope cannot be read, or the scan ended
	matched   bool             // an entry asked for it
	unmatched []mail.MessageID // IDs that no entry asked for
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
	w.env, w.id, w.err, w.matched = env, env.ID, err, false
}

// seek goes on to id, and reports whether it has an envelope and what damage it
// has.
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

// drain goes to the end and returns the IDs without an entry.
func (w *envelopeCursor) drain() ([]mail.MessageID, error) {
	for w.id != "" {
		w.step()
	}
	return w.unmatched, w.err
}

func (l *loader) backoffs(ctx context.Context) error {
	for pair, err := range l.db.Scan(ctx, []byte(backoffPrefix)) {
		if err != nil {
			return err
		}
		d := l.dests[mail.Domain(bytes.TrimPrefix(pair.Key, []byte(backoffPrefix)))]
		off, err := decodeBackoff(pair.Value)
		if d == nil || err != nil {
			// The destination has no mail, or the record cannot be read.
			l.ops = append(l.ops, kv.Del(bytes.Clone(pair.Key)))
			continue
		}
		d.backoff = off
	}
	return nil
}

// finish removes what a crash left of settled messages, and stores the
// corrections.
func (l *loader) finish(ctx context.Context) error {
	ids := slices.DeleteFunc(l.settled, func(id mail.MessageID) bool {
		_, queued := slices.BinarySearchFunc(l.entries, id, compareID)
		return queued
	})
	switch {
	case len(ids) > 0:
		return l.store.Remove(ctx, ids, l.ops...)
	case len(l.ops) > 0:
		return l.db.Commit(ctx, l.ops...)
	}
	return nil
}

// requeue gives entries to messages that have none: the store found their texts
// after its index was damaged.
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
			continue // the message stays in the store
		}
		if err := l.db.Commit(ctx, ops...); err != nil {
			return err
		}
		l.deps.Journal.Requeued(ctx, id)
		l.enter(env, parts, reservation{}) // it was accepted, whatever the quota is
	}
	return nil
}

// formatKey holds the version of the queue's keys. Before there was such a key,
// entries had the message's ID before the destination: "q/e/<id>/<domain>".
const (
	formatKey = "q/format"
	format    = "2"
)

// migrate brings the keys of a queue into the format of this version, in one
// commit: a crash leaves either format whole.
func migrate(ctx context.Context, db kv.DB) error {
	found, ok, err := db.Get([]byte(formatKey))
	switch {
	case err != nil:
		return err
	case ok && string(found) == format:
		return nil
	case ok:
		return fmt.Errorf("the queue is in format %q, this version reads format %q: start the version that wrote it, or one that is newer", found, format)
	}
	var remove, add []kv.Op
	counts := map[mail.MessageID]int{}
	for pair, err := range db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return err
		}
		id, name, ok := bytes.Cut(pair.Key[len(entryPrefix):], []byte("/"))
		if !ok || len(id) == 0 || len(name) == 0 {
			return fmt.Errorf("key %q names no entry", pair.Key)
		}
		counts[mail.MessageID(id)]++
		remove = append(remove, kv.Del(bytes.Clone(pair.Key)))
		add = append(add, kv.Put(entryKey(mail.MessageID(id), mail.Domain(name)), bytes.Clone(pair.Value)))
	}
	for id, n := range counts {
		if n > 1 {
			add = append(add, setCount(id, n))
		}
	}
	add = append(add, kv.Put([]byte(formatKey), []byte(format)))
	return db.Commit(ctx, append(remove, add...)...)
}
