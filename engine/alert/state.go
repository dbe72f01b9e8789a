// SPDX-License-Identifier: Apache-2.0

package alert

import (
	"slices"
	"time"

	"restante/engine/alert/digest"
	"restante/engine/alert/hook"
	"restante/engine/mail"
)

// Waiting is the mail that waits under one key.
type Waiting struct {
	Messages int
	Bytes    int64
	Oldest   time.Time // arrival
	Newest   time.Time // arrival
	Urgent   time.Time // arrival of the newest one of a positive MT-PRIORITY; zero: none
	Ends     time.Time // when the oldest one is returned or archived; zero: it is not
	Busy     bool      // it is being collected
}

// Calls are what is known of the host's calls.
type Calls struct {
	Last  time.Time     // zero: none is known
	Every time.Duration // learned; 0: too few are known
}

// A Policy says who is told, and of what.
type Policy struct {
	Key     string         // of the domain: example.com, or *.example.com; "": it is not held
	Owners  []mail.Address // that get digests
	Warn    int            // a threshold of the quota beside those of all; 0: none
	Percent func(messages int, bytes int64) int
	Hold    time.Duration // how long a message waits; 0: not known
	Every   time.Duration // between calls; 0: it is learned

	URL     string // "": none
	Secret  hook.Secret
	Command []string
	After   time.Duration // that mail waits before a wake-up
}

func (p Policy) hooked() bool { return p.URL != "" || len(p.Command) > 0 }

// A state is what was told about a key, so that nothing is told twice, also over a
// restart.
type state struct {
	Owner  ownerState `json:"owner,omitzero"`
	Host   hostState  `json:"host,omitzero"`
	Silent time.Time  `json:"silent,omitzero"` // the alarm since then
	Events []pending  `json:"events,omitempty"`
}

func (s *state) equal(o *state) bool {
	return s.Owner == o.Owner && s.Host == o.Host && s.Silent.Equal(o.Silent) && slices.Equal(s.Events, o.Events)
}

// An ownerState is what digests told.
type ownerState struct {
	Level   int       `json:"level,omitempty"` // threshold of the quota
	LevelAt time.Time `json:"level_at,omitzero"`
	Ending  bool      `json:"ending,omitempty"`
	Silence bool      `json:"silence,omitempty"`
	Told    time.Time `json:"told,omitzero"` // the last digest
}

// A hostState is what wake-ups told.
type hostState struct {
	Since  time.Time `json:"since,omitzero"` // mail waits that no wake-up told of
	Woken  time.Time `json:"woken,omitzero"` // the last wake-up, with no call since
	Sent   time.Time `json:"sent,omitzero"`  // the last wake-up, as long as it puts the next one off
	Level  int       `json:"level,omitempty"`
	Urgent time.Time `json:"urgent,omitzero"`
}

// A pending event has not been taken by all of its receivers.
type pending struct {
	hook.Event
	Command bool      `json:"command,omitempty"` // for WakeCommand; false: for WakeUrl
	Tries   int       `json:"tries,omitempty"`
	Next    time.Time `json:"next,omitzero"`
	running bool
}

// What decides, beside the settings.
const (
	day          = 24 * time.Hour
	endingMost   = 3 * day          // before its end, mail is close to it; a quarter of its time where that is less
	levelRest    = time.Hour        // a threshold is told again no earlier
	levelMargin  = 5                // percent below a threshold, from which on it was left
	wakeRest     = time.Minute      // between two wake-ups
	learnedLeast = 10 * time.Minute // a learned interval counts as no less
	keepTrying   = day              // an event is given up then
	firstRetry   = time.Minute
	lastRetry    = time.Hour
)

var thresholds = []int{50, 80, 95}

// level is the highest threshold that percent has come to, 0 for none.
func (p Policy) level(percent int) (n int) {
	for _, t := range append(slices.Clip(thresholds), p.Warn) {
		if t > 0 && percent >= t {
			n = max(n, t)
		}
	}
	return n
}

// every is how often the host is expected to call; 0: not known.
func (p Policy) every(c Calls) time.Duration {
	if p.Every > 0 || c.Every == 0 {
		return p.Every
	}
	return max(c.Every, learnedLeast)
}

// An observation is what is seen of a key at one time.
type observation struct {
	Policy
	Waiting
	Calls
	at      time.Time
	started time.Time // since when calls would be seen
	percent int
	site    int
}

func observe(p Policy, w Waiting, c Calls, site int, started time.Time) observation {
	o := observation{p, w, c, time.Now(), started, 0, site}
	if p.Percent != nil {
		o.percent = p.Percent(w.Messages, w.Bytes)
	}
	return o
}

func (o observation) event(kind, reason string) hook.Event {
	return hook.Event{ID: string(mail.NewMessageID(o.at)), Type: kind, Time: o.at.Truncate(time.Second), Data: hook.Data{
		Site: o.site, Domain: o.Key, Reason: reason, Messages: o.Messages, Bytes: o.Bytes, Oldest: o.Oldest, Percent: o.percent, LastCall: o.Last,
	}}
}

