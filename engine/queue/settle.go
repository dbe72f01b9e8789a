// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/kv"
)

// A decision is what the outcomes of one message come to.
type decision struct {
	rec           record                // the entry as it remains
	failed        []int                 // recipients given up
	reportable    []dsn.RecipientStatus // for the report to the sender
	undeliverable []int                 // of them, those that no sender can be told of
	failure       lastReply             // why the last of them was given up
	open          bool                  // a recipient has no outcome yet
	answered      bool                  // the destination's host accepted or refused a recipient
	events        []func()              // journal lines to write after the commit
	failEvents    []func()              // journal lines about failed recipients
	damage        error                 // why the stored message cannot be read
}

// settle records the outcomes of a claimed message. While a recipient has no
// outcome, the message stays open and claimed. An error leaves it open.
func (q *Queue) settle(ctx context.Context, t *leasedMessage, outcomes []mail.Outcome) (open bool, err error) {
	v, found := q.decide(ctx, t, outcomes)
	if !found {
		return true, nil
	}
	n, err := q.prepareReport(ctx, t, &v)
	if err != nil {
		// Without a report nothing is given up: the recipients are tried again.
		err = fmt.Errorf("queue %s: %w", t.entry.id, err)
		v.keepFailed(q.policy())
	}
	commitErr := q.commit(ctx, t, v, n)
	if commitErr != nil && n != nil {
		// The disk may lack the space for the report only.
		err = commitErr
		v.keepFailed(q.policy())
		commitErr = q.commit(ctx, t, v, nil)
	}
	if commitErr != nil {
		q.keepOutcomes(t.entry, outcomes)
		return true, errors.Join(err, commitErr)
	}
	for _, line := range append(v.events, v.failEvents...) {
		line()
	}
	t.rec = v.rec
	if v.damage != nil && len(v.rec.open) > 0 {
		q.markUnreadable(t.entry, v.damage) // another try would fail in the same way
		return false, err
	}
	return v.open, err
}

// decide turns the outcomes into a decision; found is false if none is for a
// recipient that is still open.
func (q *Queue) decide(ctx context.Context, t *leasedMessage, outcomes []mail.Outcome) (v decision, found bool) {
	by := byAddress(outcomes)
	j := decider{
		Queue: q, leasedMessage: t, policy: q.policy(), now: now(),
		held: q.ageless(t.entry.dest.name),
	}
	v.rec = t.rec
	v.rec.open = nil
	deferred := false
	for _, i := range t.rec.open {
		o, ok := by[t.env.To[i].Address]
		if !ok {
			v.rec.open = append(v.rec.open, i)
			v.open = true
			continue
		}
		found = true
		switch {
		case o.Status == mail.Delivered:
			j.delivered(ctx, &v, i, o)
		case o.Status == mail.Failed:
			j.failed(ctx, &v, i, o, "")
		case j.expired():
			j.failed(ctx, &v, i, o, "5.4.7") // RFC 3463: delivery time expired
		default:
			if !deferred {
				deferred = true
				j.postpone(&v, o)
			}
			if o.Reply.Cause != nil && errors.Is(o.Reply.Cause, mail.ErrLost) {
				v.damage = o.Reply.Cause
			}
			j.deferred(ctx, &v, i, o)
		}
	}
	if deferred && j.delayed() {
		v.rec.flags |= noticed
	}
	return v, found
}

func byAddress(outcomes []mail.Outcome) map[mail.Address]mail.Outcome {
	by := make(map[mail.Address]mail.Outcome, len(outcomes))
	for _, o := range outcomes {
		o.Reply.Text = truncate(o.Reply.Text)
		by[o.To] = o
	}
	return by
}

// A decider has what the decision about one message depends on.
type decider struct {
	*Queue
	*leasedMessage
	policy Policy
	now    int64
	held   bool // the message does not expire
}

func (j *decider) expired() bool { return !j.held && j.now >= j.rec.received+int64(j.policy.Expire) }
func (j *decider) delayed() bool {
	return !j.held && j.rec.flags&noticed == 0 && j.now >= j.rec.received+int64(j.policy.DelayNotice)
}

func (j *decider) fate(i int, o mail.Outcome, a dsn.Action) dsn.RecipientStatus {
	return dsn.RecipientStatus{To: j.env.To[i], Action: a, Reply: o.Reply, Host: o.Host, Tried: unixTime(j.now)}
}

