// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"time"

	"restante/engine/mail"
)

// A Policy says when messages are tried and given up, and how many attempts run
// at once. The zero Policy is the built-in one.
type Policy struct {
	Ladder         []time.Duration // between attempts; the last one repeats; nil: 15, 30, 60, 240 minutes
	Expire         time.Duration   // the age at which a message that cannot be delivered is given up; 0: 48 hours
	DelayNotice    time.Duration   // the age at which a sender hears of a delay; 0: 12 hours
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

// interval is the wait after that many attempts, at least a second.
func (p Policy) interval(attempts int) time.Duration {
	// Without a wait, a message would be tried without end.
	return max(p.Ladder[min(max(attempts, 1), len(p.Ladder))-1], time.Second)
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
