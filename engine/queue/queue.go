// SPDX-License-Identifier: Apache-2.0

// Package queue knows which messages wait for which destination, when each is
// due, and who has it in hand. A [Queue] belongs to one site; a destination is
// a mail domain, and a message is in the queue once for each domain it goes to.
//
// What it promises, in the order in which things happen:
//
//   - Accept returns when the message, its envelope and its places in the
//     queue are on stable storage in one commit.
//   - A destination is tried as soon as something in it is due, unless the
//     [Router] holds it; that is asked at each decision and never stored.
//   - Who delivers has the destination leased. Two leases never get the same
//     message.
//   - What became of a message is remembered in one commit, the report to its
//     sender with it, before anything of it is removed. A message goes when it
//     is settled for its last destination.
//
// The index is in memory and small; recipients, replies and bodies stay in the
// store until they are needed. The package does not know how mail is
// delivered, what a report looks like, or why a domain is held.
package queue

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"restante/engine/dsn"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/internal/disk"
	"restante/internal/kv"
)

// A RouteState is what the settings say about a domain right now.
type RouteState struct {
	Held   bool // it waits for its host to call
	Frozen bool // nobody gets it, whoever calls
}

// A Router answers from the settings in force. It is asked often, and while
// the queue is locked: it must be quick and must not call the queue.
type Router interface {
	Route(d mail.Domain) RouteState
}

// An Attempt delivers what the lease gives until it gives no more, and settles
// each message. The lease is closed for it. Several may share a destination.
type Attempt func(ctx context.Context, l *Lease)

// A Reporter writes the report to a sender. Report lacks the reporting host's
// name and limits, which the Reporter fills in.
type Reporter func(ctx context.Context, r dsn.Report) ([]byte, error)

// Badmail is the destination of messages that failed and have no sender to
// tell, reports above all. No address has it as its domain. Mail for it does
// not expire; a [Router] that holds it keeps it in the queue.
const Badmail mail.Domain = "@badmail"

// Deps is what a Queue works with. Router, Attempt and Report are required.
type Deps struct {
	Router  Router
	Attempt Attempt
	Report  Reporter
	Policy  func() Policy    // asked at each decision; nil: the zero Policy
	Journal *journal.Journal // may be nil
	FS      disk.FS          // where Export writes; nil: the system's
}

func (d Deps) validate() error {
	switch {
	case d.Router == nil:
		return errors.New("queue: no router")
	case d.Attempt == nil:
		return errors.New("queue: no attempt")
	case d.Report == nil:
		return errors.New("queue: no reporter")
	}
	return nil
}

// A Queue is one site's. Its methods may be called from anywhere.
type Queue struct {
	store Store
	db    kv.DB
	deps  Deps
	wake  chan struct{}

	// A message with several entries is settled under its lock: only the last
	// settlement removes the message.
	locks [64]sync.Mutex
	seed  maphash.Seed

	mu      sync.Mutex // guards what follows and all entries and destinations
	dests   map[mail.Domain]*destination
	due     agenda
	total   Counts // Messages and Bytes only
	running int    // attempts under way
}

// entriesOf parts env by destination, in the order of its recipients.
func entriesOf(env mail.Envelope) (map[mail.Domain]record, []kv.Op, error) {
	if len(env.To) == 0 {
		return nil, nil, fmt.Errorf("queue %s: the envelope has no recipient", env.ID)
	}
	if _, err := mail.ParseMessageID(string(env.ID)); err != nil {
		return nil, nil, fmt.Errorf("queue: %w", err)
	}
	parts := make(map[mail.Domain]record, 1)
	for i, to := range env.To {
		if to.Address.Domain == "" {
			return nil, nil, fmt.Errorf("queue %s: recipient %q has no domain", env.ID, to.Address)
		}
		r, ok := parts[to.Address.Domain]
		if !ok {
			r = record{received: env.Received.UnixNano(), size: env.Size}
		}
		r.open = append(r.open, i)
		parts[to.Address.Domain] = r
	}
	ops := countOps(env.ID, 1, len(parts))
	for d, r := range parts {
		ops = append(ops, kv.Put(entryKey(env.ID, d), r.encode()))
	}
	return parts, ops, nil
}

// enter puts a stored message into the index, and gives the destinations in
// which it is held.
func (q *Queue) enter(env mail.Envelope, parts map[mail.Domain]record) (held []mail.Domain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total.Messages++
	q.total.Bytes += env.Size
	for name, r := range parts {
		d := q.destination(name)
		q.addEntry(d, &entry{id: env.ID, received: r.received, size: r.size, next: r.next})
		if q.deps.Router.Route(name).Held {
			held = append(held, name)
		}
	}
	return held
}

