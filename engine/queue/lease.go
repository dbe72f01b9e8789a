// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"restante/engine/mail"
)

// ErrBusy means that another holder has the lease of a destination.
type ErrBusy struct {
	Domain mail.Domain
	Holder string // who has it
}

func (e ErrBusy) Error() string {
	return fmt.Sprintf("queue: %s is being handed to %s", e.Domain, e.Holder)
}

// ErrNotLeased means that a lease does not have a message, or no longer.
var ErrNotLeased = errors.New("queue: the message is not in this lease")

// An ownership is one holder's exclusive use of a destination. It has one lease
// for each conversation with the destination's hosts.
type ownership struct {
	holder    string
	account   string // that has called for the mail, in lower case; "": none
	own       bool   // of the scheduler
	unasked   bool   // by a trigger that is not the owner's
	all       bool   // gets all entries, not only those that are due: in the order of arrival, urgent ones first
	began     bool   // all: has handed something out
	selection Selection
	ended     bool // hands out nothing more
	saturated bool // the host takes no more conversations
	failed    bool // an outcome could not be stored

	leases    int
	deferred  int            // of them, those that called Defer
	cursor    mail.MessageID // all: the last message handed out
	missed    []*entry       // all: entries that arrived behind the cursor
	handedOut int
	settled   int

	lease *Lease                             // the only one of a holder other than the scheduler
	stops map[*Lease]context.CancelCauseFunc // of the contexts that Until gave
	heir  *ownership                         // gets the destination with the end of the last lease
	ready chan struct{}                      // of an heir: closed when it has the destination, or another has its place
}

// noteArrival is called for each new entry of the destination.
func (h *ownership) noteArrival(e *entry) {
	if h.all && e.id <= h.cursor {
		h.missed = append(h.missed, e)
	}
}

// messagesPerConversation is the number of waiting messages that justify one
// more conversation.
const messagesPerConversation = 20

// wantsMore reports whether one more conversation should help.
func (h *ownership) wantsMore(d *destination, most int) bool {
	if !h.own || h.ended || h.saturated || h.leases >= most {
		return false
	}
	waiting := len(d.due)
	if h.all {
		waiting = min(d.count()-h.handedOut, len(d.entries)-d.after(h.cursor)+len(h.missed))
	} else if waiting > 0 && d.due[0].next > now() {
		waiting = 0 // none is due
	}
	return waiting > messagesPerConversation*h.leases
}

// A leasedMessage is a message that a lease has handed out.
type leasedMessage struct {
	entry *entry
	rec   record
	env   mail.Envelope

	settling int // calls of Settle under way: nobody else gets the message meanwhile
}

// A Lease has exclusive use of a destination's messages until Close. Its
// methods may be called concurrently.
type Lease struct {
	q        *Queue
	dest     *destination
	owner    *ownership
	messages map[mail.MessageID]*leasedMessage // guarded by q.mu, as are the next two and settling
	deferred bool                              // Defer was called
	closed   bool
}

// Lease gives d to holder, held or not: all messages that are not frozen, in
// the order of arrival, including later arrivals. The error is an [ErrBusy]
// while another holder has the lease. A destination without messages can be
// leased too.
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

// yieldTime is how long an earlier call of an account has to give way. Then its
// leases end without it.
const yieldTime = 5 * time.Second

// TakeOver is Lease for account, which has called for the mail by verb. An attempt of
// the scheduler gives way: it stops before its next message, and at once where it has
// none under way. TakeOver waits for that until ctx ends. An earlier call of the same
// account gives way at once, whatever it is doing: its line may be dead. The error is an
// [ErrBusy] if an attempt does not stop in time, or if another holder has the lease.
func (q *Queue) TakeOver(ctx context.Context, d mail.Domain, verb, account string) (*Lease, error) {
	next := &ownership{holder: verb + " " + account, account: strings.ToLower(account), all: true, ready: make(chan struct{})}
	q.mu.Lock()
	defer q.mu.Unlock()
	dest := q.destination(d)
	old := dest.owner
	if old == nil {
		dest.owner = next
		q.reschedule(dest)
		return q.newLease(dest), nil
	}
	if !old.own && !old.sameAccount(next) || old.heir != nil && !old.heir.sameAccount(next) {
		return nil, ErrBusy{d, old.holder}
	}
	if old.heir != nil {
		close(old.heir.ready)
	}
	old.heir, old.ended = next, true
	for _, stop := range old.stops {
		stop(old.whyEnded())
	}
	q.mu.Unlock()
	var late <-chan time.Time
	if !old.own {
		late = time.After(yieldTime)
	}
	select {
	case <-next.ready:
	case <-ctx.Done():
	case <-late:
	}
	q.mu.Lock()
	if old.heir == next && old.lease != nil && ctx.Err() == nil {
		old.lease.close()
	}
	if dest.owner == next {
		return q.newLease(dest), nil
	}
	if old.heir == next {
		old.heir = nil
	}
	return nil, ErrBusy{d, old.holder}
}

