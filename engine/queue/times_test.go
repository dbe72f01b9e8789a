// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
)

// Held mail is told of when it is late, and returned when it expires, without an
// attempt; also after a start between, and behind a message that is frozen.
func TestHeldMailExpires(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			h.policy = Policy{DelayNotice: 2 * time.Hour, Held: Times{Expire: 10 * 24 * time.Hour}}
			h.held["b.test"] = true
			h.setAnswer(func(l *Lease) {
				if l.Domain() == "b.test" {
					t.Error("an attempt at a held destination")
				}
				always(yes, "mx")(l)
			})
			stop := h.run()
			begin := time.Now()
			frozen := h.accept("s@a.test", "z@b.test")
			if _, err := h.q.Freeze(t.Context(), Filter{IDs: []mail.MessageID{frozen}}, false); err != nil {
				t.Fatal(err)
			}
			h.accept("s@a.test", "x@b.test FAILURE,DELAY")
			time.Sleep(time.Hour)
			second := h.accept("s@a.test", "y@b.test DELAY,FAILURE")
			if d, _ := h.q.Show(second); d.Entries[0].State != Held || d.Entries[0].Expires.Sub(begin) != 241*time.Hour {
				t.Errorf("shown as %+v", d.Entries[0])
			}
			time.Sleep(30 * time.Minute)
			if n := h.countReports(); n != 0 {
				t.Errorf("%d reports after 90 minutes", n)
			}
			if restart {
				stop()
				h.reopen()
				stop = h.run()
			}
			time.Sleep(40 * time.Minute)
			synctest.Wait()
			if n := h.countReports(); n != 1 || h.reportedFirst(0).Action != dsn.Delayed || h.reportedFirst(0).Until.Sub(begin) != 240*time.Hour {
				t.Errorf("after 130 minutes %d reports: %+v", n, h.reports)
			}
			if s := h.q.Destinations(); s[0].State != Held {
				t.Errorf("shown as %+v", s[0])
			}
			time.Sleep(60 * time.Minute)
			synctest.Wait()
			if n := h.countReports(); n != 2 {
				t.Errorf("after 190 minutes %d reports", n)
			}
			if d, _ := h.q.Show(second); d.Entries[0].Attempts != 0 {
				t.Errorf("a notice counts as an attempt: %+v", d.Entries[0])
			}
			time.Sleep(time.Until(begin.Add(240*time.Hour + 10*time.Minute)))
			synctest.Wait()
			if n := h.countReports(); n != 3 || h.reportedFirst(2).Status != "5.4.7" || h.reportedFirst(2).To.Address.Local != "x" {
				t.Errorf("after ten days %d reports: %+v", n, h.reports[2:])
			}
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			if n := h.q.Count("b.test"); n != 0 || h.countReports() != 4 {
				t.Errorf("%d messages are left, %d reports", n, h.countReports())
			}
			h.check()
			stop()
		})
	}
}

// That held mail waits is told only to senders who ask for that.
func TestHeldMailIsLateForWhoAsks(t *testing.T) {
	for notify, want := range map[string]int{"": 0, "FAILURE": 0, "NEVER": 0, "DELAY": 1, "failure,delay": 1} {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			h.policy = Policy{DelayNotice: 2 * time.Hour, Held: Times{Expire: 10 * 24 * time.Hour}}
			h.held["b.test"] = true
			h.setAnswer(always(yes, "mx"))
			defer h.run()()
			h.accept("s@a.test", "x@b.test "+notify)
			time.Sleep(3 * time.Hour)
			synctest.Wait()
			if n := h.countReports(); n != want {
				t.Errorf("NOTIFY %q: %d reports, want %d", notify, n, want)
			}
		})
	}
}