func (o observation) digest(reasons []digest.Reason) digest.Digest {
	d := digest.Digest{
		Domain: o.Key, To: o.Owners, Reasons: reasons, ID: mail.NewMessageID(o.at), At: o.at, Messages: o.Messages, Bytes: o.Bytes, Percent: o.percent,
		Oldest: o.Oldest, Ends: o.Ends, LastCall: o.Last,
	}
	if every := o.every(o.Calls); every > 0 && !o.Last.IsZero() {
		d.NextCall = o.Last.Add(every)
	}
	return d
}

// hosts brings s in line with o in what the host is told, and adds events.
func (s *state) hosts(o observation) {
	s.watchSilence(o)
	s.Events = slices.DeleteFunc(s.Events, func(e pending) bool { return !e.running && s.isOver(e, o) })
	h := &s.Host
	if !o.hooked() {
		*h = hostState{}
		return
	}
	if o.Last.After(h.Woken) {
		h.Woken = time.Time{}
	}
	if o.Messages == 0 {
		*h = hostState{Urgent: h.Urgent, Sent: h.Sent}
		if o.at.Sub(h.Sent) >= wakeRest {
			h.Sent = time.Time{}
		}
	}
	if o.percent < h.Level-levelMargin {
		h.Level = o.level(o.percent)
	}
	switch fresh := o.Messages > 0 && o.Newest.After(o.Last); {
	case !fresh || !h.Woken.IsZero():
		h.Since = time.Time{}
	case h.Since.IsZero():
		h.Since = o.Newest
	}
	if o.Urgent.IsZero() {
		h.Urgent = time.Time{}
	}
	if o.Busy || o.Messages == 0 || s.has(hook.MailWaits) || o.at.Sub(h.Sent) < wakeRest {
		return
	}
	reason, level := "", o.level(o.percent)
	switch {
	case o.Urgent.After(h.Urgent) && o.Urgent.After(o.Last):
		reason = "priority"
	case !h.Since.IsZero() && o.at.Sub(h.Since) >= o.After:
		reason = "first"
	case level > h.Level && (h.Woken.IsZero() || o.at.Sub(h.Woken) >= o.After):
		reason = "threshold"
	default:
		return
	}
	*h = hostState{Woken: o.at, Sent: o.at, Level: max(level, h.Level), Urgent: o.Urgent}
	s.add(o, o.event(hook.MailWaits, reason))
}

// watchSilence begins and ends the alarm.
func (s *state) watchSilence(o observation) {
	every, from := o.every(o.Calls), o.Last
	if from.IsZero() && o.Policy.Every > 0 && o.Messages > 0 {
		from = o.Oldest // it has never called
	}
	known := every > 0 && !from.IsZero()
	if !s.Silent.IsZero() {
		if !known || o.at.Sub(from) <= 2*every {
			s.Silent = time.Time{}
		}
		return
	}
	if from.Before(o.started) {
		from = o.started // nobody could call before
	}
	if known && !o.Busy && o.at.Sub(from) > 2*every {
		s.Silent = o.at
		s.add(o, o.event(hook.HostSilent, ""))
	}
}

// isOver reports whether an event tells of nothing that is still so, or was tried for
// long enough.
func (s *state) isOver(e pending, o observation) bool {
	switch {
	case e.Command && len(o.Command) == 0, !e.Command && o.URL == "", o.at.Sub(e.Time) > keepTrying:
		return true
	case e.Type == hook.HostSilent:
		return s.Silent.IsZero()
	}
	return o.Messages == 0 || o.Last.Truncate(time.Second).After(e.Time) // which is in whole seconds
}

func (s *state) has(kind string) bool {
	return slices.ContainsFunc(s.Events, func(e pending) bool { return e.Type == kind })
}

func (s *state) add(o observation, e hook.Event) {
	if o.URL != "" {
		s.Events = append(s.Events, pending{Event: e})
	}
	if len(o.Command) > 0 {
		s.Events = append(s.Events, pending{Event: e, Command: true})
	}
}

// owners brings s in line with o in what the owner is told, and gives the reasons for a
// digest.
func (s *state) owners(o observation) (why []digest.Reason) {
	w := &s.Owner
	level, near := o.level(o.percent), o.isEnding()
	if level < w.Level && o.percent < w.Level-levelMargin && o.at.Sub(w.LevelAt) >= levelRest {
		w.Level, w.LevelAt = level, time.Time{}
	}
	w.Ending, w.Silence = w.Ending && near, w.Silence && !s.Silent.IsZero()
	if o.Messages == 0 && o.at.Sub(w.Told) >= day {
		w.Told = time.Time{}
	}
	if len(o.Owners) == 0 {
		return nil
	}
	if level > w.Level {
		w.Level, w.LevelAt = level, o.at
		why = append(why, digest.Quota)
	}
	if near && !w.Ending {
		w.Ending = true
		why = append(why, digest.Ending)
	}
	if !s.Silent.IsZero() && !w.Silence {
		w.Silence = true
		why = append(why, digest.Silence)
	}
	if o.Messages > 0 && o.at.Sub(o.Oldest) >= day && o.at.Sub(w.Told) >= day {
		why = append(why, digest.Daily)
	}
	if len(why) > 0 {
		w.Told = o.at
	}
	return why
}

// isEnding reports whether the oldest message is close to its end.
func (o observation) isEnding() bool {
	if o.Ends.IsZero() {
		return false
	}
	near := endingMost
	if o.Hold > 0 {
		near = min(near, o.Hold/4)
	}
	return o.Ends.Sub(o.at) <= near
}