func (h *ownership) sameAccount(other *ownership) bool {
	return h.account != "" && h.account == other.account
}

// whyEnded is why h has to give way to its heir.
func (h *ownership) whyEnded() error {
	if h.own {
		return mail.ErrTakenOver
	}
	return mail.ErrCalledAgain
}

// Until returns a context that ends with ctx, and when the lease is taken over: with
// [mail.ErrTakenOver], or [mail.ErrCalledAgain] where the holder was an earlier call. A
// lease has one.
func (l *Lease) Until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	q, h := l.q, l.owner
	q.mu.Lock()
	defer q.mu.Unlock()
	if h.heir != nil {
		stop(h.whyEnded())
	}
	if h.stops == nil {
		h.stops = map[*Lease]context.CancelCauseFunc{}
	}
	h.stops[l] = stop
	return ctx, func() {
		stop(nil)
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(h.stops, l)
	}
}

// newLease returns one more lease for the owner of d. The caller holds q.mu.
func (q *Queue) newLease(d *destination) *Lease {
	l := &Lease{q: q, dest: d, owner: d.owner, messages: map[mail.MessageID]*leasedMessage{}}
	if d.owner.leases++; !d.owner.own {
		d.owner.lease = l
	}
	return l
}

// A Selection says which messages a lease hands out that gets all, and in which order.
type Selection struct {
	Smallest bool                  // the smallest first, instead of by priority and age
	Take     func(size int64) bool // asked once for each message, under the queue's lock; nil: all are taken
}

// Select is to be called before Next. What is not taken stays as it is.
func (l *Lease) Select(s Selection) {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	if !l.owner.began {
		l.owner.selection = s
	}
}

// takes reports whether e is handed out now.
func (h *ownership) takes(e *entry) bool {
	return e.idle() && !e.onHold() && (h.selection.Take == nil || h.selection.Take(e.size))
}

// Domain is the leased destination.
func (l *Lease) Domain() mail.Domain { return l.dest.name }

// failure is why a message of Badmail failed; the zero Reply where an attempt to put it
// aside has taken its place.
func (l *Lease) failure(rec record) (r mail.Reply) {
	if l.dest.name == Badmail && rec.attempts == 0 {
		r = rec.last.reply
	}
	return r
}

