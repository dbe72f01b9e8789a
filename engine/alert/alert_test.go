// SPDX-License-Identifier: Apache-2.0

package alert

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/alert/digest"
	"restante/engine/alert/hook"
	"restante/engine/mail"
	"restante/internal/deptest"
	"restante/internal/kv"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":     "the mail packages do not know paths",
		"/engine/queue": "a site gives what waits",
	})
}

// A fixture is a site whose domains a test sets. It notes what is told, with the time since
// it began.
type fixture struct {
	t     *testing.T
	db    kv.DB
	begun time.Time

	mu     sync.Mutex // guards what follows
	policy map[string]Policy
	waits  map[mail.Domain]Waiting
	calls  map[mail.Domain]Calls
	reply  mail.Reply
	fails  error
	told   []string
	ids    []string
	stop   func()
	*Watcher
}

func newFixture(t *testing.T) *fixture {
	return &fixture{t: t, db: kv.NewMem(), begun: time.Now(), reply: mail.Reply{Code: 250}, policy: map[string]Policy{}, waits: map[mail.Domain]Waiting{}, calls: map[mail.Domain]Calls{}}
}

var owner = mail.Address{Local: "boss", Domain: "else.test"}

func (w *fixture) set(p Policy) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Percent == nil {
		p.Percent = func(messages int, _ int64) int { return messages }
	}
	w.policy[p.Key] = p
}

func (w *fixture) of(d mail.Domain) Policy {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.policy[string(d)]; ok {
		return p
	}
	_, parent, _ := strings.Cut(string(d), ".")
	return w.policy["*."+parent]
}

// pick gives those of m that are asked for.
func pick[V any](w *fixture, m map[mail.Domain]V, of []mail.Domain) map[mail.Domain]V {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := maps.Clone(m)
	maps.DeleteFunc(out, func(d mail.Domain, _ V) bool { return of != nil && !slices.Contains(of, d) })
	return out
}

func (w *fixture) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, time.Since(w.begun).Truncate(time.Minute).String()+" "+fmt.Sprintf(format, args...))
}

// start runs a Watcher until halt.
func (w *fixture) start() {
	w.Watcher = New(Sources{
		Site: 1, DB: w.db, Changed: func() {}, Policy: w.of,
		Waiting: func(of []mail.Domain) map[mail.Domain]Waiting { return pick(w, w.waits, of) },
		Calls:   func(_ context.Context, of []mail.Domain) map[mail.Domain]Calls { return pick(w, w.calls, of) },
		Names: func(parent mail.Domain) []mail.Domain {
			return slices.Sorted(maps.Keys(pick(w, w.waits, nil)))
		},
		Submit: func(ctx context.Context, d digest.Digest, op kv.Op) mail.Reply {
			w.mu.Lock()
			reply := w.reply
			w.mu.Unlock()
			w.note("digest %s %d %v %d", d.Domain, d.Messages, d.Reasons, reply.Code)
			if reply.Positive() {
				_ = w.db.Commit(ctx, op)
			}
			return reply
		},
	})
	send := func(ctx context.Context, to string, e hook.Event) error {
		w.mu.Lock()
		err := w.fails
		w.ids = append(w.ids, e.ID)
		w.mu.Unlock()
		w.note("%s %s %s %d %s", to, e.Type, e.Data.Domain, e.Data.Messages, e.Data.Reason)
		return err
	}
	w.post = func(ctx context.Context, url string, _ hook.Secret, e hook.Event) error { return send(ctx, url, e) }
	w.run = func(ctx context.Context, c []string, e hook.Event) error { return send(ctx, c[0], e) }
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan bool)
	go func(l *Watcher) { l.Run(ctx); close(ended) }(w.Watcher)
	w.stop = func() { cancel(); <-ended }
}

// arrive has n messages come for d.
func (w *fixture) arrive(d mail.Domain, n int) {
	w.mu.Lock()
	one, now := w.waits[d], time.Now()
	if one.Messages == 0 {
		one.Oldest, one.Ends = now, now.Add(30*day)
	}
	one.Messages, one.Bytes, one.Newest = one.Messages+n, one.Bytes+int64(n)*1000, now
	w.waits[d] = one
	w.mu.Unlock()
	w.Came(d)
}

