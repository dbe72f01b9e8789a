// SPDX-License-Identifier: Apache-2.0

// Package link bounds what goes over a slow or dear line: how many octets and how much
// time a release may take, in one call and in a day, and how large a message may be.
//
// A message that does not fit is left out, and others that do go on. What the peer has
// whole counts, taken or refused. A message under way is finished, whatever the time.
// The package knows neither queue nor connection: a [Meter] is asked for each message.
package link

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Profile has the limits of a link; 0 is no limit.
type Profile struct {
	Name     string        // of the profile; "": none, without limits
	Missing  bool          // there is no profile of that name: no limits hold
	Of       string        // whose day it is that is counted, such as "account ann"
	Ceiling  int64         // octets of one message
	Session  Budget        // of one call
	Day      Budget        // of a day of UTC
	Smallest bool          // the smallest messages go first
	Silence  time.Duration // for which the peer may be silent; 0: as without a profile
}

// A Budget bounds octets and time; 0 is no limit.
type Budget struct {
	Bytes int64
	Time  time.Duration
}

// A Day knows what each link has used in the day of UTC. It is safe for concurrent use.
type Day interface {
	Used(link string) Budget
	Use(link string, more Budget)
}

// The limits that keep messages back, in the order in which they are looked at.
const (
	byCeiling = iota
	bySessionTime
	byDayTime
	bySession
	byDay
	limits
)

// A Meter measures one call against the limits of its link. A nil Meter has none. Its
// methods may be called concurrently.
type Meter struct {
	profile Profile
	day     Day
	now     func() time.Time
	begin   time.Time

	mu      sync.Mutex // guards what follows
	counted time.Time  // until when the time is in day
	handed  int64      // octets handed out
	open    int64      // of them, those that are not in day
	kept    [limits]int
	bytes   [limits]int64
}

// NewMeter begins a call; nil where there is no profile.
func NewMeter(p Profile, day Day, now func() time.Time) *Meter {
	if p.Name == "" || p.Missing {
		return nil
	}
	at := now()
	return &Meter{profile: p, day: day, now: now, begin: at, counted: at}
}

// Smallest reports whether the smallest messages go first.
func (m *Meter) Smallest() bool { return m != nil && m.profile.Smallest }

// Take decides whether a message is handed out, which it counts. It is asked once for each.
func (m *Meter) Take(size int64) bool {
	if m == nil {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	limit := m.limit(size)
	if limit == limits {
		m.handed += size
		m.open += size
		return true
	}
	m.kept[limit]++
	m.bytes[limit] += size
	return false
}

// limit is the first limit that a message exceeds, or limits.
func (m *Meter) limit(size int64) int {
	p, at := m.profile, m.now()
	if p.Ceiling > 0 && size > p.Ceiling {
		return byCeiling
	}
	if over(p.Session.Time, at.Sub(m.begin)) {
		return bySessionTime
	}
	var used Budget
	if p.Day != (Budget{}) {
		used = m.day.Used(p.Of)
	}
	switch {
	case over(p.Day.Time, used.Time+m.today(at)):
		return byDayTime
	case p.Session.Bytes > 0 && m.handed+size > p.Session.Bytes:
		return bySession
	case p.Day.Bytes > 0 && used.Bytes+m.open+size > p.Day.Bytes:
		return byDay
	}
	return limits
}

// today is the time of the call that is not counted yet, as far as it is of the day of at.
func (m *Meter) today(at time.Time) time.Duration {
	since := at.Sub(at.UTC().Truncate(24 * time.Hour))
	return min(at.Sub(m.counted), since)
}

func over(limit, used time.Duration) bool { return limit > 0 && used >= limit }

// Sent counts a message that the peer has had whole.
func (m *Meter) Sent(size int64) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open -= size
	m.use(size)
}

// End counts the rest of the time. The meter goes on if it is used again.
func (m *Meter) End() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.use(0)
}

// use adds to the day. The caller holds m.mu.
func (m *Meter) use(size int64) {
	if m.profile.Day == (Budget{}) {
		return
	}
	at := m.now()
	m.day.Use(m.profile.Of, Budget{size, m.today(at)})
	m.counted = at
}

// Spent reports whether the day's budget is used up, so that nothing can be handed out.
func (m *Meter) Spent() bool {
	if m == nil || m.profile.Day == (Budget{}) {
		return false
	}
	used, of := m.day.Used(m.profile.Of), m.profile.Day
	return over(of.Time, used.Time) || of.Bytes > 0 && used.Bytes >= of.Bytes
}

// Why says which limits have kept how much back; "": none has.
func (m *Meter) Why() string {
	if m == nil {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.profile
	var parts []string
	for i, limit := range [limits]string{
		fmt.Sprintf("its size ceiling of %d bytes", p.Ceiling),
		fmt.Sprintf("its budget of a session, %s", p.Session.Time),
		fmt.Sprintf("its budget of the day, %s", p.Day.Time),
		fmt.Sprintf("its budget of a session, %d bytes", p.Session.Bytes),
		fmt.Sprintf("its budget of the day, %d bytes", p.Day.Bytes),
	} {
		if m.kept[i] > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d bytes beyond %s", m.kept[i], m.bytes[i], limit))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "link " + p.Name + " keeps " + strings.Join(parts, ", ")
}

// SpentText is what is told of a call whose day was used up before.
func (m *Meter) SpentText() string {
	return "link " + m.profile.Name + ": the budget of the day is used up"
}