// Next returns the next message, or false if there is none now. A later call
// sees messages that have arrived since. A message that cannot be read is noted
// in the journal and skipped. Outcomes that Settle could not store are stored
// first: a recipient that has one is not handed out again.
func (l *Lease) Next() (mail.Item, bool) {
	for {
		e := l.claim()
		if e == nil {
			return mail.Item{}, false
		}
		rec, env, err := l.q.load(e)
		if err != nil {
			l.q.markUnreadable(e, err)
			continue
		}
		t := &leasedMessage{entry: e, rec: rec, env: env}
		l.q.mu.Lock()
		l.messages[e.id] = t
		closed := l.closed // meanwhile, for another call
		if closed {
			l.returnMessages()
		}
		l.q.mu.Unlock()
		if closed {
			return mail.Item{}, false
		}
		open, err := l.settleAgain(t)
		if err != nil {
			return mail.Item{}, false // what the peer answers could not be stored either
		}
		if !open {
			continue
		}
		rec = t.rec
		return mail.Item{
			Env:      env,
			To:       recipients(env, rec.open),
			Attempts: rec.attempts,
			Failure:  l.failure(rec),
			Keep:     l.owner.unasked && l.q.route(l.dest.name).Held,
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

// claim marks the next entry as claimed and returns it, or nil.
func (l *Lease) claim() *entry {
	q, d, h := l.q, l.dest, l.owner
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.closed || l.deferred || h.ended {
		return nil
	}
	route := q.route(d.name)
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
	if !h.began {
		h.began = true
		h.order(d)
	}
	for len(h.missed) > 0 {
		e := h.missed[0]
		h.missed = h.missed[1:]
		if h.takes(e) {
			return e
		}
	}
	for _, e := range d.entries[d.after(h.cursor):] {
		h.cursor = e.id
		if h.takes(e) {
			return e
		}
	}
	return nil
}

// order has the entries of d handed out by their size or, if one has any, by their
// priority.
func (h *ownership) order(d *destination) {
	compare := func(a, b *entry) int { return cmp.Compare(b.priority, a.priority) }
	if h.selection.Smallest {
		compare = func(a, b *entry) int { return cmp.Compare(a.size, b.size) }
	} else if !slices.ContainsFunc(d.entries, func(e *entry) bool { return e.priority != 0 }) {
		return
	}
	if len(d.entries) == 0 {
		return
	}
	h.missed = slices.Clone(d.entries)
	slices.SortStableFunc(h.missed, compare)
	h.cursor = d.entries[len(d.entries)-1].id
}

// load reads the record and the envelope of e.
func (q *Queue) load(e *entry) (rec record, env mail.Envelope, err error) {
	raw, ok, err := q.db.Get(e.key())
	if err == nil && !ok {
		err = errRecord
	}
	if err == nil {
		rec, err = decodeRecord(raw)
	}
	if err == nil {
		env, err = q.store.Envelope(e.id)
	}
	if err == nil && slices.ContainsFunc(rec.open, func(i int) bool { return i >= len(env.To) }) {
		err = errRecord
	}
	return rec, env, err
}

// markUnreadable takes the claimed entry e out of the due ones: for good if its
// record or message is lost, otherwise until the first retry interval has
// passed.
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

// Settle records the outcomes of message id. Recipients without an outcome stay
// in the lease, to be settled later; a message whose recipients all have one
// leaves it. Settle makes the reports that are due. After an error, an outcome
// that is not on stable storage is not settled, and its recipient is still in
// the lease.
//
// The end of ctx does not interrupt Settle: what a peer has answered must be
// recorded.
func (l *Lease) Settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) error {
	l.q.mu.Lock()
	t := l.messages[id]
	l.q.mu.Unlock()
	if t == nil {
		return fmt.Errorf("queue %s: %w", id, ErrNotLeased)
	}
	_, err := l.settle(context.WithoutCancel(ctx), t, outcomes)
	return err
}

func (l *Lease) settle(ctx context.Context, t *leasedMessage, outcomes []mail.Outcome) (open bool, err error) {
	if !l.beginSettle(t) {
		return true, fmt.Errorf("queue %s: %w", t.env.ID, ErrNotLeased)
	}
	open, err = l.q.settle(ctx, t, outcomes)
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	if err != nil {
		l.q.keepOutcomes(t.entry, outcomes)
	}
	t.settling--
	defer func() {
		if l.closed {
			l.returnMessages()
			l.q.reschedule(l.dest)
		}
	}()
	if !open {
		delete(l.messages, t.env.ID)
		l.owner.settled++
	} else if err != nil {
		l.owner.failed = true
	}
	return open, err
}

// beginSettle reports whether t is in the lease, which then keeps it until it is settled,
// closed or not.
func (l *Lease) beginSettle(t *leasedMessage) bool {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	if l.messages[t.env.ID] != t {
		return false
	}
	t.settling++
	return true
}

// settleAgain stores the outcomes of t that could not be stored before. The
// message is still open if other recipients are.
func (l *Lease) settleAgain(t *leasedMessage) (open bool, err error) {
	if len(l.q.withUnsettled(t.entry, nil)) == 0 {
		return true, nil
	}
	return l.settle(context.Background(), t, nil)
}

// Unsettled are the outcomes of deliveries that could not be stored. A queue
// keeps them until it can; they are lost with the process.
type Unsettled map[string][]mail.Outcome // by the key of the entry

// Unsettled gives the outcomes for the queue that is opened after this one.
func (q *Queue) Unsettled() Unsettled {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.unsettled)
}

// withUnsettled adds to outcomes those of e that could not be stored. What a host has
// accepted or refused comes last, and so decides: nothing later changes it.
func (q *Queue) withUnsettled(e *entry, outcomes []mail.Outcome) []mail.Outcome {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := outcomes
	for _, o := range q.unsettled[string(e.key())] {
		if o.Status == mail.Deferred {
			all = slices.Insert(slices.Clip(all), 0, o)
		} else {
			all = append(slices.Clip(all), o)
		}
	}
	return all
}

// keepOutcomes remembers outcomes of an attempt that could not be stored. The caller holds
// q.mu.
func (q *Queue) keepOutcomes(e *entry, outcomes []mail.Outcome) {
	key := string(e.key())
	list := q.unsettled[key]
	for _, o := range outcomes {
		if !slices.ContainsFunc(list, func(was mail.Outcome) bool { return was.To == o.To }) {
			list = append(list, o)
		}
	}
	q.unsettled[key] = list
}

func (q *Queue) unclaim(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.is(claimed) {
		e.dest.setFlags(e, 0, claimed)
	}
}

// returnMessages puts the unsettled messages back into the queue; those that are being
// settled follow. The caller holds q.mu.
func (l *Lease) returnMessages() {
	for id, t := range l.messages {
		if t.settling == 0 {
			l.dest.setFlags(t.entry, 0, claimed)
			delete(l.messages, id)
		}
	}
}

// Close ends the lease. Unsettled messages are back in the queue at once.
// Closing twice is harmless.
func (l *Lease) Close() {
	l.q.mu.Lock()
	defer l.q.mu.Unlock()
	l.close()
}

// close is Close for a caller that holds q.mu.
func (l *Lease) close() {
	q, d, h := l.q, l.dest, l.owner
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
	if d.owner = h.heir; d.owner != nil {
		close(d.owner.ready)
		q.reschedule(d)
		return
	}
	stuck := h.settled == 0 && !h.ended || h.failed
	if h.own && stuck && len(d.due) > 0 && d.due[0].next <= now() {
		// Without a pause, an attempt that settled nothing would be made again
		// at once, without end; one whose outcome was not stored would send
		// the same message again.
		d.pause = now() + int64(q.policy().interval(1))
		d.backoff.next = d.pause
	}
	q.reschedule(d)
}
