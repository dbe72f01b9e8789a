// SPDX-License-Identifier: Apache-2.0

// Package calls keeps what became of the calls of hosts for their mail: a history of the
// releases, for each domain its last call and when the next one is to be expected, and what
// each link has used of the budget of its day.
//
// A call is noted in memory and stored by [Log.Run], so that no release waits for it; a
// crash loses what came in the last second. The history is bounded by days and by number.
package calls

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

// A Call is one call for the mail of one domain, and what became of it.
type Call struct {
	Domain   mail.Domain `json:"domain"`
	Begin    time.Time   `json:"begin"`
	End      time.Time   `json:"end"`
	Verb     string      `json:"verb"` // ETRN, TURN, ATRN, or "queue release" of an administrator
	Account  string      `json:"account,omitempty"`
	Address  netip.Addr  `json:"address,omitzero"`
	TLS      bool        `json:"tls"`
	Messages int         `json:"messages"` // that were taken
	Bytes    int64       `json:"bytes"`    // of them
	Refused  int         `json:"refused"`  // that the host refused for good: their senders have a report
	InDoubt  int         `json:"in_doubt"` // that the host had whole, and did not answer for
	Left     int         `json:"left"`     // that wait on
	Outcome  string      `json:"outcome"`
}

// released reports whether there was mail, so that the call belongs to the history.
func (c Call) released() bool { return c.Messages > 0 || c.Refused > 0 || c.InDoubt > 0 || c.Left > 0 }

// A Last is the last call for a domain, and the times of the calls that it was learned
// from, the newest last.
type Last struct {
	Call
	Times []time.Time `json:"times"`
}

// maxTimes calls are remembered of each domain, to learn its interval.
const maxTimes = 9

// Interval is the median time between the calls; 0 where fewer than three are known.
func (l Last) Interval() time.Duration {
	if len(l.Times) < 3 {
		return 0
	}
	var gaps []time.Duration
	for i, t := range l.Times[1:] {
		gaps = append(gaps, t.Sub(l.Times[i]))
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}

// Next is when the next call is expected, every interval, or as they came if that is 0;
// zero where that is not known.
func (l Last) Next(interval time.Duration) time.Time {
	if interval = cmp.Or(interval, l.Interval()); interval <= 0 || len(l.Times) == 0 {
		return time.Time{}
	}
	return l.Times[len(l.Times)-1].Add(interval)
}

// The keys in the DB: no others there begin so.
const (
	historyPrefix = "w/call/"
	lastPrefix    = "w/last/"
)

// The most calls that the history has, and that wait in memory to be stored; and the
// domains whose last call is known, where nothing waited: a wildcard has any number of
// names to call for.
const (
	maxHistory = 100_000
	maxPending = 10_000
	maxLast    = 10_000
)

// A Log keeps the calls of one site. Its methods may be called concurrently; Run once.
type Log struct {
	db   kv.DB
	keep func() time.Duration
	log  *slog.Logger
	wake chan struct{}

	storing sync.Mutex // held while pending calls become stored ones; guards the next two
	next    int        // number of the next key, for those of one nanosecond
	lasts   int        // keys below lastPrefix, as far as they were counted

	mu      sync.Mutex       // guards what follows
	pending []Call           // not stored yet
	lost    int              // that came while there were maxPending
	used    map[string]usage // of today, by link
}

// New makes a Log in db. Keep says for how long the history is kept. It starts nothing.
func New(db kv.DB, keep func() time.Duration, log *slog.Logger) *Log {
	return &Log{db: db, keep: keep, log: log, wake: make(chan struct{}, 1)}
}

// Add notes a call. It waits for nothing.
func (l *Log) Add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) >= maxPending {
		l.lost++
		return
	}
	l.pending = append(l.pending, c)
	l.wakeRun()
}

func (l *Log) wakeRun() {
	select {
	case l.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// Between two commits, and two times that old calls are removed.
const (
	gather   = time.Second
	pruneGap = time.Hour
)

// Run stores calls until ctx ends. What comes later is stored by Flush.
func (l *Log) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var pruned time.Time
	gathering := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
			if !gathering { // or news without a pause would postpone it for ever
				timer.Reset(gather)
			}
			gathering = true
			continue
		case <-timer.C:
		}
		gathering = false
		l.store(ctx)
		if time.Since(pruned) >= pruneGap {
			pruned = time.Now()
			l.prune(ctx)
		}
		timer.Reset(pruneGap)
	}
}

// Flush stores what is noted.
func (l *Log) Flush(ctx context.Context) { l.store(ctx) }

