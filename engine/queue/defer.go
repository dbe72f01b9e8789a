// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

// Defer postpones all messages of the destination, because its hosts cannot be
// reached or refuse to talk. The reply r is recorded for all of them. The
// lease's messages are back in the queue, and Next returns nothing more.
//
// Messages whose time is up are settled, and reports of delay are made. A held
// destination goes on waiting. While another conversation with the destination
// goes on, Defer ends this lease only.
func (l *Lease) Defer(ctx context.Context, r mail.Reply, host string) error {
	ctx = context.WithoutCancel(ctx)
	q, d := l.q, l.dest
	held := q.route(d.name).Held
	q.mu.Lock()
	if !l.markDeferred() {
		q.mu.Unlock()
		return nil
	}
	last := lastReply{now(), r, host}
	last.reply.Text, last.reply.Cause = truncate(r.Text), keepCause(r.Cause)
	off := q.backOff(d, last)
	if held {
		off.next, off.failures = 0, 0
	}
	op := kv.Put(backoffKey(d.name), off.encode())
	d.backoff = off
	late := q.claimOverdue(d)
	waiting := d.count()
	q.mu.Unlock()

	q.deps.Journal.Unreachable(ctx, d.name, r, host, waiting, unixTime(off.next))
	var errs []error
	if err := q.db.Commit(ctx, op); err != nil {
		errs = append(errs, fmt.Errorf("queue: %s: %w", d.name, err))
	}
	for _, e := range late {
		errs = append(errs, q.settleOverdue(ctx, e, mail.Outcome{Status: mail.Deferred, Reply: r, Host: host}))
	}
	return errors.Join(errs...)
}

// markDeferred ends the lease, and reports whether it was its owner's last
// active one. The caller holds q.mu.
func (l *Lease) markDeferred() bool {
	h := l.owner
	if l.closed || l.deferred || h.ended {
		return false
	}
	l.deferred = true
	l.returnMessages()
	h.deferred++
	if h.deferred < h.leases {
		h.saturated = true
		return false
	}
	h.ended = true
	return true
}

// backOff is the backoff of d after one more failure. The caller holds q.mu.
func (q *Queue) backOff(d *destination, w lastReply) backoff {
	p, t, tried := q.policyFor(d), w.tried, d.backoff.tried
	if n := len(tried); n > 0 {
		w.tried = max(t, tried[n-1]) // the clock may have been set back
	}
	off := backoff{failures: d.backoff.failures + 1, last: w, tried: append(slices.Clone(tried), w.tried)}
	off.tried = off.tried[max(0, len(off.tried)-maxTried):]
	off.next = t + int64(p.interval(off.failures))
	// Try once more when the oldest message expires, but wait at least the
	// first interval: there is always an oldest message.
	if e := d.oldest(); e != nil {
		if end := e.received + int64(p.Expire); end > t {
			off.next = min(off.next, max(end, t+int64(p.interval(1))))
		}
	}
	return off
}

// policyOf is the policy for the mail of one destination.
func (q *Queue) policyOf(name mail.Domain) Policy {
	p := q.policy().of(name, q.route)
	if p.end == Archive && q.deps.Archive == nil {
		p.end = Keep
	}
	return p
}

// of is p for the mail of one destination.
func (p Policy) of(name mail.Domain, route func(mail.Domain) RouteState) Policy {
	if name == Badmail || name == Reports {
		p.ageless, p.internal = true, true
		return p
	}
	switch route := route(name); {
	case route.Held:
		held := p.with(p.Held)
		held.ageless, held.end = p.Held.Expire == 0, route.End
		return held
	case route.Local:
		return p.with(p.Local)
	}
	return p
}

// A Schedule says when mail for a destination is tried again, and when it is given up.
type Schedule struct {
	Retries []time.Duration // before each attempt after one that failed; the last one repeats
	Notice  time.Duration   // the age at which the sender is told of a delay; 0: never
	Expire  time.Duration   // the age at which the mail is given up; 0: never
	End     End             // of held mail at that age
}

// Schedule is that of a destination with that route. Held mail has no Retries: it waits
// for its host.
func (p Policy) Schedule(name mail.Domain, route RouteState) (s Schedule) {
	p = p.withDefaults().of(name, func(mail.Domain) RouteState { return route })
	expire, late := p.times(0, mail.Deadline{})
	if s.End = p.end; expire != never {
		s.Expire = time.Duration(expire)
	}
	if late != never {
		s.Notice = time.Duration(late)
	}
	if !route.Held {
		for n := range p.Quick + len(p.Ladder) {
			s.Retries = append(s.Retries, p.interval(n+1))
		}
	}
	return s
}