// A change of the settings holds for mail that waits already, but what it makes overdue
// has an hour, in which the change can be taken back; a start does not shorten it.
func TestSettingsThatShortenTheWaitGiveGrace(t *testing.T) {
	const day = 24 * time.Hour
	always30 := Policy{Expire: 30 * day, DelayNotice: 100 * day}
	held := func(days int) Policy {
		return Policy{Expire: 30 * day, DelayNotice: 100 * day, Held: Times{Expire: time.Duration(days) * day}}
	}
	for _, tt := range []struct {
		name          string
		held          bool
		before, after Policy
		end, ends     End // before and after
		age           time.Duration
		restart, back bool
		want          time.Duration // from the change until the mail is gone; 0: it stays
	}{
		{name: "EtrnDays", held: true, before: held(30), after: held(1), age: 2 * day, want: time.Hour},
		{name: "a start", held: true, before: held(30), after: held(1), age: 2 * day, restart: true, want: 90 * time.Minute},
		{name: "taken back", held: true, before: held(30), after: held(1), age: 2 * day, back: true},
		{name: "within the hour", held: true, before: held(30), after: held(1), age: day - 20*time.Minute, want: time.Hour},
		{name: "later", held: true, before: held(30), after: held(1), age: day - 2*time.Hour, want: 2 * time.Hour},
		{name: "from no end", held: true, before: always30, after: held(1), age: 2 * day, want: time.Hour},
		{name: "longer", held: true, before: held(3), after: held(4), age: 2 * day, want: 2 * day},
		{name: "keep to return", held: true, end: Keep, ends: Return, before: held(1), after: held(1), age: 2 * day, want: time.Hour},
		{name: "keep to archive", held: true, end: Keep, ends: Archive, before: held(1), after: held(1), age: 2 * day, want: time.Hour},
		{name: "keep to return, taken back", held: true, end: Keep, ends: Return, before: held(1), after: held(1), age: 2 * day, back: true},
		{name: "not held", before: always30, after: Policy{Expire: day, DelayNotice: 100 * day}, age: 2 * day, want: time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				var archived atomic.Int32
				h.dep.Archive = func(context.Context, mail.Envelope, io.Reader) error { archived.Add(1); return nil }
				end := tt.end
				h.dep.Router = RouterFunc(func(d mail.Domain) RouteState {
					h.mu.Lock()
					defer h.mu.Unlock()
					return RouteState{Held: tt.held && d == "b.test", End: end}
				})
				set := func(p Policy, e End) {
					h.mu.Lock()
					h.policy, end = p, e
					h.mu.Unlock()
					h.q.Recheck()
				}
				h.policy = tt.before
				h.policy.Ladder = []time.Duration{7 * time.Hour}
				tt.after.Ladder = h.policy.Ladder
				h.reopen()
				h.setAnswer(func(l *Lease) {
					if l.Domain() == "b.test" {
						always(later, "mx")(l)
						return
					}
					always(yes, "mx")(l)
				})
				stop := h.run()
				defer func() { stop() }()
				id := h.accept("s@a.test", "x@b.test")
				time.Sleep(tt.age)
				before := h.policy
				set(tt.after, tt.ends)
				begin := time.Now()
				time.Sleep(30 * time.Minute)
				if tt.restart {
					stop()
					h.reopen()
					stop = h.run()
				}
				if tt.back {
					set(before, tt.end)
				}
				synctest.Wait()
				expires := time.Time{}
				if d, err := h.q.Show(id); err != nil {
					t.Fatal("the mail is gone after half an hour")
				} else if expires = d.Entries[0].Expires; tt.want != 0 && expires.Sub(begin) != tt.want {
					t.Errorf("shown to expire after %s, want %s", expires.Sub(begin), tt.want)
				}
				if tt.want == 0 {
					time.Sleep(2 * day)
				} else {
					time.Sleep(time.Until(begin.Add(tt.want - time.Second)))
				}
				synctest.Wait()
				if h.q.Count("b.test") != 1 || h.countReports() != 0 {
					t.Fatalf("%d messages, %d reports before the end", h.q.Count("b.test"), h.countReports())
				}
				if tt.want == 0 {
					return
				}
				time.Sleep(2 * time.Second)
				time.Sleep(10 * time.Minute) // the report is collected
				synctest.Wait()
				told := h.countReports() + int(archived.Load())
				if h.q.Count("b.test") != 0 || told != 1 || (archived.Load() == 1) != (tt.ends == Archive) {
					t.Errorf("%d messages, %d reports, %d archived at the end", h.q.Count("b.test"), h.countReports(), archived.Load())
				}
				h.check()
			})
		})
	}
}

