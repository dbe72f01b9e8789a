// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/kv"
)

// A decision is what the outcomes of one message come to.
type decision struct {
	rec           record            // the entry as it remains
	ended         []int             // recipients delivered or given up
	reportable    []recipientStatus // for the report to the sender, or of bad mail
	undeliverable []int             // recipients given up that no sender can be told of
	failure       lastReply         // why the last of them was given up
	archived      []int             // recipients of ended whose hold ends in the archive
	open          bool              // a recipient has no outcome yet
	unfinished    bool              // a recipient may still come to something reportable
	answered      bool              // the destination's host accepted or refused a recipient
	events        []func()          // journal lines to write after the commit
	damage        error             // why the stored message cannot be read
}

// settle records the outcomes of a claimed message, and those that could not be stored
// before. While a recipient has no outcome, the message stays open and claimed. An error
// leaves it open.
func (q *Queue) settle(ctx context.Context, t *leasedMessage, outcomes []mail.Outcome) (open bool, err error) {
	outcomes = q.withUnsettled(t.entry, outcomes)
	v, found := q.decide(ctx, t, outcomes)
	if !found {
		return true, nil
	}
	if len(v.archived) > 0 {
		if err := q.archive(ctx, t, v.archived); err != nil {
			return true, err
		}
	}
	if err := q.commit(ctx, t, &v); err != nil {
		return true, err
	}
	for _, line := range v.events {
		line()
	}
	t.rec = v.rec
	if v.damage != nil && len(v.rec.open) > 0 {
		q.markUnreadable(t.entry, v.damage) // another try would fail in the same way
		return false, nil
	}
	return v.open, nil
}

// decide turns the outcomes into a decision; found is false if none is for a
// recipient that is still open.
func (q *Queue) decide(ctx context.Context, t *leasedMessage, outcomes []mail.Outcome) (v decision, found bool) {
	by := byAddress(outcomes)
	j := decider{Queue: q, leasedMessage: t, now: now()}
	q.mu.Lock()
	j.policy = q.policyFor(t.entry.dest)
	j.lastTried = t.entry.lastTry(t.rec).tried
	q.mu.Unlock()
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
		case j.expired() && j.archives() && o.Status == mail.Waiting:
			j.archived(ctx, &v, i, o)
		case j.expired() && !j.archives():
			j.failed(ctx, &v, i, o, "5.4.7") // RFC 3463: delivery time expired
		default:
			if !deferred && o.Status != mail.Waiting {
				j.postpone(&v, o)
			}
			deferred = true
			if o.Reply.Cause != nil && errors.Is(o.Reply.Cause, mail.ErrLost) {
				v.damage = o.Reply.Cause
			}
			j.deferred(ctx, &v, i, o)
		}
	}
	if t.entry.dest.name == Badmail {
		v.ended = nil // that they failed is told all the same
	}
	v.unfinished = v.open || deferred && !j.delayed()
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
	policy    Policy
	now       int64
	lastTried int64
}

func (j *decider) expired() bool {
	expire, _ := j.policy.times(j.rec.received, j.env.By)
	return j.now >= expire
}

// archives reports whether the end of the hold is no failure: of a sender's own deadline
// it is one.
func (j *decider) archives() bool {
	by := j.env.By
	return j.policy.end == Archive && !(by.Return && !by.At.IsZero() && j.now >= by.At.UnixNano())
}

// archived ends a recipient whose mail becomes a file.
func (j *decider) archived(ctx context.Context, v *decision, i int, o mail.Outcome) {
	v.ended, v.archived = append(v.ended, i), append(v.archived, i)
	v.events = append(v.events, func() { j.deps.Journal.Archived(ctx, j.env, o.To, time.Duration(j.now-j.rec.received)) })
}

func (j *decider) delayed() bool {
	_, late := j.policy.times(j.rec.received, j.env.By)
	return j.now >= late && j.rec.flags&noticed == 0
}

