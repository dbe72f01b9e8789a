// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"fmt"

	"restante/engine/mail"
	"restante/internal/kv"
)

// Defer says that none of the destination's messages can be tried now: its
// hosts cannot be reached, or will have nothing of us. What r says is taken
// down for all of them, whatever is in the lease is back in the queue, and Next
// gives nothing more. They are due again by the ladder; those whose time is up
// are settled, as are reports of delay. A held destination just goes on
// waiting; and while another conversation with the same destination goes on,
// only this one is at its end.
func (l *Lease) Defer(ctx context.Context, r mail.Reply, host string) error {
	ctx = context.WithoutCancel(ctx)
	q, d := l.q, l.dest
	held := q.deps.Router.Route(d.name).Held
	q.mu.Lock()
	if !l.markDeferred() {
		q.mu.Unlock()
		return nil
	}
	failed := d.backoff.failures > 0
	off := q.backOff(d, lastReply{now(), mail.Reply{Code: r.Code, Enhanced: r.Enhanced, Text: truncate(r.Text)}, host})
	op := kv.Put(backoffKey(d.name), off.encode())
	if held {
		off.next, off.failures = 0, 0
		op = kv.Del(backoffKey(d.name))
	}
	d.backoff = off
	late := q.claimOverdue(d)
	waiting := d.count()
	q.mu.Unlock()

	q.deps.Journal.Unreachable(ctx, d.name, r, host, waiting, unixTime(off.next))
	var errs []error
	if !held || failed {
		if err := q.db.Commit(ctx, op); err != nil {
			errs = append(errs, fmt.Errorf("queue: %s: %w", d.name, err))
		}
	}
	for _, e := range late {
		errs = append(errs, q.settleOverdue(ctx, e, mail.Outcome{Status: mail.Deferred, Reply: r, Host: host}))
	}
	return errors.Join(errs...)
}

// markDeferred ends the lease for good, and says whether it was the last of its hold
// that went on. The caller holds q.mu.
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

// backOff is d's backoff after one more failure. The caller holds q.mu.
func (q *Queue) backOff(d *destination, w lastReply) backoff {
	p := q.policy()
	off := backoff{failures: d.backoff.failures + 1, last: w}
	off.next = w.tried + int64(p.interval(off.failures))
	// Once more when the oldest one's time is up, but no oftener than by the
	// first step: there is always an oldest one.
	if e := d.oldest(); e != nil {
		if end := e.received + int64(p.Expire); end > w.tried {
			off.next = min(off.next, max(end, w.tried+int64(p.interval(1))))
		}
	}
	return off
}

// missed claims the entries of d whose time is up or whose delay is to be told.
// The caller holds q.mu.
func (q *Queue) claimOverdue(d *destination) []*entry {
	if q.ageless(d.name) {
		return nil
	}
	p, t := q.policy(), now()
	var out []*entry
	for _, e := range d.entries {
		expired := t >= e.received+int64(p.Expire)
		delayed := t >= e.received+int64(p.DelayNotice) && !e.is(noticed)
		if e.idle() && (expired || delayed) {
			d.setFlags(e, claimed, 0)
			out = append(out, e)
		}
	}
	return out
}

// settleOverdue settles e, which is claimed, with o for all its recipients.
func (q *Queue) settleOverdue(ctx context.Context, e *entry, o mail.Outcome) error {
	rec, env, err := q.load(e)
	if err != nil {
		q.markUnreadable(e, err)
		return nil
	}
	_, err = q.settle(ctx, &leasedMessage{e, rec, env}, outcomesFor(env, rec.open, o))
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