// store writes the pending calls. After an error they wait on.
func (l *Log) store(ctx context.Context) {
	l.storing.Lock()
	defer l.storing.Unlock()
	l.mu.Lock()
	list, lost := slices.Clone(l.pending), l.lost
	l.mu.Unlock()
	written, ops := l.unstored()
	if ops = append(ops, l.ops(list)...); len(ops) == 0 {
		return
	}
	if err := l.db.Commit(ctx, ops...); err != nil {
		l.log.Warn("calls of hosts are not stored now", "calls", len(list), "err", err)
		return
	}
	if lost > 0 {
		l.log.Warn("calls of hosts are missing in the history: more came than could be stored", "calls", lost)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = slices.Delete(l.pending, 0, len(list))
	l.lost -= lost
	l.noteStored(written)
}

func (l *Log) ops(list []Call) (ops []kv.Op) {
	last := map[mail.Domain]Last{}
	for _, c := range list {
		was, ok := last[c.Domain]
		if !ok {
			was = l.stored(c.Domain)
		}
		if !ok && was.Verb == "" {
			if l.lasts >= maxLast && !c.released() {
				continue
			}
			l.lasts++
		}
		last[c.Domain] = was.after(c)
		if c.released() {
			l.next++
			ops = append(ops, put(fmt.Sprintf("%s%020d/%08x", historyPrefix, c.Begin.UnixNano(), uint32(l.next)), c))
		}
	}
	for d, one := range last {
		ops = append(ops, put(lastPrefix+string(d), one))
	}
	return ops
}

func put(key string, v any) kv.Op {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	return kv.Put([]byte(key), text)
}

// after is l with one more call. What an administrator releases is none of the host.
func (l Last) after(c Call) Last {
	l.Call = c
	if c.Verb != Manual {
		l.Times = append(slices.Clone(l.Times), c.Begin)
		l.Times = l.Times[max(0, len(l.Times)-maxTimes):]
	}
	return l
}

// Manual is the verb of a release by an administrator.
const Manual = "queue release"

func (l *Log) stored(d mail.Domain) (last Last) {
	text, ok, err := l.db.Get([]byte(lastPrefix + string(d)))
	if err == nil && ok {
		_ = json.Unmarshal(text, &last) // a damaged one begins anew
	}
	return last
}

// Last is the last call for d; one without a verb: there was none.
func (l *Log) Last(d mail.Domain) Last {
	l.storing.Lock()
	defer l.storing.Unlock()
	l.mu.Lock()
	list := slices.Clone(l.pending)
	l.mu.Unlock()
	last := l.stored(d)
	for _, c := range list {
		if c.Domain == d {
			last = last.after(c)
		}
	}
	return last
}

// Lasts yields the last call for each domain that one is known of.
func (l *Log) Lasts(ctx context.Context) iter.Seq[Last] {
	return func(yield func(Last) bool) {
		l.store(ctx)
		for p, err := range l.db.Scan(ctx, []byte(lastPrefix)) {
			var last Last
			if err == nil && json.Unmarshal(p.Value, &last) == nil && !yield(last) {
				return
			}
		}
	}
}

// Time is when the host called last; zero: it has not.
func (l Last) Time() (t time.Time) {
	if n := len(l.Times); n > 0 {
		t = l.Times[n-1]
	}
	return t
}

// A Filter picks calls; the zero Filter all.
type Filter struct {
	Domain  mail.Domain
	Account string // in any case
	Since   time.Time
}

func (f Filter) picks(c Call) bool {
	return (f.Domain == "" || c.Domain == f.Domain) && (f.Account == "" || strings.EqualFold(c.Account, f.Account)) && !c.Begin.Before(f.Since)
}

// History gives the releases that f picks, the newest first.
func (l *Log) History(ctx context.Context, f Filter) (out []Call, err error) {
	l.storing.Lock()
	defer l.storing.Unlock()
	l.mu.Lock()
	list := slices.Clone(l.pending)
	l.mu.Unlock()
	for p, err := range l.db.Scan(ctx, []byte(historyPrefix)) {
		if err != nil {
			return nil, err
		}
		var c Call
		if json.Unmarshal(p.Value, &c) == nil && f.picks(c) {
			out = append(out, c)
		}
	}
	for _, c := range list {
		if c.released() && f.picks(c) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b Call) int { return cmp.Compare(b.Begin.UnixNano(), a.Begin.UnixNano()) })
	return out, nil
}

// prune removes calls that are too old, or too many.
func (l *Log) prune(ctx context.Context) {
	l.storing.Lock()
	defer l.storing.Unlock()
	oldest := []byte(fmt.Sprintf("%s%020d", historyPrefix, time.Now().Add(-l.keep()).UnixNano()))
	var keys []string
	gone := 0
	for p, err := range l.db.Scan(ctx, []byte(historyPrefix)) {
		if err != nil {
			l.log.Warn("the history of calls is not pruned now", "err", err)
			return
		}
		if keys = append(keys, string(p.Key)); string(p.Key) < string(oldest) {
			gone = len(keys)
		}
	}
	gone = max(gone, len(keys)-maxHistory)
	var ops []kv.Op
	for _, key := range keys[:gone] {
		ops = append(ops, kv.Del([]byte(key)))
	}
	l.lasts = 0
	for p, err := range l.db.Scan(ctx, []byte(lastPrefix)) {
		var last Last
		if l.lasts++; err == nil && json.Unmarshal(p.Value, &last) == nil && time.Since(last.Begin) > l.keep() {
			ops = append(ops, kv.Del(slices.Clone(p.Key)))
		}
	}
	for p, err := range l.db.Scan(ctx, []byte(usedPrefix)) {
		if err == nil {
			ops = append(ops, pruneUsed(p.Key, p.Value)...)
		}
	}
	if len(ops) > 0 {
		if err := l.db.Commit(ctx, ops...); err != nil {
			l.log.Warn("the history of calls is not pruned now", "err", err)
		}
	}
}
