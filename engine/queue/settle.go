// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/kv"
)

// A verdict is what the outcomes of one message come to.
type verdict struct {
	rec    record     // what is left of the entry
	failed []int      // recipients given up
	tell   []dsn.Fate // for the report to the sender
	bad    []dsn.Fate // failures that nobody can be told of
	open   bool       // a recipient has no outcome yet
	heard  bool       // the destination's host took or refused something
	lines  []func()   // for the journal, once all this is true
	ends   []func()   // of them, those of failed
	damage error      // why the message cannot be sent as it lies on the disk
}

// settle makes the outcomes true for a message that somebody has claimed.
// While it is open, the claim stands; an error leaves it open.
func (q *Queue) settle(ctx context.Context, t *taken, outcomes []mail.Outcome) (open bool, err error) {
	v, found := q.judge(ctx, t, outcomes)
	if !found {
		return true, nil
	}
	n, err := q.notify(ctx, t, &v)
	if err != nil {
		// The sender must hear of it, or the message must be kept: try again.
		err = fmt.Errorf("queue %s: %w", t.entry.id, err)
		v.keepFailed(q.policy())
	}
	commitErr := q.commit(ctx, t, v, n)
	if commitErr != nil && n != nil {
		// There may be no room for the report; for the rest there may be.
		err = commitErr
		v.keepFailed(q.policy())
		commitErr = q.commit(ctx, t, v, nil)
	}
	if commitErr != nil {
		return true, errors.Join(err, commitErr)
	}
	for _, line := range append(v.lines, v.ends...) {
		line()
	}
	t.rec = v.rec
	if v.damage != nil && len(v.rec.open) > 0 {
		q.unreadable(t.entry, v.damage) // trying again would not mend it
		return false, err
	}
	return v.open, err
}

