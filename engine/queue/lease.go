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
type hold struct {
	holder string
	own    bool // the scheduler opened it
	all    bool // whatever may go, in the order of arrival, not just what is due
	over   bool // nothing more is to be had
	full   bool // the host takes no more conversations
	failed bool // something could not be settled

	leases  int
	quit    int            // of them, how many have said Defer
	cursor  mail.MessageID // all: what was handed out last
	late    []*entry       // all: what came in behind the cursor
	taken   int
	settled int
}

// arrived is told of a new entry of the destination.
func (h *hold) arrived(e *entry) {
	if h.all && e.id <= h.cursor {
		h.late = append(h.late, e)
	}
}

// perConversation is how many messages wait before another conversation with
// the same destination is worth its setting up.
const perConversation = 20

// crowded says that one more conversation should help.
func (h *hold) crowded(d *destination, most int) bool {
	if !h.own || h.over || h.full || h.leases >= most {
		return false
	}
	waiting := len(d.due)
	if h.all {
		waiting = d.count() - h.taken
	} else if waiting > 0 && d.due[0].next > now() {
		waiting = 0 // they wait for their time
	}
	return waiting > perConversation*h.leases
}

// An Item is a message as it is handed out.
type Item struct {
	Env      mail.Envelope    // as accepted, with all its recipients
	To       []mail.Recipient // those of this destination that are still open
	Attempts int              // so far
	Open     func() (io.ReadSeekCloser, error)
}

// taken is a message while a lease has it.
type taken struct {
	entry *entry
	rec   record
	env   mail.Envelope
}

// A Lease has a destination's messages to itself until Close. Its methods may
// be called from anywhere.
type Lease struct {
	q    *Queue
	dest *destination
	hold *hold
	out  map[mail.MessageID]*taken // guarded by q.mu, as are the next two
	over bool                      // it has said Defer
	done bool
}

// Lease hands d to holder, held or not: everything in it that is not frozen,
// in the order of arrival, and what arrives before the lease ends. The error
// is an [ErrBusy] while somebody else has it. A destination without messages
// can be leased too.
func (q *Queue) Lease(d mail.Domain, holder string) (*Lease, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	dest := q.destination(d)
	if dest.hold != nil {
		return nil, ErrBusy{d, dest.hold.holder}
	}
	dest.hold = &hold{holder: holder, all: true}
	q.touch(dest)
	return q.join(dest), nil
}

// join gives one more lease of d's hold. The caller holds q.mu.
func (q *Queue) join(d *destination) *Lease {
	d.hold.leases++
	return &Lease{q: q, dest: d, hold: d.hold, out: map[mail.MessageID]*taken{}}
}

// Domain is what is leased.
func (l *Lease) Domain() mail.Domain { return l.dest.name }

// Next gives the next message; false when there is none now. It may be asked
// again: messages that have arrived since are seen. A message that cannot be
// read is set aside, named in the journal, and passed over.
func (l *Lease) Next() (Item, bool) {
	for {
		e := l.claim()
		if e == nil {
			return Item{}, false
		}
		rec, env, err := l.q.load(e)
		if err != nil {
			l.q.unreadable(e, err)
			continue
		}
		l.q.mu.Lock()
		l.out[e.id] = &taken{e, rec, env}
		l.q.mu.Unlock()
		return Item{
			Env:      env,
			To:       recipients(env, rec.open),
			Attempts: rec.attempts,
			Open:     func() (io.ReadSeekCloser, error) { return l.q.sp.Open(e.id) },
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
	q, d, h := l.q, l.dest, l.hold
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.done || l.over || h.over {
		return nil
	}
	route := q.deps.Router.Route(d.name)
	if route.Frozen || route.Held && !h.all {
		return nil
	}
	e := h.pick(d)
	if e != nil {
		h.taken++
		d.mark(e, claimed, 0)
	}
	return e
}

func (h *hold) pick(d *destination) *entry {
	if !h.all {
		if len(d.due) == 0 || d.due[0].next > now() {
			return nil
		}
		return d.due[0]
	}
	for len(h.late) > 0 {
		e := h.late[0]
		h.late = h.late[1:]
		if e.idle() {
			return e
		}
	}
	for _, e := range d.list[d.after(h.cursor):] {
		h.cursor = e.id
		if e.idle() {
			return e
		}
	}
	return nil
}

// load reads what the index does not have of e.
func (q *Queue) load(e *entry) (record, mail.Envelope, error) {
	raw, ok, err := q.db.Get(entryKey(e.id, e.at.name))
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
	env, err := q.sp.Envelope(e.id)
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

// unreadable takes e, which is claimed, out of the way: for good if nothing
// can be read of it any more, for a step of the ladder if that may pass.
func (q *Queue) unreadable(e *entry, err error) {
	step := q.policy().step(1)
	q.mu.Lock()
	defer q.mu.Unlock()
	if errors.Is(err, errRecord) || q.sp.Lost(err) {
		e.at.mark(e, aside, claimed)
	} else {
		e.next = now() + int64(step)
		e.at.mark(e, 0, claimed)
	}
	q.deps.Journal.SetAside(context.Background(), e.id, e.at.name, err)
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
	t := l.out[id]
	l.q.mu.Unlock()
	if t == nil {
		return fmt.Errorf("queue %s: %w", id, ErrNotLeased)
	}
	open, err := l.q.settle(context.WithoutCancel(ctx), t, outcomes)
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	if !open {
		delete(l.out, id)
		l.hold.settled++
	} else if err != nil {
		l.hold.failed = true
	}
	return err
}

func (q *Queue) unclaim(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.is(claimed) {
		e.at.mark(e, 0, claimed)
	}
}

// release puts what the lease has back into the queue. The caller holds q.mu.
func (l *Lease) release() {
	for id, t := range l.out {
		l.dest.mark(t.entry, 0, claimed)
		delete(l.out, id)
	}
}

// Close ends the lease. What is not settled is back in the queue at once.
// Closing twice is harmless.
func (l *Lease) Close() {
	q, d, h := l.q, l.dest, l.hold
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.done {
		return
	}
	l.done = true
	l.release()
	if l.over {
		h.quit--
	}
	if h.leases--; h.leases > 0 {
		return
	}
	d.hold = nil
	stuck := h.settled == 0 && !h.over || h.failed
	if h.own && stuck && len(d.due) > 0 && d.due[0].next <= now() {
		// An attempt that came to nothing and gave no reason would be made
		// again at once, and again; one whose outcome could not be stored
		// would only send the same once more.
		d.off.next = now() + int64(q.policy().step(1))
	}
	q.touch(d)
}