// What comes after such a change has the new time, whatever is left of the hour.
func TestGraceIsNotForLaterMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["b.test"] = true
		h.policy = Policy{Held: Times{Expire: 30 * 24 * time.Hour}}
		h.setAnswer(always(yes, "mx"))
		defer h.run()()
		h.accept("s@a.test", "x@b.test")
		time.Sleep(time.Hour)
		h.mu.Lock()
		h.policy = Policy{Held: Times{Expire: 10 * time.Minute}}
		h.mu.Unlock()
		h.q.Recheck()
		h.accept("s@a.test", "y@b.test")
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if n := h.q.Count("b.test"); n != 1 {
			t.Errorf("%d messages, want the earlier one", n)
		}
	})
}

// A disk that does not store the outcome of held mail is asked again after the first
// interval, not at once.
func TestHeldMailThatCannotBeSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy = Policy{Held: Times{Expire: time.Hour, DelayNotice: 100 * time.Hour}}
		h.held["b.test"] = true
		h.setAnswer(always(yes, "mx"))
		defer h.run()()
		h.accept("s@a.test", "x@b.test")
		h.db.failCommits(true)
		time.Sleep(70 * time.Minute)
		synctest.Wait()
		h.db.failCommits(false)
		if h.q.Count("b.test") != 1 {
			t.Fatal("it is gone")
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if h.q.Count("b.test") != 0 {
			t.Error("it stays")
		}
		h.check()
	})
}

// Mail for a folder of ours has times of its own.
func TestLocalTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy = Policy{DelayNotice: 20 * time.Hour, Quick: 2, Local: Times{Retry: 50 * time.Minute, Expire: 3 * time.Hour, DelayNotice: time.Hour}}
		h.local = "local.test"
		start, tried := time.Now(), map[mail.Domain][]int{}
		var mu sync.Mutex // guards tried: two destinations are attempted at once
		h.setAnswer(func(l *Lease) {
			if l.Domain() != "a.test" {
				mu.Lock()
				tried[l.Domain()] = append(tried[l.Domain()], int(time.Since(start)/time.Minute))
				mu.Unlock()
				always(later, "")(l)
			} else {
				always(yes, "mx")(l)
			}
		})
		stop := h.run()
		h.accept("s@a.test", "x@local.test")
		h.accept("s@a.test", "x@far.test")
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		stop()
		if want := []int{0, 50, 100, 150, 180}; !slices.Equal(tried["local.test"], want) {
			t.Errorf("local: tried after %d minutes, want %d", tried["local.test"], want)
		}
		if want := []int{0, 1, 2, 17, 47, 107}; !slices.Equal(tried["far.test"], want) {
			t.Errorf("remote: tried after %d minutes, want %d", tried["far.test"], want)
		}
		if n := h.countReports(); n != 2 || h.reportedFirst(0).Action != dsn.Delayed || h.reportedFirst(1).Status != "5.4.7" {
			t.Errorf("%d reports: %+v", n, h.reports)
		}
	})
}

// The next try of a destination is when it is attempted, not when a sender is told of a
// delay before.
func TestNextTryIsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy = Policy{Ladder: []time.Duration{4 * time.Hour}, DelayNotice: 10 * time.Minute}
		h.setAnswer(unreachable)
		stop := h.run()
		defer stop()
		h.accept("s@a.test", "x@b.test")
		for _, after := range []time.Duration{0, 10 * time.Minute, 20 * time.Minute} {
			time.Sleep(after)
			synctest.Wait()
			i := slices.IndexFunc(h.q.Destinations(), func(s DestinationState) bool { return s.Domain == "b.test" })
			if s := h.q.Destinations()[i]; s.State != Retry || s.NextTry.Sub(s.Oldest) != 4*time.Hour {
				t.Errorf("after %s: %+v, next try after %s", after, s, s.NextTry.Sub(s.Oldest))
			}
		}
		if h.countReports() != 1 {
			t.Errorf("%d notices", h.countReports())
		}
	})
}

