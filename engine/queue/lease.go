// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"io"

	"restante/engine/mail"
)

// ErrBusy means that a destination is leased.
type ErrBusy struct {
	Domain mail.Domain
	Holder string // who has it
}

func (e ErrBusy) Error() string {
	return fmt.Sprintf("queue: %s is being handed to %s", e.Domain, e.Holder)
}

// ErrNotLeased means that a message is not, or no longer, in this lease.
var ErrNotLeased = errors.New("queue: the message is not in this lease")

// A hold is a destination in the hands of one holder: one lease, or as many as
// there are conversations with it.
type ownership struct {
	holder    string
	own       bool // the scheduler opened it
	all       bool // whatever may go, in the order of arrival, not just what is due
	ended     bool // nothing more is to be had
	saturated bool // the host takes no more conversations
	failed    bool // something could not be settled

	leases    int
	deferred  int            // of them, how many have said Defer
	cursor    mail.MessageID // all: what was handed out last
	missed    []*entry       // all: what came in behind the cursor
	handedOut int
	settled   int
}

// noteArrival is told of a new entry of the destination.
func (h *ownership) noteArrival(e *entry) {
	if h.all && e.id <= h.cursor {
		h.missed = append(h.missed, e)
	}
}

// messagesPerConversation is how many messages wait before another conversation with
// the same destination is worth its setting up.
const messagesPerConversation = 20

// wantsMore says that one more conversation should help.
func (h *ownership) wantsMore(d *destination, most int) bool {
	if !h.own || h.ended || h.saturated || h.leases >= most {
		return false
	}
	waiting := len(d.due)
	if h.all {
		waiting = d.count() - h.handedOut
	} else if waiting > 0 && d.due[0].next > now() {
		waiting = 0 // they wait for their time
	}
	return waiting > messagesPerConversation*h.leases
}

// An Item is a message as it is handed out.
type Item struct {
	Env      mail.Envelope    // as accepted, with all its recipients
	To       []mail.Recipient // those of this destination that are still open
	Attempts int              // so far
	Open     func() (io.ReadSeekCloser, error)
}

// handedOut is a message while a lease has it.
type leasedMessage struct {
	entry *entry
	rec   record
	env   mail.Envelope
}

// A Lease has a destination's messages to itself until Close. Its methods may
// be called from anywhere.
type Lease struct {
	q        *Queue
	dest     *destination
	owner    *ownership
	messages map[mail.MessageID]*leasedMessage // guarded by q.mu, as are the next two
	deferred bool                              // it has said Defer
	closed   bool
}

// Lease hands d to holder, held or not: everything in it that is not frozen,
// in the order of arrival, and what arrives before the lease ends. The error
// is an [ErrBusy] while somebody else has it. A destination without messages
// can be leased too.
func (q *Queue) Lease(d mail.Domain, holder string) (*Lease, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	dest := q.destination(d)
	if dest.owner != nil {
		return nil, ErrBusy{d, dest.owner.holder}
	}
	dest.owner = &ownership{holder: holder, all: true}
	q.reschedule(dest)
	return q.newLease(dest), nil
}

// newLease gives one more lease of d's hold. The caller holds q.mu.
func (q *Queue) newLease(d *destination) *Lease {
	d.owner.leases++
	return &Lease{q: q, dest: d, owner: d.owner, messages: map[mail.MessageID]*leasedMessage{}}
}

// Domain is what is leased.
func (l *Lease) Domain() mail.Domain { return l.dest.name }

// Next gives the next message; false when there is none now. It may be asked
// nextTry: messages that have arrived since are seen. A message that cannot be
// read is set aside, named in the journal, and passed over.
func (l *Lease) Next() (Item, bool) {
	for {
		e := l.claim()
		if e == nil {
			return Item{}, false
		}
		rec, env, err := l.q.load(e)
		if err != nil {
			l.q.markUnreadable(e, err)
			continue
		}
		l.q.mu.Lock()
		l.messages[e.id] = &leasedMessage{e, rec, env}
		l.q.mu.Unlock()
		return Item{
			Env:      env,
			To:       recipients(env, rec.open),
			Attempts: rec.attempts,
			Open:     func() (io.ReadSeekCloser, error) { return l.q.store.Open(e.id) },
		}, true
	}
}

func recipients(env mail.Envelope, open []int) []mail.Recipient {
	out := make([]mail.Recipient, 0, len(open))
	for _, i := range open {
		out = append(out, env.To[i])
	}
	return out
}