// addEntry puts e, which is new, into d. The caller holds q.mu.
func (q *Queue) addEntry(d *destination, e *entry) {
	d.add(e)
	if d.owner != nil {
		d.owner.noteArrival(e)
	}
	q.reschedule(d)
}

// ageless reports whether mail for a destination neither expires nor is
// reported as late.
func (q *Queue) ageless(name mail.Domain) bool {
	return name == Badmail || q.deps.Router.Route(name).Held
}

// destination gives the one called name, which it makes if need be. The caller
// holds q.mu, and touches it when done.
func (q *Queue) destination(name mail.Domain) *destination {
	d := q.dests[name]
	if d == nil {
		d = &destination{name: name, agenda: schedule{index: -1}}
		q.dests[name] = d
	}
	return d
}

// reschedule puts d where it belongs in the agenda after something about it
// changed, or away when there is nothing left of it. The caller holds q.mu.
func (q *Queue) reschedule(d *destination) {
	if d.live() == 0 && d.owner == nil {
		q.due.set(d, never)
		delete(q.dests, d.name)
		return
	}
	before := never
	if len(q.due) > 0 {
		before = q.due[0].agenda.wake
	}
	wake := q.wakeTime(d)
	q.due.set(d, wake)
	if wake < before {
		q.wakeScheduler()
	}
}

// wakeTime is when somebody should look after d: 0 at once, or never as things
// are. The caller holds q.mu.
func (q *Queue) wakeTime(d *destination) int64 {
	if d.owner != nil {
		if d.owner.wantsMore(d, q.policy().PerDestination) {
			return 0
		}
		return never
	}
	route := q.deps.Router.Route(d.name)
	switch {
	case route.Frozen:
		return never
	case d.triggered && d.count() > 0:
		return 0
	case route.Held || len(d.due) == 0:
		return never
	}
	return max(d.due[0].next, d.backoff.next)
}

// wakeScheduler wakes the scheduler.
func (q *Queue) wakeScheduler() {
	select {
	case q.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

func (q *Queue) policy() Policy {
	var p Policy
	if q.deps.Policy != nil {
		p = q.deps.Policy()
	}
	return p.withDefaults()
}

// Recheck looks at every destination anew: the settings have changed.
func (q *Queue) Recheck() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.dests {
		q.reschedule(d)
	}
	q.wakeScheduler() // there may be room for more conversations
}

// Reroute makes due what waits after a failure, where changed says that the
// destination's mail goes another way now. Changed may take its time.
func (q *Queue) Reroute(changed func(d mail.Domain) bool) {
	for _, d := range q.postponed() {
		if changed(d) {
			q.clearRetries(d)
		}
	}
}

// postponed lists the destinations of which something waits after a failure.
func (q *Queue) postponed() (names []mail.Domain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := now()
	for name, d := range q.dests {
		if d.backoff.next > t || slices.ContainsFunc(d.due, func(e *entry) bool { return e.next > t }) {
			names = append(names, name)
		}
	}
	return names
}

// clearRetries forgets when d's messages are to be tried, until the next failure.
// On the disk it stays: after a crash they wait for their time.
func (q *Queue) clearRetries(name mail.Domain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.dests[name]
	if d == nil {
		return
	}
	d.backoff.next = 0
	for _, e := range d.due {
		e.next = 0
	}
	heap.Init(&d.due)
	q.reschedule(d)
}

// Knock makes d due now if it waits after a failure: its host is known to be
// there again. A held destination stays held.
func (q *Queue) Knock(d mail.Domain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if dest := q.dests[d]; dest != nil {
		dest.backoff.next = 0
		q.reschedule(dest)
	}
}

// Trigger makes everything in d due once, held or not, and gives the number of
// messages that there are to try. A destination that is leased is tried when
// the lease ends. It does nothing for a frozen destination.
func (q *Queue) Trigger(d mail.Domain) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	dest := q.dests[d]
	if dest == nil || q.deps.Router.Route(d).Frozen || dest.count() == 0 {
		return 0
	}
	dest.triggered = true
	q.reschedule(dest)
	return dest.count()
}

// Holder says who has d leased; "" for nobody.
func (q *Queue) Holder(d mail.Domain) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if dest := q.dests[d]; dest != nil && dest.owner != nil {
		return dest.owner.holder
	}
	return ""
}

func now() int64 { return time.Now().UnixNano() }