// call has the host of d collect all but left.
func (w *fixture) call(d mail.Domain, left int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.calls[d]
	one.Last = time.Now()
	w.calls[d] = one
	if left == 0 {
		delete(w.waits, d)
	} else {
		waits := w.waits[d]
		waits.Messages = left
		w.waits[d] = waits
	}
}

func (w *fixture) want(when string, want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.told) // the receivers of one event are told at one time
	slices.Sort(want)
	if !slices.Equal(w.told, want) {
		w.t.Errorf("%s: told\n  %s\nwant\n  %s", when, strings.Join(w.told, "\n  "), strings.Join(want, "\n  "))
	}
	w.told = nil
}

// An owner is told at each threshold once, when the end is near, and once a day; a
// restart repeats nothing, and what could not be sent is sent later.
func TestDigests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.set(Policy{Key: "a.test", Owners: []mail.Address{owner}, Warn: 60, Hold: 30 * day})
		w.start()
		w.arrive("a.test", 49)
		time.Sleep(time.Hour)
		w.want("below all")
		w.arrive("a.test", 1)
		time.Sleep(time.Minute)
		w.arrive("a.test", 5)
		time.Sleep(time.Hour)
		w.want("50 percent", "1h0m0s digest a.test 50 [quota] 250")
		w.stop()
		w.start()
		time.Sleep(time.Hour)
		w.want("after a restart")
		w.mu.Lock()
		w.reply = mail.Reply{Code: 452}
		w.mu.Unlock()
		w.arrive("a.test", 30) // two at once
		time.Sleep(90 * time.Second)
		w.mu.Lock()
		w.reply = mail.Reply{Code: 250}
		w.mu.Unlock()
		time.Sleep(time.Hour)
		w.want("a full disk", "3h1m0s digest a.test 85 [quota] 452", "3h2m0s digest a.test 85 [quota] 452", "3h3m0s digest a.test 85 [quota] 250")
		w.arrive("a.test", 11)
		time.Sleep(time.Hour)
		w.want("95 percent", "4h2m0s digest a.test 96 [quota] 250")
		for range 30 { // around a threshold
			w.call("a.test", 88)
			time.Sleep(time.Minute)
			w.arrive("a.test", 8)
			time.Sleep(time.Minute)
		}
		w.want("around a threshold", "5h3m0s digest a.test 96 [quota] 250")
		time.Sleep(3 * day)
		w.want("three days", "29h4m0s digest a.test 96 [daily] 250", "53h4m0s digest a.test 96 [daily] 250", "77h4m0s digest a.test 96 [daily] 250")
		w.mu.Lock()
		one := w.waits["a.test"]
		one.Ends = time.Now().Add(3*day + 2*time.Hour)
		w.waits["a.test"] = one
		w.mu.Unlock()
		w.stop()
		w.start()
		time.Sleep(4 * time.Hour)
		w.want("near the end", "80h2m0s digest a.test 96 [ending] 250")
		w.call("a.test", 0)
		time.Sleep(5 * day)
		w.want("nothing waits")
		for range w.db.Scan(t.Context(), []byte(prefix)) {
			t.Error("what was told is stored without end")
		}
		w.stop()
	})
}