// claim picks what is next and takes it out of everybody's reach, or nil.
func (l *Lease) claim() *entry {
	q, d, h := l.q, l.dest, l.owner
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.closed || l.deferred || h.ended {
		return nil
	}
	route := q.deps.Router.Route(d.name)
	if route.Frozen || route.Held && !h.all {
		return nil
	}
	e := h.pick(d)
	if e != nil {
		h.handedOut++
		d.setFlags(e, claimed, 0)
	}
	return e
}

func (h *ownership) pick(d *destination) *entry {
	if !h.all {
		if len(d.due) == 0 || d.due[0].next > now() {
			return nil
		}
		return d.due[0]
	}
	for len(h.missed) > 0 {
		e := h.missed[0]
		h.missed = h.missed[1:]
		if e.idle() {
			return e
		}
	}
	for _, e := range d.entries[d.after(h.cursor):] {
		h.cursor = e.id
		if e.idle() {
			return e
		}
	}
	return nil
}

// load reads what the index does not have of e.
func (q *Queue) load(e *entry) (record, mail.Envelope, error) {
	raw, ok, err := q.db.Get(e.key())
	if err != nil {
		return record{}, mail.Envelope{}, err
	}
	if !ok {
		return record{}, mail.Envelope{}, errRecord
	}
	rec, err := decodeRecord(raw)
	if err != nil {
		return record{}, mail.Envelope{}, err
	}
	env, err := q.store.Envelope(e.id)
	if err != nil {
		return record{}, mail.Envelope{}, err
	}
	for _, i := range rec.open {
		if i >= len(env.To) {
			return record{}, mail.Envelope{}, errRecord
		}
	}
	return rec, env, nil
}

// markUnreadable takes e, which is claimed, out of the way: for good if nothing
// can be read of it any more, for a step of the ladder if that may pass.
func (q *Queue) markUnreadable(e *entry, err error) {
	step := q.policy().interval(1)
	q.mu.Lock()
	defer q.mu.Unlock()
	if errors.Is(err, errRecord) || errors.Is(err, mail.ErrLost) {
		e.dest.setFlags(e, unreadable, claimed)
	} else {
		e.next = now() + int64(step)
		e.dest.setFlags(e, 0, claimed)
	}
	q.deps.Journal.SetAside(context.Background(), e.id, e.dest.name, err)
}

// Settle remembers what became of message id. Recipients without an outcome
// stay in the lease with it, to be settled later; a message all of whose
// recipients have one leaves the lease. Reports to the sender are made as they
// are due. After an error nothing is settled that is not on stable storage, and
// what is not settled is still in the lease.
//
// A deadline of ctx does not cut it short: what a peer has said must be
// remembered.
func (l *Lease) Settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) error {
	l.q.mu.Lock()
	t := l.messages[id]
	l.q.mu.Unlock()
	if t == nil {
		return fmt.Errorf("queue %s: %w", id, ErrNotLeased)
	}
	open, err := l.q.settle(context.WithoutCancel(ctx), t, outcomes)
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	if !open {
		delete(l.messages, id)
		l.owner.settled++
	} else if err != nil {
		l.owner.failed = true
	}
	return err
}

func (q *Queue) unclaim(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.is(claimed) {
		e.dest.setFlags(e, 0, claimed)
	}
}

// returnMessages puts what the lease has back into the queue. The caller holds q.mu.
func (l *Lease) returnMessages() {
	for id, t := range l.messages {
		l.dest.setFlags(t.entry, 0, claimed)
		delete(l.messages, id)
	}
}

// Close ends the lease. What is not settled is back in the queue at once.
// Closing twice is harmless.
func (l *Lease) Close() {
	q, d, h := l.q, l.dest, l.owner
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.returnMessages()
	if l.deferred {
		h.deferred--
	}
	if h.leases--; h.leases > 0 {
		return
	}
	d.owner = nil
	stuck := h.settled == 0 && !h.ended || h.failed
	if h.own && stuck && len(d.due) > 0 && d.due[0].next <= now() {
		// An attempt that came to nothing and gave no reason would be made
		// nextTry at once, and again; one whose outcome could not be stored
		// would only send the same once more.
		d.backoff.next = now() + int64(q.policy().interval(1))
	}
	q.reschedule(d)
}