func (j *decider) delivered(ctx context.Context, v *decision, i int, o mail.Outcome) {
	v.answered = true
	v.events = append(v.events, func() { j.deps.Journal.Delivered(ctx, j.env.ID, o) })
	action := dsn.Relayed
	if o.Host == "" {
		action = dsn.Delivered // on this host
	}
	// RFC 3461 §5.2.2: a next hop that makes reports makes this one too.
	if o.NoDSN && !j.env.From.IsNull() && dsn.Wanted(j.env.To[i].Notify, action) {
		v.reportable = append(v.reportable, j.fate(i, o, action))
	}
}

func (j *decider) failed(ctx context.Context, v *decision, i int, o mail.Outcome, status string) {
	v.answered = v.answered || o.Status == mail.Failed && o.Host != ""
	v.failed = append(v.failed, i)
	v.failEvents = append(v.failEvents, func() {
		if o.Status == mail.Failed {
			j.deps.Journal.Failed(ctx, j.env.ID, o)
		} else {
			j.deps.Journal.Expired(ctx, j.env.ID, o, time.Duration(j.now-j.rec.received))
		}
	})
	f := j.fate(i, o, dsn.Failed)
	f.Status = status
	switch {
	case j.entry.dest.name == Badmail:
		v.failEvents = append(v.failEvents, func() { j.deps.Journal.Dropped(ctx, j.env.ID, o.To, "it has no sender to tell") })
	case j.env.From.IsNull():
		// RFC 5321 §6.1: never a report about a report.
		v.undeliverable = append(v.undeliverable, i)
		v.failure = lastReply{j.now, o.Reply, o.Host}
	case dsn.Wanted(f.To.Notify, dsn.Failed):
		v.reportable = append(v.reportable, f)
	default:
		v.failEvents = append(v.failEvents, func() { j.deps.Journal.Dropped(ctx, j.env.ID, o.To, "its sender asked for no report") })
	}
}

// postpone sets the next try of the recipients that stay.
func (j *decider) postpone(v *decision, o mail.Outcome) {
	v.rec.attempts++
	v.rec.next = j.policy.nextTry(j.now, j.rec.received, v.rec.attempts)
	v.rec.last = lastReply{j.now, o.Reply, o.Host}
}

func (j *decider) deferred(ctx context.Context, v *decision, i int, o mail.Outcome) {
	v.rec.open = append(v.rec.open, i)
	again := unixTime(v.rec.next)
	v.events = append(v.events, func() { j.deps.Journal.Deferred(ctx, j.env.ID, o, again) })
	if j.delayed() && !j.env.From.IsNull() && dsn.Wanted(j.env.To[i].Notify, dsn.Delayed) {
		f := j.fate(i, o, dsn.Delayed)
		f.Until = unixTime(j.rec.received + int64(j.policy.Expire))
		v.reportable = append(v.reportable, f)
	}
}

// keepFailed turns failures into deferrals, because their report could not be
// stored.
func (v *decision) keepFailed(p Policy) {
	v.rec.open = append(v.rec.open, v.failed...)
	v.rec.next = max(v.rec.next, now()+int64(p.interval(1)))
	v.rec.flags &^= noticed
	v.failed, v.reportable, v.undeliverable, v.failEvents = nil, nil, nil, nil
}

// A pendingReport is a report that is not stored yet.
type pendingReport struct {
	env  mail.Envelope
	text []byte
}

// prepareReport writes the report about what v decides, or returns nil where
// none is due.
func (q *Queue) prepareReport(ctx context.Context, t *leasedMessage, v *decision) (*pendingReport, error) {
	if len(v.reportable) == 0 {
		return nil, nil
	}
	id := mail.NewMessageID(time.Now())
	report := dsn.Report{ID: id, At: time.Now(), About: t.env, Recipients: v.reportable}
	if body, err := q.store.Open(t.env.ID); err == nil {
		defer body.Close()
		report.Message = body // an unreadable message is reported without its text
	}
	text, err := q.deps.Report(ctx, report)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	env := mail.Envelope{ID: id, Received: report.At, Size: int64(len(text)),
		// RFC 3461 §6.1: so that no report comes of it.
		To: []mail.Recipient{{Address: t.env.From, Notify: "NEVER"}}}
	told := len(v.reportable)
	v.events = append(v.events, func() { q.deps.Journal.Report(ctx, id, t.env.ID, t.env.From, told) })
	return &pendingReport{env, text}, nil
}

// commit stores the decision, with the report in the same commit, and then
// brings the index in line. After an error nothing of it is stored.
func (q *Queue) commit(ctx context.Context, t *leasedMessage, v decision, report *pendingReport) error {
	for {
		err := q.tryCommit(ctx, t, v, report)
		if !errors.Is(err, kv.ErrMoved) {
			return err
		}
		// Another entry of the message was settled at the same time.
	}
}