// What waits for an administrator does not expire, and is shown so.
func TestWhatIsFrozenDoesNotExpire(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(h *fixture, first Filter) error
		want [2]bool // whether the first and the second message expire
	}{
		{"active", func(*fixture, Filter) error { return nil }, [2]bool{true, true}},
		{"frozen", func(h *fixture, first Filter) error {
			_, err := h.q.Freeze(h.t.Context(), first, false)
			return err
		}, [2]bool{false, true}},
		{"frozen and thawed", func(h *fixture, first Filter) error {
			_, err := h.q.Freeze(h.t.Context(), first, false)
			if err == nil {
				_, err = h.q.Thaw(h.t.Context(), first, false)
			}
			return err
		}, [2]bool{true, true}},
		{"a frozen destination", func(h *fixture, _ Filter) error {
			h.frozen["b.test"] = true
			return nil
		}, [2]bool{false, false}},
		{"cannot be read", func(h *fixture, first Filter) error {
			h.q.markUnreadable(h.q.find(first.IDs[0])[0], mail.ErrLost)
			return nil
		}, [2]bool{false, true}},
		{"kept for ever", func(h *fixture, first Filter) error {
			_, made, err := h.q.Keep(h.t.Context(), "b.test", time.Time{})
			made()
			return err
		}, [2]bool{false, false}},
	} {
		h := newFixture(t)
		h.policy = Policy{Expire: 24 * time.Hour}
		first, second := h.accept("s@a.test", "x@b.test"), h.accept("s@a.test", "y@b.test")
		if err := tt.make(h, Filter{IDs: []mail.MessageID{first}}); err != nil {
			t.Fatal(err)
		}
		var got [2]time.Time
		for i, id := range []mail.MessageID{first, second} {
			d, err := h.q.Show(id)
			if err != nil {
				t.Fatal(err)
			}
			if got[i] = d.Entries[0].Expires; !got[i].IsZero() != tt.want[i] {
				t.Errorf("%s: message %d expires at %v", tt.name, i, got[i])
			}
		}
		want := got[0]
		if want.IsZero() {
			want = got[1]
		}
		if s := h.q.Destinations(); len(s) != 1 || !s[0].Expires.Equal(want) {
			t.Errorf("%s: the destination is shown as %+v, want %v", tt.name, s, want)
		}
	}
}

// Acts on single messages do not have all others of the destination looked at again, and
// when one that expires is let go is known.
func TestActsKeepWhenTheNextExpires(t *testing.T) {
	early := now() + 1
	for _, tt := range []struct {
		name   string
		thaw   bool // what was frozen, else try again what was not
		before int64
		want   func(at int64) int64 // at: when the first is late
	}{
		{"thawed, another is earlier", true, early, func(int64) int64 { return early }},
		{"thawed, the others are later", true, never, func(at int64) int64 { return at }},
		{"tried again", false, early, func(int64) int64 { return early }},
	} {
		h := newFixture(t)
		h.policy = Policy{Held: Times{Expire: 240 * time.Hour}}
		h.held["b.test"] = tt.thaw
		first := Filter{IDs: []mail.MessageID{h.accept("s@a.test", "x@b.test")}}
		do := h.q.Retry
		if tt.thaw {
			do = h.q.Thaw
			if _, err := h.q.Freeze(t.Context(), first, false); err != nil {
				t.Fatal(err)
			}
		}
		e := h.q.find(first.IDs[0])[0]
		e.dest.overdue = tt.before
		if _, err := do(t.Context(), first, false); err != nil {
			t.Fatal(err)
		}
		if want := tt.want(h.q.policyOf("b.test").overdue(e)); e.dest.overdue != want {
			t.Errorf("%s: the next is %d, want %d", tt.name, e.dest.overdue, want)
		}
	}
}
