// SPDX-License-Identifier: Apache-2.0

package site

import (
	"sync"
	"time"

	"restante/engine/mail"
	"restante/engine/release/calls"
	"restante/engine/release/link"
)

// A releaseUnderWay is the delivery of held mail to its hosts, over one or several
// conversations.
type releaseUnderWay struct {
	call   calls.Call
	tally  calls.Tally
	active int // conversations
}

// counts is its tally; nil for none.
func (r *releaseUnderWay) counts() *calls.Tally {
	if r == nil {
		return nil
	}
	return &r.tally
}

// releasing has the releases under way.
type releasing struct {
	mu    sync.Mutex // guards what follows
	by    map[mail.Domain]*releaseUnderWay
	asked map[mail.Domain]calls.Call // whose release has not begun
}

// ask notes who has the release that begins next.
func (r *releasing) ask(by calls.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[mail.Domain]calls.Call{}
	}
	r.asked[by.Domain] = by
}

// begin gives the release that an attempt is part of; nil for mail that is not held. A
// release that nobody has asked for by SMTP is an administrator's. Meter measures it.
func (r *releasing) begin(d mail.Domain, held bool, meter func(calls.Call) *link.Meter) *releaseUnderWay {
	if !held {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.by[d]
	if one == nil {
		call, ok := r.asked[d]
		delete(r.asked, d)
		if !ok {
			call = calls.Call{Domain: d, Begin: time.Now(), Verb: calls.Manual}
		}
		one = &releaseUnderWay{call: call}
		one.tally.Link = meter(call)
		if r.by == nil {
			r.by = map[mail.Domain]*releaseUnderWay{}
		}
		r.by[d] = one
	}
	one.active++
	return one
}

// end reports whether one has ended with this attempt.
func (r *releasing) end(one *releaseUnderWay) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one.active--; one.active > 0 {
		return false
	}
	delete(r.by, one.call.Domain)
	return true
}

// meter is what measures a release; nil for no limits.
func (s *Site) meter(c calls.Call) *link.Meter {
	log, limits := s.Calls(), s.config().Release.Link
	if log == nil || limits == nil {
		return nil
	}
	return link.NewMeter(limits(c.Account, c.Domain), log, time.Now)
}

// endRelease notes what a release came to, with its last conversation.
func (s *Site) endRelease(one *releaseUnderWay) {
	if one == nil || !s.releasing.end(one) {
		return
	}
	s.mu.Lock()
	m := s.mail
	s.mu.Unlock()
	if m == nil {
		return
	}
	one.call.End = time.Now()
	one.tally.Link.End()
	m.calls.Add(one.tally.Of(one.call, m.queue.Count(one.call.Domain), nil))
}

// Calls is the history of calls for the site's held mail; nil where no queue is open.
func (s *Site) Calls() *calls.Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mail == nil {
		return nil
	}
	return s.mail.calls
}