// A host is woken once until it calls: by its first mail, by a threshold, by urgent mail,
// each after its time. A wake-up that was due is sent after a restart.
func TestWakeUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.set(Policy{Key: "a.test", URL: "url", Command: []string{"cmd"}, After: 10 * time.Minute})
		w.start()
		time.Sleep(30 * time.Second)
		w.arrive("a.test", 1)
		time.Sleep(5 * time.Minute)
		w.want("too early")
		w.stop()
		time.Sleep(time.Hour)
		w.start()
		time.Sleep(time.Second)
		w.arrive("a.test", 1)
		time.Sleep(day)
		w.want("after a restart", "1h5m0s cmd mail.waiting a.test 1 first", "1h5m0s url mail.waiting a.test 1 first")
		w.stop()
		w.start()
		time.Sleep(day)
		w.want("no call")
		w.arrive("a.test", 50)
		time.Sleep(time.Hour)
		w.want("a threshold", "49h5m0s cmd mail.waiting a.test 52 threshold", "49h5m0s url mail.waiting a.test 52 threshold")
		w.call("a.test", 40)
		time.Sleep(time.Hour)
		w.want("what a host leaves wakes nobody")
		w.arrive("a.test", 1)
		time.Sleep(time.Hour)
		w.want("after a call", "51h15m0s cmd mail.waiting a.test 41 first", "51h15m0s url mail.waiting a.test 41 first")
		urgent := func() {
			w.mu.Lock()
			one := w.waits["a.test"]
			one.Urgent = time.Now()
			w.waits["a.test"] = one
			w.mu.Unlock()
			w.arrive("a.test", 1)
		}
		for range 20 { // urgent mail does not wait, and makes no storm
			urgent()
			time.Sleep(2 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		w.want("urgent", "52h5m0s cmd mail.waiting a.test 42 priority", "52h5m0s url mail.waiting a.test 42 priority",
			"52h7m0s cmd mail.waiting a.test 61 priority", "52h7m0s url mail.waiting a.test 61 priority")
		w.mu.Lock()
		one := w.waits["a.test"]
		one.Busy = true
		w.waits["a.test"] = one
		w.mu.Unlock()
		urgent()
		time.Sleep(time.Hour)
		w.want("while the host collects")
		w.call("a.test", 0)
		time.Sleep(time.Hour)
		w.want("collected")
		w.stop()
	})
}

// What a receiver does not take is sent again with the same ID, at growing intervals,
// over a restart, until the host has called.
func TestEventsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.set(Policy{Key: "a.test", URL: "url"})
		w.fails = errors.New("down")
		w.start()
		w.arrive("a.test", 1)
		time.Sleep(4 * time.Minute)
		w.stop()
		w.start()
		time.Sleep(6 * time.Minute)
		w.want("the receiver is down", "0s url mail.waiting a.test 1 first", "1m0s url mail.waiting a.test 1 first", "3m0s url mail.waiting a.test 1 first", "7m0s url mail.waiting a.test 1 first")
		w.mu.Lock()
		if len(slices.Compact(slices.Clone(w.ids))) != 1 {
			t.Errorf("the IDs are %q", w.ids)
		}
		w.mu.Unlock()
		w.call("a.test", 0)
		time.Sleep(day)
		w.want("the host has called")
		w.arrive("a.test", 2)
		time.Sleep(2 * time.Second)
		w.mu.Lock()
		w.fails = hook.ErrGone
		w.mu.Unlock()
		time.Sleep(day)
		w.want("410", "24h10m0s url mail.waiting a.test 2 first", "24h12m0s url mail.waiting a.test 2 first")
		w.stop()
	})
}

// A host that called regularly, by its own interval or a set one, and does not, is told
// of once, over a restart, until it calls.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.set(Policy{Key: "a.test", Owners: []mail.Address{owner}, URL: "url"})
		w.set(Policy{Key: "b.test", URL: "url", Every: time.Hour}) // it never called
		w.set(Policy{Key: "c.test", URL: "url"})                   // nothing is known of it
		w.calls["a.test"] = Calls{Last: time.Now(), Every: 6 * time.Hour}
		w.calls["c.test"] = Calls{Last: time.Now()}
		w.start()
		w.mu.Lock()
		w.waits["b.test"] = Waiting{Messages: 1, Oldest: time.Now()} // no wake-up: it has no arrival
		w.mu.Unlock()
		time.Sleep(11 * time.Hour)
		w.want("b is silent", "2h1m0s url host.silent b.test 1 ")
		time.Sleep(4 * time.Hour)
		w.want("a is silent", "12h1m0s digest a.test 0 [silence] 250", "12h1m0s url host.silent a.test 0 ")
		names := func() (out []string) {
			for _, s := range w.Silent() {
				out = append(out, s.Domain)
			}
			return out
		}
		w.stop()
		w.start()
		time.Sleep(2 * day)
		w.want("once")
		if got := names(); !slices.Equal(got, []string{"a.test", "b.test"}) {
			t.Errorf("the alarms are %q", got)
		}
		w.call("a.test", 0)
		time.Sleep(time.Hour)
		if got := names(); !slices.Equal(got, []string{"b.test"}) {
			t.Errorf("after a call the alarms are %q", got)
		}
		time.Sleep(10 * time.Hour)
		w.stop()
		time.Sleep(5 * time.Hour) // the host could not call
		w.start()
		time.Sleep(11 * time.Hour)
		w.want("after a stop")
		time.Sleep(3 * time.Hour)
		w.want("again", "91h1m0s digest a.test 0 [silence] 250", "91h1m0s url host.silent a.test 0 ")
		w.mu.Lock()
		delete(w.policy, "a.test") // it is not held any more
		w.mu.Unlock()
		time.Sleep(time.Hour)
		if got := names(); !slices.Equal(got, []string{"b.test"}) {
			t.Errorf("without the domain the alarms are %q", got)
		}
		w.stop()
	})
}

