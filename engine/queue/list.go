// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"restante/engine/mail"
)

// ErrNoExport refuses to import a folder that Export has not written.
var ErrNoExport = errors.New("has files, but no envelope (*.json) of an exported message")

// ErrNotFound means that a message is not in the queue.
var ErrNotFound = errors.New("no such message")

// A State says what a destination or a message is doing.
type State string

const (
	Active  State = "active"  // being delivered, or due
	Retry   State = "retry"   // waits for its next try
	Held    State = "held"    // waits for its host to call
	Frozen  State = "frozen"  // waits for an administrator
	Damaged State = "damaged" // cannot be read, waits for an administrator
)

// Counts is the size of a queue. A message with several destinations counts
// once in Messages, and once in Held if any of them is held.
type Counts struct {
	Messages     int   `json:"messages"`
	Bytes        int64 `json:"bytes"`
	Held         int   `json:"held"`
	HeldBytes    int64 `json:"held_bytes"`
	Destinations int   `json:"destinations"`
}

// Counts returns the current counts. Its cost grows with the number of
// destinations, and with that of the messages for a held one that shares some
// with others.
func (q *Queue) Counts() Counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.total
	counted := map[mail.MessageID]bool{} // shared ones
	for name, d := range q.dests {
		if d.live() > 0 {
			c.Destinations++
		}
		if !q.route(name).Held {
			continue
		}
		c.Held += d.live()
		c.HeldBytes += d.bytes
		if d.shared == 0 {
			continue
		}
		for _, e := range d.entries {
			switch {
			case !e.is(shared) || e.is(settled):
			case counted[e.id]:
				c.Held--
				c.HeldBytes -= e.size
			default:
				counted[e.id] = true
			}
		}
	}
	return c
}

// Count is the number of messages that a lease of d would hand out.
func (q *Queue) Count(d mail.Domain) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if dest := q.dests[d]; dest != nil {
		return dest.count()
	}
	return 0
}

// Below returns the destinations that are parent or below it, sorted by name.
func (q *Queue) Below(parent mail.Domain) []mail.Domain {
	return q.names(func(d mail.Domain) bool { return d.Below(parent) })
}

// Names lists the destinations.
func (q *Queue) Names() []mail.Domain {
	return q.names(func(mail.Domain) bool { return true })
}