// judge weighs the outcomes; found is false when none is for a recipient that
// is still open.
func (q *Queue) judge(ctx context.Context, t *taken, outcomes []mail.Outcome) (v verdict, found bool) {
	by := byAddress(outcomes)
	j := judging{
		Queue: q, taken: t, policy: q.policy(), now: now(),
		held: q.deps.Router.Route(t.entry.at.name).Held,
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
			if o.Reply.Cause != nil && q.sp.Lost(o.Reply.Cause) {
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
		o.Reply.Text = shorten(o.Reply.Text)
		by[o.To] = o
	}
	return by
}

// judging is what one message is judged by.
type judging struct {
	*Queue
	*taken
	policy Policy
	now    int64
	held   bool // what waits to be called for does not grow old
}

func (j *judging) expired() bool { return !j.held && j.now >= j.rec.received+int64(j.policy.Expire) }
func (j *judging) delayed() bool {
	return !j.held && j.rec.flags&noticed == 0 && j.now >= j.rec.received+int64(j.policy.DelayNotice)
}

func (j *judging) fate(i int, o mail.Outcome, a dsn.Action) dsn.Fate {
	return dsn.Fate{To: j.env.To[i], Action: a, Reply: o.Reply, Host: o.Host, Tried: at(j.now)}
}

func (j *judging) delivered(ctx context.Context, v *verdict, i int, o mail.Outcome) {
	v.heard = true
	v.lines = append(v.lines, func() { j.deps.Journal.Delivered(ctx, j.env.ID, o) })
	action := dsn.Relayed
	if o.Host == "" {
		action = dsn.Delivered // it went no further than this host
	}
	// RFC 3461 §5.2.2: a next hop that makes reports makes this one too.
	if o.NoDSN && !j.env.From.IsNull() && dsn.Wanted(j.env.To[i].Notify, action, false) {
		v.tell = append(v.tell, j.fate(i, o, action))
	}
}

func (j *judging) failed(ctx context.Context, v *verdict, i int, o mail.Outcome, status string) {
	v.heard = v.heard || o.Status == mail.Failed && o.Host != ""
	v.failed = append(v.failed, i)
	v.ends = append(v.ends, func() {
		if o.Status == mail.Failed {
			j.deps.Journal.Failed(ctx, j.env.ID, o)
		} else {
			j.deps.Journal.Expired(ctx, j.env.ID, o, time.Duration(j.now-j.rec.received))
		}
	})
	f := j.fate(i, o, dsn.Failed)
	f.Status = status
	switch {
	case j.env.From.IsNull():
		// RFC 5321 §6.1: never a report about a report.
		v.bad = append(v.bad, f)
	case dsn.Wanted(f.To.Notify, dsn.Failed, false):
		v.tell = append(v.tell, f)
	default:
		v.ends = append(v.ends, func() { j.deps.Journal.Dropped(ctx, j.env.ID, o.To, "its sender asked for no report") })
	}
}

// postpone sets the next try of what stays.
func (j *judging) postpone(v *verdict, o mail.Outcome) {
	v.rec.attempts++
	v.rec.next = j.policy.again(j.now, j.rec.received, v.rec.attempts)
	v.rec.last = word{j.now, o.Reply, o.Host}
}

func (j *judging) deferred(ctx context.Context, v *verdict, i int, o mail.Outcome) {
	v.rec.open = append(v.rec.open, i)
	again := at(v.rec.next)
	v.lines = append(v.lines, func() { j.deps.Journal.Deferred(ctx, j.env.ID, o, again) })
	if j.delayed() && !j.env.From.IsNull() && dsn.Wanted(j.env.To[i].Notify, dsn.Delayed, !j.policy.QuietDelay) {
		f := j.fate(i, o, dsn.Delayed)
		f.Until = at(j.rec.received + int64(j.policy.Expire))
		v.tell = append(v.tell, f)
	}
}

// keepFailed takes the giving up back: nobody could be told of it.
func (v *verdict) keepFailed(p Policy) {
	v.rec.open = append(v.rec.open, v.failed...)
	v.rec.next = max(v.rec.next, now()+int64(p.step(1)))
	v.rec.flags &^= noticed
	v.failed, v.tell, v.bad, v.ends = nil, nil, nil, nil
}

// A notice is a report that is written and not yet committed.
type notice struct {
	body draft
	env  mail.Envelope
}

// notify sees to it that somebody hears of what the verdict gives up: it
// writes the report, or hands the message to Badmail.
func (q *Queue) notify(ctx context.Context, t *taken, v *verdict) (*notice, error) {
	if len(v.bad) > 0 {
		if err := q.badmail(ctx, t, v); err != nil {
			return nil, fmt.Errorf("badmail: %w", err)
		}
	}
	if len(v.tell) == 0 {
		return nil, nil
	}
	id := mail.NewMessageID(time.Now())
	report := dsn.Report{ID: id, At: time.Now(), About: t.env, Fates: v.tell}
	if body, err := q.sp.Open(t.env.ID); err == nil {
		defer body.Close()
		report.Message = body // one that cannot be read is reported without it
	}
	text, err := q.deps.Report(ctx, report)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	body, err := q.sp.Create(ctx)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if _, err := io.Copy(body, bytes.NewReader(text)); err != nil {
		body.Abort()
		return nil, fmt.Errorf("report: %w", err)
	}
	env := mail.Envelope{ID: id, Received: report.At, Size: int64(len(text)),
		// RFC 3461 §6.1: so that no report comes of it.
		To: []mail.Recipient{{Address: t.env.From, Notify: "NEVER"}}}
	told := len(v.tell)
	v.lines = append(v.lines, func() { q.deps.Journal.Report(ctx, id, t.env.ID, t.env.From, told) })
	return &notice{body, env}, nil
}

func (q *Queue) badmail(ctx context.Context, t *taken, v *verdict) error {
	if q.deps.Badmail == nil {
		for _, f := range v.bad {
			v.ends = append(v.ends, func() {
				q.deps.Journal.Dropped(ctx, t.env.ID, f.To.Address, "it has no sender to tell")
			})
		}
		return nil
	}
	body, err := q.sp.Open(t.env.ID)
	if err != nil {
		return err
	}
	defer body.Close()
	return q.deps.Badmail(ctx, t.env, v.bad, body)
}

// commit makes the verdict true on the disk, with the notice in the same
// commit, and then in the index. After an error nothing of it is true.
func (q *Queue) commit(ctx context.Context, t *taken, v verdict, n *notice) error {
	e := t.entry
	others, unlock := q.lockSplit(e.id)
	defer unlock()
	key := entryKey(e.id, e.at.name)
	ops := q.reached(e.at, v)
	last := len(v.rec.open) == 0 && others == 0
	var err error
	switch {
	case last && n == nil:
		err = q.sp.Remove(ctx, []mail.MessageID{e.id}, append(ops, kv.Del(key))...)
	case last || len(v.rec.open) > 0:
		err = q.write(ctx, n, append(ops, kv.Put(key, v.rec.encode())))
	default:
		err = q.write(ctx, n, append(ops, kv.Del(key)))
	}
	if err != nil {
		return fmt.Errorf("queue %s: %w", e.id, err)
	}
	if last && n != nil {
		if err := q.sp.Remove(ctx, []mail.MessageID{e.id}, kv.Del(key)); err != nil {
			// Settled all the same: the next start finishes it.
			q.deps.Journal.Unfreed(ctx, e.id, err)
		}
	}
	q.apply(e, v)
	return nil
}

// write commits ops, in one with the notice if there is one.
func (q *Queue) write(ctx context.Context, n *notice, ops []kv.Op) error {
	if n == nil {
		return q.db.Commit(ctx, ops...)
	}
	err := q.accept(ctx, n.body, n.env, ops...)
	if err != nil {
		n.body.Abort()
	}
	return err
}

// reached gives the ops by which d's backoff is forgotten when its host was
// heard of.
func (q *Queue) reached(d *destination, v verdict) []kv.Op {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !v.heard || d.off.failures == 0 {
		return nil
	}
	return []kv.Op{kv.Del(backoffKey(d.name))}
}

// apply brings the index in line with what was committed.
func (q *Queue) apply(e *entry, v verdict) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := e.at
	if v.heard {
		off := backoff{}
		if d.off.failures == 0 {
			off.last = d.off.last // said of a message that may still be here
		}
		d.off = off
	}
	if len(v.rec.open) == 0 {
		q.forget(e)
		return
	}
	if v.rec.last.tried > d.off.last.tried {
		d.off.last = v.rec.last
	}
	e.next = v.rec.next
	e.attempts = uint16(min(v.rec.attempts, math.MaxUint16))
	clear := uint8(claimed)
	if v.open {
		clear = 0
	}
	d.mark(e, v.rec.flags&noticed, clear)
	q.touch(d)
}

// forget drops e from the index. The caller holds q.mu.
func (q *Queue) forget(e *entry) {
	e.at.drop(e)
	left, several := q.split[e.id]
	if several && left > 1 {
		q.split[e.id] = left - 1
	} else {
		delete(q.split, e.id)
		q.total.Messages--
		q.total.Bytes -= e.size
	}
	q.touch(e.at)
}

// lockSplit keeps others from settling the same message for another
// destination until unlock, and says for how many others it is still there.
func (q *Queue) lockSplit(id mail.MessageID) (others int, unlock func()) {
	q.mu.Lock()
	_, several := q.split[id]
	q.mu.Unlock()
	if !several {
		return 0, func() {}
	}
	lock := &q.locks[maphash.String(q.seed, string(id))%uint64(len(q.locks))]
	lock.Lock()
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(q.split[id]-1, 0), lock.Unlock
}