// The names of a wildcard are one.
func TestWildcards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.set(Policy{Key: "*.w.test", Owners: []mail.Address{owner}, URL: "url"})
		w.start()
		time.Sleep(30 * time.Second)
		w.arrive("a.w.test", 20)
		time.Sleep(10 * time.Second)
		w.arrive("b.w.test", 31)
		time.Sleep(10 * time.Second)
		w.want("both names", "0s url mail.waiting *.w.test 20 first", "0s digest *.w.test 51 [quota] 250")
		w.stop()
	})
}

// A call for one name of a wildcard is one for all: mail for another name neither ends the
// alarm of silence, nor does it begin one.
func TestWildcardCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.set(Policy{Key: "*.w.test", URL: "url", Every: time.Hour, After: day})
		w.calls["a.w.test"] = Calls{Last: time.Now()}
		w.start()
		time.Sleep(3*time.Hour + 30*time.Second)
		w.want("silent", "2h1m0s url host.silent *.w.test 0 ")
		for range 3 {
			w.arrive("b.w.test", 1)
			time.Sleep(2 * time.Minute)
		}
		w.want("mail for another name")
		w.stop()
	})
}

// No two wake-ups are less than a minute apart, however often the host calls between them.
func TestWakeUpsRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, left := range []int{0, 1} {
			w := newFixture(t)
			w.set(Policy{Key: "a.test", URL: "url"})
			w.start()
			time.Sleep(time.Second)
			for range 30 { // it calls when it is woken
				w.arrive("a.test", 1)
				time.Sleep(2 * time.Second)
				w.call("a.test", left)
				time.Sleep(2 * time.Second)
			}
			time.Sleep(5 * time.Minute)
			w.mu.Lock()
			if n := len(w.told); n < 2 || n > 3 {
				t.Errorf("%d left: %d wake-ups in two minutes: %q", left, n, w.told)
			}
			w.mu.Unlock()
			w.stop()
			for p := range w.db.Scan(t.Context(), []byte(prefix)) {
				if left == 0 {
					t.Errorf("what was told is stored without end: %s", p.Value)
				}
			}
		}
	})
}

// Nothing is stored about a domain of which nobody is told.
func TestNobodyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.set(Policy{Key: "a.test", Every: time.Hour})
		w.start()
		w.arrive("a.test", 99)
		time.Sleep(time.Hour)
		for p := range w.db.Scan(t.Context(), []byte(prefix)) {
			t.Errorf("stored is %s", p.Value)
		}
		w.stop()
	})
}

// A call within the second of an event, before it, leaves the event to be told.
func TestEventAfterACallOfItsSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t)
		w.set(Policy{Key: "a.test", URL: "url"})
		w.fails = errors.New("down")
		w.start()
		time.Sleep(300 * time.Millisecond)
		w.arrive("a.test", 1)
		time.Sleep(800 * time.Millisecond)
		w.call("a.test", 1)
		time.Sleep(100 * time.Millisecond)
		w.arrive("a.test", 1)
		time.Sleep(4 * time.Minute)
		w.stop()
		if len(w.told) < 3 {
			t.Errorf("told %q; it is to be told again", w.told)
		}
	})
}