func (j *decider) status(i int, o mail.Outcome, a dsn.Action) recipientStatus {
	tried := j.now
	if o.Status == mail.Waiting {
		tried = j.lastTried
	}
	return recipientStatus{i, dsn.RecipientStatus{To: j.env.To[i], Action: a, Reply: o.Reply, Host: o.Host, Tried: unixTime(tried)}}
}

func (j *decider) delivered(ctx context.Context, v *decision, i int, o mail.Outcome) {
	v.answered = true
	v.ended = append(v.ended, i)
	v.events = append(v.events, func() {
		if j.entry.dest.name == Badmail {
			j.deps.Journal.PutAside(ctx, j.env, o.To)
		} else {
			j.deps.Journal.Delivered(ctx, j.env, o)
		}
	})
	action := dsn.Relayed
	if o.Host == "" {
		action = dsn.Delivered // on this host
	}
	// RFC 3461 §5.2.2: a next hop that makes reports makes this one too. RFC 2852 §4.1.4:
	// of a deadline, the sender is told who does not keep it, and where it is traced.
	by, notify := j.env.By, j.env.To[i].Notify
	told := action == dsn.Relayed && !by.At.IsZero() && (by.Trace || o.NoBy) && notify != "NEVER"
	if !j.env.From.IsNull() && (told || o.NoDSN && dsn.Wanted(notify, action)) {
		v.reportable = append(v.reportable, j.status(i, o, action))
	}
}

func (j *decider) failed(ctx context.Context, v *decision, i int, o mail.Outcome, status string) {
	v.answered = v.answered || o.Status == mail.Failed && o.Host != ""
	v.ended = append(v.ended, i)
	v.events = append(v.events, func() {
		if o.Status == mail.Failed {
			j.deps.Journal.Failed(ctx, j.env, o)
		} else {
			j.deps.Journal.Expired(ctx, j.env, o, time.Duration(j.now-j.rec.received))
		}
	})
	f := j.status(i, o, dsn.Failed)
	f.Status = status
	switch {
	case j.entry.dest.name == Badmail:
		v.events = append(v.events, func() { j.deps.Journal.Dropped(ctx, j.env, o.To, "it has no sender to tell") })
	case j.env.From.IsNull():
		// RFC 5321 §6.1: never a report about a report.
		v.undeliverable = append(v.undeliverable, i)
		v.failure = lastReply{j.now, o.Reply, o.Host}
		if to := j.policy.BadMail; !to.IsNull() && o.To != to { // what cannot reach it is not sent there again
			v.reportable = append(v.reportable, f)
		}
	case dsn.Wanted(f.To.Notify, dsn.Failed):
		v.reportable = append(v.reportable, f)
	default:
		v.events = append(v.events, func() { j.deps.Journal.Dropped(ctx, j.env, o.To, "its sender asked for no report") })
	}
}

// postpone sets the next try of the recipients that stay.
func (j *decider) postpone(v *decision, o mail.Outcome) {
	v.rec.attempts++
	v.rec.next = j.policy.nextTry(j.now, j.rec.received, v.rec.attempts)
	if expire, _ := j.policy.times(j.rec.received, j.env.By); expire > j.now {
		v.rec.next = min(v.rec.next, expire)
	}
	v.rec.last = lastReply{j.now, o.Reply, o.Host}
	v.rec.last.reply.Cause = keepCause(o.Reply.Cause)
}

func (j *decider) deferred(ctx context.Context, v *decision, i int, o mail.Outcome) {
	v.rec.open = append(v.rec.open, i)
	var again time.Time
	held := j.route(j.entry.dest.name).Held
	if !held {
		again = unixTime(v.rec.next)
	}
	if o.Status != mail.Waiting {
		v.events = append(v.events, func() { j.deps.Journal.Deferred(ctx, j.env, o, again) })
	}
	notify := j.env.To[i].Notify
	// That held mail waits is no fault: only who asks is told.
	asked := !held || !j.env.By.At.IsZero() || strings.Contains(strings.ToUpper(notify), "DELAY")
	if j.delayed() && !j.env.From.IsNull() && asked && dsn.Wanted(notify, dsn.Delayed) {
		f := j.status(i, o, dsn.Delayed)
		expire, _ := j.policy.times(j.rec.received, j.env.By)
		f.Until = untilTime(expire)
		v.reportable = append(v.reportable, f)
	}
}

