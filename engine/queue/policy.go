// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"time"

	"restante/engine/mail"
)

// A Policy is how patient a queue is and how much it does at once. The zero
// Policy is the built-in one.
type Policy struct {
	Ladder         []time.Duration // between attempts; the last one repeats; nil: 15, 30, 60, 240 minutes
	Expire         time.Duration   // the age at which a message that cannot be delivered is given up; 0: 48 hours
	DelayNotice    time.Duration   // the age at which a sender hears of a delay; 0: 12 hours
	QuietDelay     bool            // reportable of a delay only who asked for it (NOTIFY=DELAY)
	Conversations  int             // attempts at once; 0: 100
	PerDestination int             // of them for one destination; 0: 4
}

func (p Policy) withDefaults() Policy {
	if len(p.Ladder) == 0 {
		p.Ladder = []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 4 * time.Hour}
	}
	orTime(&p.Expire, 48*time.Hour)
	orTime(&p.DelayNotice, 12*time.Hour)
	orInt(&p.Conversations, 100)
	orInt(&p.PerDestination, 4)
	return p
}

func orTime(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}

func orInt(n *int, otherwise int) {
	if *n <= 0 {
		*n = otherwise
	}
}

// interval is the wait after so many attempts, at least one.
func (p Policy) interval(attempts int) time.Duration {
	// A wait of nothing would try without end.
	return max(p.Ladder[min(max(attempts, 1), len(p.Ladder))-1], time.Second)
}

// nextTry is when a message that arrived at received is tried next, after so
// many attempts: by the ladder, but once more just when its time is up.
func (p Policy) nextTry(now, received int64, attempts int) int64 {
	next := now + int64(p.interval(attempts))
	if end := received + int64(p.Expire); end > now && end < next {
		return end
	}
	return next
}

// RouterFunc makes a Router of a func.
type RouterFunc func(d mail.Domain) RouteState

// Route calls f.
func (f RouterFunc) Route(d mail.Domain) RouteState { return f(d) }
