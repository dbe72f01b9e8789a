// SPDX-License-Identifier: Apache-2.0

// Package queue holds the accepted messages of one site until they are
// delivered. It knows when each is due and which lease has it. A destination is
// a mail domain; a message has one entry in the queue for each of its
// destinations.
//
// It promises, in the order in which things happen:
//
//   - Accept returns when the message, its envelope and its entries are on
//     stable storage, in one commit.
//   - A destination is attempted as soon as an entry is due, unless the
//     [Router] holds it. The queue asks that at each decision and never
//     stores it.
//   - An attempt leases its destination. Two leases never get the same message.
//   - The outcomes of a message, and the report to its sender or what that will
//     state, are stored in one commit before anything of the message is removed.
//     A message is removed when its last entry is settled.
//   - A sender gets one report about all recipients of a message whose outcomes
//     come within [Policy].Collect, or with the last entry.
//
// The index is in memory and small; recipients, replies and texts stay in the
// [Store]. The package does not know how mail is delivered, what a report looks
// like, or why a domain is held.
package queue

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"restante/engine/dsn"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/internal/disk"
	"restante/internal/kv"
)

// A RouteState is what the settings in force say about a domain.
type RouteState struct {
	Held   bool // the mail waits for its host to call
	Local  bool // the mail is for a folder of ours
	Frozen bool // no lease gets the mail
	End    End  // of a held one
}

// An End is what becomes of held mail that has waited for [Times].Expire.
type End int

// The ends of held mail.
const (
	Return  End = iota // its sender gets a report
	Archive            // it becomes a file; see [Deps].Archive
	Keep               // it waits on
)

// A Router answers from the settings in force. The queue calls it often, and
// with its lock held: Route must be quick and must not call the queue.
type Router interface {
	Route(d mail.Domain) RouteState
}

// An Attempt delivers the messages of the lease until Next returns none, and
// settles each. The queue closes the lease afterwards. Several attempts may
// share a destination.
type Attempt func(ctx context.Context, l *Lease)

// A Reporter writes the report to a sender. It fills in the name and the limits
// of the reporting host.
type Reporter func(ctx context.Context, r dsn.Report) ([]byte, error)

// Badmail is the destination of messages that failed and have no sender to
// report to, such as reports. No address has it as its domain. Mail for it does
// not expire. If the [Router] holds it, the mail stays in the queue.
const Badmail mail.Domain = "@badmail"

// Deps is what a Queue works with. Router, Attempt and Report are required.
type Deps struct {
	Router  Router
	Attempt Attempt
	Report  Reporter
	Policy  func() Policy    // asked at each decision; nil: the zero Policy
	Journal *journal.Journal // may be nil
	FS      disk.FS          // where Export writes; nil: the system's

	// Archive stores a message of which recipients are at the end of their hold, for them
	// alone. When it returns nil, that survives a crash. Nil: such mail is kept.
	Archive func(ctx context.Context, env mail.Envelope, text io.Reader) error

	Quota func(mail.Domain) Quota               // of the mail that waits for a domain, asked as Router is; nil: there is none
	Free  func() (free, total int64, err error) // of the disk; total 0: unknown, as where it is nil

	Unsettled Unsettled // of the queue that was open before

	Held func(mail.Domain) // told of each message that is accepted for a held domain; must not block; may be nil

	Stored func(error) // told of each collected report that was stored, or why not; may be nil
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

// A Queue holds the mail of one site. Its methods may be called concurrently.
type Queue struct {
	store Store
	db    kv.DB
	deps  Deps
	wake  chan struct{}

	settling [64]sync.Mutex // by message; see lockMessage. Locked before mu

	mu      sync.Mutex // guards what follows and all entries and destinations
	dests   map[mail.Domain]*destination
	due     agenda
	total   Counts // Messages and Bytes only
	running int    // attempts under way

	kept map[mail.Domain]*keptState
	quotas

	unsettled Unsettled
}

// entriesOf returns a record for each destination of env, and the operations
// that store them.
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
			if env.Quarantine != "" {
				r.flags |= frozen
			}
			if env.By.Over {
				r.flags |= noticed
			}
			if env.HoldUntil.After(env.Received) {
				// Its age begins with its release: it does not expire before.
				r.next, r.received = env.HoldUntil.UnixNano(), env.HoldUntil.UnixNano()
			}
		}
		r.open = append(r.open, i)
		parts[to.Address.Domain] = r
	}
	ops := make([]kv.Op, 0, len(parts)+1)
	if len(parts) > 1 {
		ops = append(ops, setCount(env.ID, len(parts)))
	}
	for d, r := range parts {
		ops = append(ops, kv.Put(entryKey(env.ID, d), r.encode()))
	}
	return parts, ops, nil
}