func (q *Queue) names(picks func(mail.Domain) bool) []mail.Domain {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []mail.Domain
	for name := range q.dests {
		if picks(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// A DestinationState describes a destination.
type DestinationState struct {
	Domain    mail.Domain `json:"domain"`
	State     State       `json:"state"`
	Holder    string      `json:"holder,omitempty"` // of the lease
	Messages  int         `json:"messages"`
	Bytes     int64       `json:"bytes"`
	Oldest    time.Time   `json:"oldest,omitzero"`   // the arrival of the oldest message
	NextTry   time.Time   `json:"next_try,omitzero"` // only in state retry
	Expires   time.Time   `json:"expires,omitzero"`  // the oldest message that does, if it is not delivered before
	LastError string      `json:"last_error,omitempty"`

	Newest time.Time `json:"-"` // arrival of the newest message
	Urgent time.Time `json:"-"` // arrival of the newest one of a positive priority, which may be gone
}

// Destination describes d; it has no messages where it is not in the queue.
func (q *Queue) Destination(d mail.Domain) DestinationState {
	q.mu.Lock()
	defer q.mu.Unlock()
	if dest := q.dests[d]; dest != nil {
		return q.describe(dest)
	}
	return DestinationState{Domain: d}
}

// Destinations lists the destinations that have mail, sorted by name.
func (q *Queue) Destinations() []DestinationState {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]DestinationState, 0, len(q.dests))
	for _, name := range slices.Sorted(maps.Keys(q.dests)) {
		out = append(out, q.describe(q.dests[name]))
	}
	return out
}

// describe is the state of d. The caller holds q.mu.
func (q *Queue) describe(d *destination) DestinationState {
	s := DestinationState{Domain: d.name, State: Active, Messages: d.live(), Bytes: d.bytes}
	if d.backoff.last.tried != 0 {
		s.LastError = d.backoff.last.reply.Error()
	}
	if e := d.oldest(); e != nil {
		s.Oldest, s.Newest = unixTime(e.received), d.newest().id.Time()
	}
	if d.urgent != 0 {
		s.Urgent = unixTime(d.urgent)
	}
	if i := slices.IndexFunc(d.entries, func(e *entry) bool { return !e.is(settled) && e.ages() }); i >= 0 {
		s.Expires = q.expiry(d.entries[i])
	}
	if d.owner != nil {
		s.Holder = d.owner.holder
	} else {
		s.State, s.NextTry = q.idleState(d)
	}
	return s
}

// expiry is when e expires; zero for never. The caller holds q.mu.
func (q *Queue) expiry(e *entry) time.Time {
	switch {
	case e.is(kept):
		return unixTime(e.next)
	case !e.ages() || q.route(e.dest.name).Frozen:
		return time.Time{}
	}
	return q.policyFor(e.dest).expiry(e)
}

// idleState is the state of a destination that is not leased. The caller holds
// q.mu.
func (q *Queue) idleState(d *destination) (State, time.Time) {
	route := q.route(d.name)
	switch {
	case route.Frozen || d.count() == 0:
		return Frozen, time.Time{}
	case route.Held && !d.triggered:
		return Held, time.Time{}
	case d.triggered || len(d.due) == 0 || d.nextTry() <= now(): // none due: an administrator's act has claimed all entries
		return Active, time.Time{}
	}
	return Retry, unixTime(d.nextTry())
}

// A Message describes one message on its way to one destination.
type Message struct {
	ID        mail.MessageID   `json:"id"`
	Domain    mail.Domain      `json:"domain"`
	State     State            `json:"state"`
	From      mail.Address     `json:"from"`
	To        []mail.Recipient `json:"to"` // those still open
	Size      int64            `json:"size"`
	Received  time.Time        `json:"received"`
	Attempts  int              `json:"attempts"`
	NextTry   time.Time        `json:"next_try,omitzero"`
	LastTry   time.Time        `json:"last_try,omitzero"`
	Expires   time.Time        `json:"expires,omitzero"` // it is returned to its sender, if it is not delivered before
	LastError string           `json:"last_error,omitempty"`
	Host      string           `json:"host,omitempty"`     // that answered last
	Phase     string           `json:"phase,omitempty"`    // of the conversation, in which LastError came
	InDoubt   bool             `json:"in_doubt,omitempty"` // the host had all of it, and its answer did not come
}

// Messages yields the messages for d in the order of arrival, without those
// that are settled meanwhile. It holds no lock between steps.
func (q *Queue) Messages(ctx context.Context, d mail.Domain) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for _, e := range q.entriesIn(d) {
			if err := context.Cause(ctx); err != nil {
				yield(Message{}, err)
				return
			}
			m, ok := q.message(e)
			if ok && !yield(m, nil) {
				return
			}
		}
	}
}

// Find yields the messages from or to an address, of those that arrived at a time for
// which came is true. Its cost is that of reading each of these.
func (q *Queue) Find(ctx context.Context, addr mail.Address, came func(time.Time) bool) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for _, e := range q.entriesIn("") {
			if err := context.Cause(ctx); err != nil {
				yield(Message{}, err)
				return
			}
			if !came(e.id.Time()) {
				continue
			}
			m, ok := q.message(e)
			to := slices.ContainsFunc(m.To, func(r mail.Recipient) bool { return r.Address == addr })
			if ok && (to || m.From == addr) && !yield(m, nil) {
				return
			}
		}
	}
}