// commit stores the decision, with the report or what it will state in the same
// commit, and then brings the index in line. After an error nothing of it is
// stored.
func (q *Queue) commit(ctx context.Context, t *leasedMessage, v *decision) error {
	defer q.lockMessage(t.entry)()
	var postponed error // why the report could not be made
	for {
		reported, err := q.tryCommit(ctx, t, v, postponed)
		switch {
		case errors.Is(err, kv.ErrMoved): // another entry of the message was settled at the same time
		case err != nil && reported:
			postponed = err // the disk may lack the space for the report only
		default:
			return err
		}
	}
}

func (q *Queue) tryCommit(ctx context.Context, t *leasedMessage, v *decision, postponed error) (reported bool, err error) {
	e := t.entry
	was, err := q.entriesLeft(e.id)
	if err != nil {
		return false, err
	}
	now, ops := was, q.backoffOps(e.dest, *v)
	badmail, added, err := q.badmailOps(t, *v)
	if err != nil {
		return false, err
	}
	ops = append(ops, badmail...)
	if added {
		now++
	}
	if len(v.rec.open) == 0 {
		now--
	}
	c, err := q.collect(t, v, was, now, postponed)
	if err != nil {
		return false, err
	}
	now += c.entries()
	var report *pendingReport
	if c.due {
		if report, err = q.prepareReport(ctx, t.env, c.rec); err != nil {
			return true, err
		}
	}
	ops = append(append(ops, c.ops()...), changeCount(e.id, was, now)...)
	if err := q.storeEntry(ctx, e, v.rec, now == 0, report, ops); err != nil {
		return report != nil, err
	}
	if postponed != nil {
		q.deps.Journal.ReportPostponed(ctx, e.id, postponed, unixTime(c.rec.next))
	}
	q.updateIndex(e, *v, now == 0, c)
	return false, nil
}

// storeEntry commits ops and the record of e, which is settled if it has no open
// recipients. With its last entry the message is removed.
func (q *Queue) storeEntry(ctx context.Context, e *entry, rec record, last bool, report *pendingReport, ops []kv.Op) (err error) {
	switch {
	case last && report == nil:
		err = q.store.Remove(ctx, []mail.MessageID{e.id}, append(ops, kv.Del(e.key()))...)
	case last || len(rec.open) > 0:
		err = q.write(ctx, report, append(ops, kv.Put(e.key(), rec.encode())))
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

// backoffOps returns the operations that clear the backoff of d, if its host
// has answered.
func (q *Queue) backoffOps(d *destination, v decision) []kv.Op {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch ends := d.live() == 1 && len(v.rec.open) == 0; {
	case ends && len(d.backoff.tried) > 0, v.answered && d.backoff.failures > 0 && len(d.backoff.tried) == 0:
		return []kv.Op{kv.Del(backoffKey(d.name))}
	case v.answered && d.backoff.failures > 0:
		return []kv.Op{kv.Put(backoffKey(d.name), d.backoff.cleared().encode())}
	}
	return nil
}

// cleared is o after an answer of the destination's host.
func (o backoff) cleared() backoff {
	off := backoff{tried: o.tried}
	if o.failures == 0 {
		off.last = o.last // the reply may be about a message that is still queued
	}
	return off
}

// updateIndex brings the index in line with what was committed.
func (q *Queue) updateIndex(e *entry, v decision, last bool, c collected) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := e.dest
	delete(q.unsettled, string(e.key()))
	q.enterReports(e, c)
	if len(v.undeliverable) > 0 {
		q.enterBadmail(e)
	}
	if v.answered {
		d.backoff = d.backoff.cleared()
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
	q.noteOverdue(e)
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