// enter puts a stored message into the index, in place of its reservation, and returns
// the destinations that hold it.
func (q *Queue) enter(env mail.Envelope, parts map[mail.Domain]record, res reservation) (held []mail.Domain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cancel(res)
	q.total.Messages++
	q.total.Bytes += env.Size
	var flags uint8
	if len(parts) > 1 {
		flags = shared
	}
	for name, r := range parts {
		d := q.destination(name)
		e := &entry{id: env.ID, dest: d, received: r.received, size: r.size, next: r.next, flags: flags | r.flags}
		e.setEnvelope(&env)
		q.kept[name].noteArrival(e)
		q.addEntry(d, e)
		if q.route(name).Held {
			held = append(held, name)
		}
	}
	return held
}

// addEntry puts the new entry e into d. The caller holds q.mu.
func (q *Queue) addEntry(d *destination, e *entry) {
	d.add(e)
	q.noteOverdue(e)
	if d.owner != nil {
		d.owner.noteArrival(e)
	}
	q.reschedule(d)
}

// route asks the settings in force about a domain.
func (q *Queue) route(name mail.Domain) RouteState {
	if name == Reports {
		return RouteState{}
	}
	return q.deps.Router.Route(name)
}

// destination returns the destination called name, which it creates if there is
// none. The caller holds q.mu and calls reschedule afterwards.
func (q *Queue) destination(name mail.Domain) *destination {
	d := q.dests[name]
	if d == nil {
		d = &destination{name: name, agenda: schedule{index: -1}}
		q.policyFor(d)
		q.joinGroup(d)
		q.dests[name] = d
	}
	return d
}

// reschedule brings the place of d in the agenda in line with its state, and
// drops a destination without entries. The caller holds q.mu.
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

// wakeTime is when the scheduler must look at d again: 0 at once, never until
// something changes. The caller holds q.mu.
func (q *Queue) wakeTime(d *destination) int64 {
	if d.owner != nil {
		if d.owner.wantsMore(d, q.policy().PerDestination) {
			return 0
		}
		return never
	}
	route := q.route(d.name)
	switch {
	case route.Frozen:
		return never
	case d.triggered && d.count() > 0:
		return 0
	case route.Held:
		return q.nextOverdue(d)
	case len(d.due) == 0:
		return never
	}
	next := d.nextTry()
	if next > now() {
		next = min(next, max(q.nextOverdue(d), d.pause))
	}
	return next
}

// nextTry is when d is attempted next; it has an entry that is due at some time.
func (d *destination) nextTry() int64 { return max(d.due[0].next, d.backoff.next) }

// wakeScheduler makes Run look at the agenda again.
func (q *Queue) wakeScheduler() {
	select {
	case q.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

func (q *Queue) policy() Policy {
	var p Policy
	if q.deps.Policy != nil {
		p = q.deps.Policy()
	}
	return p.withDefaults()
}

// Recheck looks at every destination anew, because the settings have changed.
func (q *Queue) Recheck() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.dests {
		d.overdue = 0
		q.policyFor(d) // also where nothing is asked of it now
		q.reschedule(d)
	}
	q.wakeScheduler() // the limit of conversations may have changed
}

// Reroute makes postponed messages due if changed reports that the route of
// their destination has changed. It calls changed without holding a lock.
func (q *Queue) Reroute(changed func(d mail.Domain) bool) {
	for _, d := range q.postponed() {
		if changed(d) {
			q.clearRetries(d)
		}
	}
}

// postponed lists the destinations that have messages waiting after a failure.
func (q *Queue) postponed() (names []mail.Domain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := now()
	for name, d := range q.dests {
		if name == Reports {
			continue // no route leads to it
		}
		if d.backoff.next > t || slices.ContainsFunc(d.due, func(e *entry) bool { return e.next > t }) {
			names = append(names, name)
		}
	}
	return names
}

// clearRetries makes the messages of a destination due now. What is stored does
// not change: after a crash they wait for their time.
func (q *Queue) clearRetries(name mail.Domain) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.dests[name]
	if d == nil {
		return
	}
	d.backoff.next = 0
	for _, e := range d.due {
		if !e.onHold() {
			e.next = 0
		}
	}
	heap.Init(&d.due)
	q.reschedule(d)
}