func (q *Queue) tryCommit(ctx context.Context, t *leasedMessage, v decision, report *pendingReport) error {
	e := t.entry
	was, err := q.entriesLeft(e.id)
	if err != nil {
		return err
	}
	now, ops := was, q.backoffOps(e.dest, v)
	badmail, added, err := q.badmailOps(t, v)
	if err != nil {
		return err
	}
	ops = append(ops, badmail...)
	if added {
		now++
	}
	if len(v.rec.open) == 0 {
		now--
	}
	ops = append(ops, changeCount(e.id, was, now)...)
	last := now == 0
	switch {
	case last && report == nil:
		err = q.store.Remove(ctx, []mail.MessageID{e.id}, append(ops, kv.Del(e.key()))...)
	case last || len(v.rec.open) > 0:
		err = q.write(ctx, report, append(ops, kv.Put(e.key(), v.rec.encode())))
	default:
		err = q.write(ctx, report, append(ops, kv.Del(e.key())))
	}
	if err != nil {
		return fmt.Errorf("queue %s: %w", e.id, err)
	}
	if last && report != nil {
		if err := q.store.Remove(ctx, []mail.MessageID{e.id}, kv.Del(e.key())); err != nil {
			// The outcome is stored; the next start removes the message.
			q.deps.Journal.Unfreed(ctx, e.id, err)
		}
	}
	q.updateIndex(e, v, last)
	return nil
}

// badmailOps moves the recipients that v gives up without a report to Badmail;
// added reports whether that is one more entry of the message.
func (q *Queue) badmailOps(t *leasedMessage, v decision) (ops []kv.Op, added bool, err error) {
	if len(v.undeliverable) == 0 {
		return nil, false, nil
	}
	key := entryKey(t.entry.id, Badmail)
	before, ok, err := q.db.Get(key)
	if err != nil {
		return nil, false, fmt.Errorf("queue %s: %w", t.entry.id, err)
	}
	rec, unchanged := record{received: t.rec.received, size: t.rec.size}, kv.Must(key, nil)
	if ok {
		unchanged = kv.Must(key, before)
		if there, err := decodeRecord(before); err == nil {
			rec = there
		}
	}
	rec.open = slices.Compact(slices.Sorted(slices.Values(append(rec.open, v.undeliverable...))))
	rec.last = v.failure
	return []kv.Op{unchanged, kv.Put(key, rec.encode())}, !ok, nil
}

// write commits ops, together with the report if there is one.
func (q *Queue) write(ctx context.Context, report *pendingReport, ops []kv.Op) error {
	if report == nil {
		return q.db.Commit(ctx, ops...)
	}
	d, err := q.store.Create(ctx)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	defer d.Abort()
	if _, err := d.Write(report.text); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return q.accept(ctx, d, report.env, ops...)
}

// backoffOps returns the operations that clear the backoff of d, if its host
// has answered.
func (q *Queue) backoffOps(d *destination, v decision) []kv.Op {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !v.answered || d.backoff.failures == 0 {
		return nil
	}
	return []kv.Op{kv.Del(backoffKey(d.name))}
}

// updateIndex brings the index in line with what was committed.
func (q *Queue) updateIndex(e *entry, v decision, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := e.dest
	delete(q.unsettled, string(e.key()))
	if len(v.undeliverable) > 0 {
		q.enterBadmail(e)
	}
	if v.answered {
		off := backoff{}
		if d.backoff.failures == 0 {
			off.last = d.backoff.last // the reply may be about a message that is still queued
		}
		d.backoff = off
	}
	if len(v.rec.open) == 0 {
		q.removeEntry(e, last)
		return
	}
	if v.rec.last.tried > d.backoff.last.tried {
		d.backoff.last = v.rec.last
	}
	e.next = v.rec.next
	e.attempts = uint16(min(v.rec.attempts, math.MaxUint16))
	clear := uint8(claimed)
	if v.open {
		clear = 0
	}
	d.setFlags(e, v.rec.flags&noticed, clear)
	q.reschedule(d)
}

// enterBadmail gives the message of e an entry in Badmail, if it has none. The
// caller holds q.mu.
func (q *Queue) enterBadmail(e *entry) {
	d := q.destination(Badmail)
	if d.find(e.id) == nil {
		q.addEntry(d, &entry{id: e.id, received: e.received, size: e.size, flags: shared})
		e.dest.share(e)
	}
}

// removeEntry drops e from the index, and with the last entry its message from
// the totals. The caller holds q.mu.
func (q *Queue) removeEntry(e *entry, last bool) {
	delete(q.unsettled, string(e.key()))
	e.dest.remove(e)
	if last {
		q.total.Messages--
		q.total.Bytes -= e.size
	}
	q.reschedule(e.dest)
}
