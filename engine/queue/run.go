// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"sync"
	"time"
)

// Run makes attempts as they are due until ctx ends, waits for those under
// way, and returns the cause. It sleeps until something is due or has changed.
// One Run at a time.
func (q *Queue) Run(ctx context.Context) error {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-q.knock:
		case <-timer.C:
		}
		for {
			l, next := q.begin()
			if l != nil {
				attempts.Go(func() { q.attempt(ctx, l) })
				continue
			}
			if next == never {
				timer.Stop() // a knock will come
			} else {
				timer.Reset(time.Until(at(next)))
			}
			break
		}
	}
}

// begin leases what is due first, if something is due and there is room for an
// attempt; else it says when to look again.
func (q *Queue) begin() (*Lease, int64) {
	p := q.policy()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.due) > 0 {
		d := q.due[0]
		wake := q.wake(d) // the settings may have changed since it was put there
		if wake != d.agenda.wake {
			q.due.set(d, wake)
			continue
		}
		if wake > now() {
			return nil, wake
		}
		if q.talks >= p.Conversations {
			return nil, never // whoever ends will knock
		}
		if d.hold == nil {
			d.hold = &hold{holder: "delivery", own: true, all: d.nudged}
			d.nudged = false
		}
		q.talks++
		l := q.join(d)
		q.touch(d)
		return l, 0
	}
	return nil, never
}

func (q *Queue) attempt(ctx context.Context, l *Lease) {
	defer func() {
		l.Close()
		q.mu.Lock()
		q.talks--
		q.mu.Unlock()
		q.nudge()
	}()
	q.deps.Attempt(ctx, l)
}