// Trigger makes all messages for d due once, held or not, and returns their
// number. A leased destination is attempted when the lease ends. A frozen
// destination does not change.
//
// A host that refuses a message of a held destination for good, before it has
// seen the message, does not end it: nobody vouches that this is still the
// domain's host. The message waits on.
func (q *Queue) Trigger(d mail.Domain) int { return q.trigger(d, false) }

// Release is Trigger for an administrator, by whom it is in the journal.
func (q *Queue) Release(ctx context.Context, d mail.Domain, by string) int {
	n := q.Trigger(d)
	if n > 0 {
		q.deps.Journal.Released(ctx, "", journal.Release{Domain: d, Verb: "queue release", Account: by, Left: n})
	}
	return n
}

// TriggerByOwner is Trigger for the owner of the mail, whose hosts refuse it as
// they do other mail.
func (q *Queue) TriggerByOwner(d mail.Domain) int { return q.trigger(d, true) }

func (q *Queue) trigger(d mail.Domain, owner bool) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	dest := q.dests[d]
	if dest == nil || q.route(d).Frozen || dest.count() == 0 {
		return 0
	}
	dest.triggered, dest.byOwner = true, owner || dest.triggered && dest.byOwner
	q.reschedule(dest)
	return dest.count()
}

// Holder names the holder of the lease of d, or is "".
func (q *Queue) Holder(d mail.Domain) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if dest := q.dests[d]; dest != nil && dest.owner != nil {
		return dest.owner.holder
	}
	return ""
}

func now() int64 { return time.Now().UnixNano() }

// A Draft takes in the text of one message. It ends in Commit or Abort; after
// either, Abort does nothing.
type Draft interface {
	io.Writer
	Size() int64       // octets written so far
	Reader() io.Reader // of these, until the next Write, Commit or Abort

	// Commit stores the message under env, whose ID must be new, with env.Top on
	// top of the text, and applies extra to the queue's DB in the same durable step. After an error nothing
	// of it happened.
	Commit(ctx context.Context, env mail.Envelope, extra ...kv.Op) error
	Abort()
}

// A Store keeps the text and the envelopes of messages. It writes to the DB
// that the queue has its entries in, so that one commit holds both; the queue's
// keys begin with "q/". Package queuetest holds implementations to this
// contract.
type Store interface {
	// Create begins a message.
	Create(ctx context.Context) (Draft, error)

	// Open returns the text of a message, and Envelope its envelope as it was
	// committed. The error of one that can never be read again is a
	// [mail.ErrLost].
	Open(id mail.MessageID) (io.ReadSeekCloser, error)
	Envelope(id mail.MessageID) (mail.Envelope, error)

	// Scan yields all envelopes as of the call, in the order of their IDs. An
	// envelope that cannot be read is yielded with its ID and an error, and
	// the scan goes on; an error without an ID ends it.
	Scan(ctx context.Context) iter.Seq2[mail.Envelope, error]

	// Remove deletes messages and applies extra in the same durable step. An
	// ID that is not there is no error.
	Remove(ctx context.Context, ids []mail.MessageID, extra ...kv.Op) error
}

// Create begins a message for [Queue.Accept].
func (q *Queue) Create(ctx context.Context) (Draft, error) { return q.store.Create(ctx) }

// Accept stores the message in d, which came from [Queue.Create], and queues it
// for each destination. When it returns nil, message, envelope and entries are
// on stable storage, and extra is applied to the DB. After an error nothing of it
// is there. It is a [mail.Reply] with [ErrQuota] where the message would exceed the quota of
// a held domain. The envelope needs an ID of its own and at least one recipient, each
// with a domain.
func (q *Queue) Accept(ctx context.Context, d Draft, env mail.Envelope, extra ...kv.Op) error {
	env.Size = d.Size() + int64(len(env.Top))
	return q.accept(ctx, d, env, extra...)
}

// accept is Accept with further operations in the same commit.
func (q *Queue) accept(ctx context.Context, d Draft, env mail.Envelope, extra ...kv.Op) error {
	records, ops, err := entriesOf(env)
	if err != nil {
		return err
	}
	res, err := q.reserve(records)
	if err != nil {
		return fmt.Errorf("queue %s: %w", env.ID, err)
	}
	if err := d.Commit(ctx, env, append(ops, extra...)...); err != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.cancel(res)
		return fmt.Errorf("queue %s: %w", env.ID, err)
	}
	// From here on a crash must not lose the message.
	q.deps.Journal.Accepted(ctx, env)
	for _, name := range q.enter(env, records, res) {
		q.deps.Journal.Held(ctx, env, name)
		if q.deps.Held != nil {
			q.deps.Held(name)
		}
	}
	return nil
}