// entriesIn returns the entries of d, or of all destinations if d is "".
func (q *Queue) entriesIn(d mail.Domain) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*entry
	take := func(d *destination) {
		for _, e := range d.entries {
			if !e.is(settled) {
				out = append(out, e)
			}
		}
	}
	if d != "" {
		if dest := q.dests[d]; dest != nil {
			take(dest)
		}
		return out
	}
	for _, name := range slices.Sorted(maps.Keys(q.dests)) {
		take(q.dests[name])
	}
	return out
}

// message describes e; ok is false if e is settled.
func (q *Queue) message(e *entry) (m Message, ok bool) {
	rec, env, err := q.load(e)
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.is(settled) {
		return Message{}, false
	}
	d := e.dest
	m = Message{ID: e.id, Domain: d.name, State: Active, Size: e.size, Received: unixTime(e.received), Attempts: int(e.attempts)}
	if err != nil {
		m.State, m.LastError = Damaged, err.Error()
		return m, true
	}
	m.From, m.To, m.Received, m.Expires = env.From, recipients(env, rec.open), env.Received, q.expiry(e)
	m.Attempts += d.backoff.since(e.received)
	last := e.lastTry(rec)
	if last.tried != 0 {
		m.LastTry, m.LastError, m.Host = unixTime(last.tried), last.reply.Error(), last.host
		m.Phase, m.InDoubt = last.reply.Phase, last.reply.InDoubt()
	}
	route := q.route(d.name)
	switch next := max(e.next, d.backoff.next); {
	case e.is(unreadable):
		m.State = Damaged
	case e.is(frozen) || route.Frozen:
		m.State = Frozen
	case e.is(claimed):
	case e.onHold():
		m.State, m.NextTry = Retry, unixTime(e.next)
	case route.Held:
		m.State = Held
	case next > now():
		m.State, m.NextTry = Retry, unixTime(next)
	}
	return m, true
}

// A Detail describes a message and all its entries.
type Detail struct {
	Envelope mail.Envelope `json:"envelope"`
	Entries  []Message     `json:"entries"` // one for each destination that is not settled
}

// Show describes message id. The error is ErrNotFound if it is not in the
// queue.
func (q *Queue) Show(id mail.MessageID) (Detail, error) {
	var out Detail
	for _, e := range q.find(id) {
		if m, ok := q.message(e); ok {
			out.Entries = append(out.Entries, m)
		}
	}
	if len(out.Entries) == 0 {
		return Detail{}, fmt.Errorf("queue %s: %w", id, ErrNotFound)
	}
	env, err := q.store.Envelope(id)
	if err != nil && !errors.Is(err, mail.ErrLost) {
		return Detail{}, fmt.Errorf("queue %s: %w", id, err)
	}
	out.Envelope = env
	return out, nil
}

// Waiting describes message id as Show does, where its recipients are in these domains.
// Its cost does not grow with the number of destinations.
func (q *Queue) Waiting(id mail.MessageID, domains []mail.Domain) (out []Message) {
	q.mu.Lock()
	var found []*entry
	for _, name := range append(slices.Clip(domains), Badmail, Reports) {
		if d := q.dests[name]; d != nil {
			if e := d.find(id); e != nil {
				found = append(found, e)
			}
		}
	}
	q.mu.Unlock()
	for _, e := range found {
		if m, ok := q.message(e); ok {
			out = append(out, m)
		}
	}
	return out
}

// Open returns the stored text of message id.
func (q *Queue) Open(id mail.MessageID) (io.ReadSeekCloser, error) {
	if len(q.find(id)) == 0 {
		return nil, fmt.Errorf("queue %s: %w", id, ErrNotFound)
	}
	return q.store.Open(id)
}

// find returns the entries of message id, sorted by destination.
func (q *Queue) find(id mail.MessageID) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*entry
	for _, d := range q.dests {
		if e := d.find(id); e != nil {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int { return cmp.Compare(a.dest.name, b.dest.name) })
	return out
}
