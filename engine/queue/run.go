// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"sync"
	"time"
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
			l, next := q.nextAttempt()
			if l != nil {
				attempts.Go(func() { q.attempt(ctx, l) })
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
// conversations allows an attempt. Otherwise it returns when to look again.
func (q *Queue) nextAttempt() (*Lease, int64) {
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
			return nil, wake
		}
		if q.running >= p.Conversations {
			return nil, never // the end of an attempt wakes the scheduler
		}
		if d.owner == nil {
			d.owner = &ownership{holder: "delivery", own: true, all: d.triggered}
			d.triggered = false
		}
		q.running++
		l := q.newLease(d)
		q.reschedule(d)
		return l, 0
	}
	return nil, never
}

func (q *Queue) attempt(ctx context.Context, l *Lease) {
	defer func() {
		l.Close()
		q.mu.Lock()
		q.running--
		q.mu.Unlock()
		q.wakeScheduler()
	}()
	q.deps.Attempt(ctx, l)
}