// policyFor is policyOf for d. Where the settings give its mail less time than they did,
// the grace begins. The caller holds q.mu.
func (q *Queue) policyFor(d *destination) Policy {
	p := q.policyOf(d.name)
	wait := p.wait()
	if wait < d.wait {
		d.graceEnd = now() + int64(grace)
	}
	d.wait, p.graceEnd = wait, d.graceEnd
	return p
}

// claimOverdue claims the entries of d that have expired or whose delay must be
// reported. The caller holds q.mu.
func (q *Queue) claimOverdue(d *destination) []*entry {
	return q.claimOverdueIf(d, func(*entry) bool { return true })
}

func (q *Queue) claimOverdueIf(d *destination, ok func(*entry) bool) []*entry {
	p, t := q.policyFor(d), now()
	var out []*entry
	for _, e := range d.entries {
		if e.idle() && p.overdue(e) <= t && ok(e) {
			d.setFlags(e, claimed, 0)
			out = append(out, e)
		}
	}
	return out
}

// expiry is when e expires; zero for never.
func (p Policy) expiry(e *entry) time.Time {
	expire, _ := p.times(e.received, e.deadline())
	return untilTime(expire)
}

// untilTime is unixTime of a time that may be never: the zero Time then.
func untilTime(at int64) time.Time {
	if at == never {
		return time.Time{}
	}
	return unixTime(at)
}

// overdue is when e expires, or is late before.
func (p Policy) overdue(e *entry) int64 {
	expire, late := p.times(e.received, e.deadline())
	if e.is(noticed) {
		return expire
	}
	return min(expire, late)
}

// nextOverdue is when an entry of d is late or expires next. The caller holds q.mu.
func (q *Queue) nextOverdue(d *destination) int64 {
	if d.overdue != 0 {
		return d.overdue
	}
	p := q.policyFor(d)
	d.overdue = never
	for _, e := range d.entries {
		if e.is(settled | frozen | unreadable) {
			continue
		}
		at := p.overdue(e)
		if e.is(claimed) { // its settlement may fail
			at = max(at, now()+int64(p.interval(1)))
		}
		d.overdue = min(d.overdue, at)
	}
	return d.overdue
}

// noteOverdue has the time of one more entry of a destination counted, where
// that of the others is known. The caller holds q.mu.
func (q *Queue) noteOverdue(e *entry) {
	if d := e.dest; d.overdue != 0 {
		d.overdue = min(d.overdue, q.policyFor(d).overdue(e))
	}
}

// letGo is setFlags for an act after which e may wait for no administrator any more: it
// is late, or expires, again. The caller holds q.mu.
func (q *Queue) letGo(e *entry, set, clear uint8) {
	parked := e.is(frozen | unreadable)
	if e.dest.setFlags(e, set, clear); parked && !e.is(frozen|unreadable) {
		q.noteOverdue(e)
	}
}

// overdueAfterTry claims the entries of d that are late or have expired, and for which
// there was an attempt or can be none yet. The caller holds q.mu.
func (q *Queue) overdueAfterTry(d *destination) []*entry {
	t := now()
	return q.claimOverdueIf(d, func(e *entry) bool { return e.attempts > 0 || e.next > t || d.backoff.since(e.received) > 0 })
}

// settleWaiting settles claimed entries, which are late or have expired, without an
// attempt: those of a held destination, and those between two attempts.
func (q *Queue) settleWaiting(ctx context.Context, late []*entry) {
	ctx = context.WithoutCancel(ctx)
	for _, e := range late {
		o := mail.Outcome{Status: mail.Waiting}
		if q.route(e.dest.name).Held {
			o.Reply = notCalled
		}
		if err := q.settleOverdue(ctx, e, o); err != nil {
			q.deps.Journal.SetAside(ctx, e.id, e.dest.name, err) // tried again by nextOverdue
		}
	}
}

// notCalled is why held mail is late.
var notCalled = mail.Reply{Code: 450, Enhanced: "4.7", Text: "its host has not called for the message"}

// settleOverdue settles the claimed entry e with o for all its recipients.
func (q *Queue) settleOverdue(ctx context.Context, e *entry, o mail.Outcome) error {
	rec, env, err := q.load(e)
	if err != nil {
		q.markUnreadable(e, err)
		return nil
	}
	if o.Reply.Code == 0 {
		q.mu.Lock()
		last := e.lastTry(rec)
		q.mu.Unlock()
		o.Reply, o.Host = last.reply, last.host
	}
	_, err = q.settle(ctx, &leasedMessage{entry: e, rec: rec, env: env}, outcomesFor(env, rec.open, o))
	if err != nil {
		q.unclaim(e)
	}
	return err
}

func outcomesFor(env mail.Envelope, open []int, o mail.Outcome) []mail.Outcome {
	var out []mail.Outcome
	for _, i := range open {
		o.To = env.To[i].Address
		out = append(out, o)
	}
	return out
}
