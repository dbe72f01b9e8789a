// SPDX-License-Identifier: Apache-2.0

// Package trace keeps what happened to each message, from the caller that brought it to
// its last outcome, for weeks after it is gone.
//
// Add puts an event into memory and never waits: the goroutine of Run writes what has
// come, after a second at most. Where events come faster than the disk takes them, or
// the disk refuses them, they are left out and counted, and an event of the name segment.Lost
// stands in their place.
//
// Events are appended to segments, files of bounded size and of one day at most. A full
// one gets an index of the keys of its events, so that a search reads a few octets of
// each. The oldest segments are removed as a whole, by age and by the size of all. A crash
// loses what was not written, one second at most; a torn record costs itself. Damage in
// one segment costs what it hits, and a search names it.
//
// The package does not know what the events mean.
package trace

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"restante/engine/trace/search"
	"restante/engine/trace/segment"
)

// An Event is one step in the life of a message, or a refusal.
type Event = segment.Event

// Limits say how much is kept. Age 0: nothing.
type Limits struct {
	Age   time.Duration
	Bytes int64
}

const (
	flushEvery = time.Second
	flushCount = 4096      // events that are written before flushEvery is over
	maxPending = 32 << 10  // further events are left out
	pruneEvery = time.Hour // the old ones go, also where no new ones come
)

// A Store takes events in. Its methods may be called from anywhere; Run once.
type Store struct {
	log  *slog.Logger
	some chan struct{} // events are pending
	many chan struct{} // flushCount of them

	mu      sync.Mutex // guards what follows
	limits  Limits
	pending []Event
	lost    lost          // since the last flush
	status  Status        // as of the last flush
	flushed chan struct{} // closed with the next flush

	writing sync.Mutex // guards the files. Locked before mu
	files   writer
}

// lost counts events that are missing.
type lost struct {
	count        int
	since, until time.Time
}

func (l *lost) add(at time.Time, n int) {
	if l.count == 0 {
		l.since = at
	}
	l.count, l.until = l.count+n, at
}

// event says in the trace what is missing from it. Of a crash, the number is not known: 0.
func (l lost) event() Event {
	return Event{At: l.until, Name: segment.Lost, Keys: []string{segment.Lost}, Attrs: []slog.Attr{
		slog.Int("count", l.count), slog.Time("since", l.since), slog.Time("until", l.until),
	}}
}

// Status describes a Store.
type Status struct {
	Events  int
	Bytes   int64
	Since   time.Time // of the oldest event
	Lost    int       // events that were left out since the start
	Damaged int       // places that do not read
	Err     error     // why nothing is written, or nil
}

// New makes a Store in a folder, which is made with the first event. It starts
// nothing.
func New(dir string, limits Limits, log *slog.Logger) *Store {
	return &Store{
		log: log, limits: limits, files: writer{dir: dir}, flushed: make(chan struct{}),
		some: make(chan struct{}, 1), many: make(chan struct{}, 1),
	}
}

// Dir is the folder, for package search.
func (s *Store) Dir() string { return s.files.dir }

// SetLimits has other limits hold from now on.
func (s *Store) SetLimits(l Limits) {
	s.mu.Lock()
	changed := s.limits != l
	s.limits = l
	s.mu.Unlock()
	if changed {
		signal(s.some)
	}
}

// Written gives a channel that is closed with the next flush.
func (s *Store) Written() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flushed
}

// Status describes the Store as of the last flush.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Add takes an event in; it sets At.
func (s *Store) Add(e Event) {
	e.At = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits.Age == 0 {
		return
	}
	if len(s.pending) >= maxPending {
		s.lost.add(e.At, 1)
		s.status.Lost++
		return
	}
	if len(s.pending) == 0 {
		signal(s.some)
	}
	if s.pending = append(s.pending, e); len(s.pending) >= flushCount {
		signal(s.many)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is signalled already
	}
}

// Run writes events until ctx ends, and then those that are pending.
func (s *Store) Run(ctx context.Context) {
	s.flush(true, false)
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-prune.C:
		case <-s.some:
		}
		wait := time.NewTimer(flushEvery)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				waiting = false
			case <-wait.C:
				waiting = false
			case <-s.many:
				s.flush(false, false)
			}
		}
		wait.Stop()
		s.flush(true, false)
	}
	s.flush(true, true)
}

// Flush writes what is pending.
func (s *Store) Flush() { s.flush(false, false) }

// flush writes what is pending: with sync onto stable storage, with last as the end.
func (s *Store) flush(sync, last bool) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	events, missing, limits := s.pending, s.lost, s.limits
	s.pending, s.lost = nil, lost{}
	s.mu.Unlock()
	if missing.count > 0 {
		events = append([]Event{missing.event()}, events...)
	}
	n, err := s.files.write(events, limits, sync)
	if last && err == nil {
		err = s.files.stop(limits)
	}
	if n > 0 {
		missing = lost{}
	}
	dropped := 0
	for _, e := range events[n:] {
		if e.Name != segment.Lost {
			missing.add(e.At, 1)
			dropped++
		}
	}
	s.note(missing, dropped, err)
}

// note records what came of a flush: what is missing is told with the next one.
func (s *Store) note(missing lost, dropped int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if missing.count > 0 {
		if s.lost.count > 0 {
			missing.add(s.lost.until, s.lost.count)
		}
		s.lost = missing
	}
	was, total := s.status.Err, s.status.Lost+dropped
	s.status = s.files.status()
	s.status.Lost, s.status.Err = total, err
	close(s.flushed)
	s.flushed = make(chan struct{})
	switch {
	case was == nil && err != nil:
		s.log.Warn("the trace is not written", "why", err)
	case was != nil && err == nil:
		s.log.Info("the trace is written again", "left_out", total)
	}
}

// End is the place behind all that was added before.
func (s *Store) End() search.Position {
	s.Flush()
	s.writing.Lock()
	defer s.writing.Unlock()
	return search.Position{Segment: s.files.number, Offset: s.files.size}
}
