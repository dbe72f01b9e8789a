// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"cmp"
	"context"
	"sync"
	"time"

	"restante/engine/mail"
)

// Run makes attempts as they become due until ctx ends, waits for the attempts
// under way, and returns the cause. Between attempts it sleeps until the next
// due time or a change. Only one Run may be active.
func (q *Queue) Run(ctx context.Context) error {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-q.wake:
		case <-timer.C:
		}
		for {
			work, end := q.nextKept()
			if work != nil {
				attempts.Go(func() { q.endKept(ctx, work) })
				continue
			}
			l, late, next := q.nextAttempt()
			next = min(next, end)
			if l != nil {
				attempts.Go(func() { q.attempt(ctx, l) })
				continue
			}
			if late != nil {
				attempts.Go(func() { q.settleWaiting(ctx, late) })
				continue
			}
			if next == never {
				timer.Stop() // q.wake ends the wait
			} else {
				timer.Reset(time.Until(unixTime(next)))
			}
			break
		}
	}
}

// nextAttempt leases the destination that is due first, if the limit of
// conversations allows an attempt. Of a held one, and of one whose next attempt is
// later, it claims the entries that are late or expire. Otherwise it returns when to look again.
func (q *Queue) nextAttempt() (l *Lease, late []*entry, next int64) {
	p := q.policy()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.due) > 0 {
		d := q.due[0]
		wake := q.wakeTime(d) // the settings may have changed since
		if wake != d.agenda.wake {
			q.due.set(d, wake)
			continue
		}
		if wake > now() {
			return nil, nil, wake
		}
		if d.owner == nil && !d.triggered {
			held, overdue := q.route(d.name).Held, q.claimOverdue
			if !held {
				overdue = q.overdueAfterTry
			}
			if held || d.nextTry() > now() {
				late := overdue(d)
				d.overdue = 0
				q.reschedule(d)
				if len(late) > 0 {
					return nil, late, 0
				}
				if held || d.agenda.wake > now() {
					continue
				}
				// An entry would expire that no attempt was made for.
			}
		}
		if q.running >= p.Conversations {
			return nil, nil, never // the end of an attempt wakes the scheduler
		}
		if d.owner == nil {
			d.owner = &ownership{holder: "delivery", own: true, all: d.triggered, unasked: d.triggered && !d.byOwner}
			d.triggered = false
		}
		q.running++
		l := q.newLease(d)
		q.reschedule(d)
		return l, nil, 0
	}
	return nil, nil, never
}

func (q *Queue) attempt(ctx context.Context, l *Lease) {
	defer func() {
		l.Close()
		q.mu.Lock()
		q.running--
		q.mu.Unlock()
		q.wakeScheduler()
	}()
	if l.Domain() == Reports {
		q.makeReports(ctx, l)
		return
	}
	q.deps.Attempt(ctx, l)
}

// A Policy says when messages are tried and given up, and how many attempts run
// at once. The zero Policy is the built-in one.
type Policy struct {
	Ladder         []time.Duration // between attempts; the last one repeats; nil: 15, 30, 60, 240 minutes
	Quick          int             // attempts after a minute each, before Ladder
	Expire         time.Duration   // the age at which a message that cannot be delivered is given up; 0: 48 hours
	DelayNotice    time.Duration   // the age at which a sender is told of a delay; 0: 12 hours
	Local          Times           // of mail for a folder of ours, in place of these
	Held           Times           // of mail that waits for its host to call; without Expire, it neither expires nor is late
	Collect        time.Duration   // for which a report waits for outcomes of other recipients; 0: 5 minutes
	Conversations  int             // attempts at once; 0: 100
	PerDestination int             // of them for one destination; 0: 4
	Copies         mail.Address    // that also gets each report of a failure to a sender; null: none
	BadMail        mail.Address    // that is told of what becomes bad mail; null: nobody is

	end      End   // of the hold
	graceEnd int64 // no mail expires before that came more than grace before it; 0: not in force
	ageless  bool  // the mail neither expires nor is late
	internal bool  // nor do deadlines of senders count
}

// Times are those of one kind of destination; 0: the Policy's.
type Times struct{ Retry, Expire, DelayNotice time.Duration }

// quickInterval is IIS's between the attempts of [Policy].Quick.
const quickInterval = time.Minute

// with is p with those of t that are set.
func (p Policy) with(t Times) Policy {
	if t.Retry > 0 {
		p.Ladder, p.Quick = []time.Duration{t.Retry}, 0
	}
	p.Expire, p.DelayNotice = cmp.Or(t.Expire, p.Expire), cmp.Or(t.DelayNotice, p.DelayNotice)
	return p
}

// grace is the time to take back a change of the settings that has made mail overdue.
const grace = time.Hour

// wait is how long mail may wait at most.
func (p Policy) wait() int64 {
	if p.ageless || p.end == Keep {
		return never
	}
	return int64(p.Expire)
}

// times are when a message expires and when its sender is told of a delay; never for
// neither. The deadline of a sender (RFC 2852) may be earlier than the first, in mode R,
// and stands in place of the second, in mode N.
func (p Policy) times(received int64, by mail.Deadline) (expire, late int64) {
	expire, late = never, never
	if !p.ageless {
		expire, late = received+int64(p.Expire), received+int64(p.DelayNotice)
	}
	if p.end == Keep {
		expire = never
	}
	if received < p.graceEnd-int64(grace) {
		expire = max(expire, p.graceEnd)
	}
	switch {
	case by.At.IsZero() || p.internal:
	case by.Return:
		expire = min(expire, by.At.UnixNano())
	default:
		late = by.At.UnixNano()
	}
	return expire, late
}

func (p Policy) withDefaults() Policy {
	if len(p.Ladder) == 0 {
		p.Ladder = []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 4 * time.Hour}
	}
	setDefault(&p.Expire, 48*time.Hour)
	setDefault(&p.DelayNotice, 12*time.Hour)
	setDefault(&p.Collect, 5*time.Minute)
	setDefault(&p.Conversations, 100)
	setDefault(&p.PerDestination, 4)
	return p
}

func setDefault[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// collect is how long the report on a message of that age waits for further
// outcomes. It grows with the age: recipients that fail one after the other make
// few reports.
func (p Policy) collect(age int64) time.Duration {
	return max(p.Collect, min(time.Duration(age/2), time.Hour))
}

// interval is the wait after that many attempts, at least a second.
func (p Policy) interval(attempts int) time.Duration {
	// Without a wait, a message would be tried without end.
	attempts = max(attempts, 1)
	if attempts <= p.Quick {
		return max(min(quickInterval, p.Ladder[0]), time.Second)
	}
	return max(p.Ladder[min(attempts-p.Quick, len(p.Ladder))-1], time.Second)
}

// nextTry is when a message received at received is tried next after that many
// attempts: after the interval of the ladder, or when it expires, if that is
// earlier.
func (p Policy) nextTry(now, received int64, attempts int) int64 {
	next := now + int64(p.interval(attempts))
	if end := received + int64(p.Expire); end > now && end < next {
		return end
	}
	return next
}

// RouterFunc is a Router that calls a function.
type RouterFunc func(d mail.Domain) RouteState

// Route calls f.
func (f RouterFunc) Route(d mail.Domain) RouteState { return f(d) }
