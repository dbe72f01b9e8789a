// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/kv"
)

// Each message of a destination that cannot be reached is told of and given up at its
// own time, and not at the next step of the ladder; also after a start between. What
// was promised holds, and the report has the time of the last attempt.
func TestEachMessageHasItsOwnClock(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			h.policy = Policy{Ladder: []time.Duration{time.Minute, 4 * time.Hour}, Expire: 3 * time.Hour, DelayNotice: time.Hour}
			var tries []time.Time // guarded by h.mu
			h.setAnswer(func(l *Lease) {
				if l.Domain() == "b.test" {
					h.mu.Lock()
					tries = append(tries, time.Now())
					h.mu.Unlock()
					_ = l.Defer(t.Context(), later, "mx")
					return
				}
				always(yes, "mx")(l)
			})
			stop := h.run()
			defer func() { stop() }()
			begin := time.Now()
			for n := range 3 {
				h.accept("s@a.test", "x"+strconv.Itoa(n)+"@b.test")
				time.Sleep(3 * time.Second)
			}
			time.Sleep(30 * time.Minute) // the next step is far off
			if restart {
				stop()
				h.reopen()
				stop = h.run()
			}
			for _, tt := range []struct {
				action dsn.Action
				after  time.Duration
				before int // reports until then
			}{{dsn.Delayed, time.Hour, 0}, {dsn.Failed, 3 * time.Hour, 3}} {
				for n := range 3 {
					due := begin.Add(tt.after + time.Duration(n)*3*time.Second)
					time.Sleep(time.Until(due.Add(-time.Second)))
					synctest.Wait()
					if got := h.countReports(); got != tt.before+n {
						t.Fatalf("restart %v: %d reports before the time of message %d, %s", restart, got, n, tt.action)
					}
					time.Sleep(2 * time.Second)
					synctest.Wait()
					if h.countReports() != tt.before+n+1 {
						t.Fatalf("restart %v: message %d is not told of as %s", restart, n, tt.action)
					}
					r := h.reportedFirst(tt.before + n)
					h.mu.Lock()
					tried := slices.ContainsFunc(tries, r.Tried.Equal)
					h.mu.Unlock()
					if r.To.Address.Local != "x"+strconv.Itoa(n) || r.Action != tt.action || r.Reply != later || !tried {
						t.Errorf("restart %v: report %+v", restart, r)
					}
					if tt.action == dsn.Delayed && !r.Until.Equal(begin.Add(3*time.Hour+time.Duration(n)*3*time.Second)) {
						t.Errorf("restart %v: will be tried until %s", restart, r.Until.Sub(begin))
					}
				}
			}
			if n := h.q.Count("b.test"); n != 0 || len(tries) != 3 { // at once, after a minute, when the first expires
				t.Errorf("%d messages are left after attempts at %v", n, tries)
			}
			h.check()
		})
	}
}

// The attempts and times that are shown are those that were made, whether a message
// was refused or its destination could not be reached, held or not, and after a start.
func TestAttemptsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy = Policy{Ladder: []time.Duration{time.Minute}}
		gone := mail.Reply{Code: 451, Enhanced: "4.1", Text: "no answer from mx", Phase: mail.AtConnect}
		down := func(l *Lease) { _ = l.Defer(t.Context(), gone, "mx") }
		h.setAnswer(down)
		stop := h.run()
		defer func() { stop() }()
		first := h.accept("s@a.test", "x@b.test")
		time.Sleep(3*time.Minute + 30*time.Second) // tried at 0, 1, 2 and 3 minutes
		second := h.accept("s@a.test", "y@b.test")
		time.Sleep(time.Minute) // and at 4
		shows := func(when string, id mail.MessageID, attempts int, ago time.Duration, last mail.Reply) {
			t.Helper()
			synctest.Wait()
			d, err := h.q.Show(id)
			if err != nil {
				t.Fatal(err)
			}
			if m := d.Entries[0]; m.Attempts != attempts || m.LastError != last.String() || m.Phase != last.Phase || time.Since(m.LastTry) != ago {
				t.Errorf("%s: %d attempts, the last %s ago: %s (%s); want %d, %s", when, m.Attempts, time.Since(m.LastTry), m.LastError, m.Phase, attempts, ago)
			}
		}
		half := 30 * time.Second
		shows("down", first, 5, half, gone)
		shows("down, the second", second, 1, half, gone)
		stop()
		h.reopen()
		shows("after a start", first, 5, half, gone)
		h.setAnswer(always(later, "mx"))
		stop = h.run()
		time.Sleep(half)
		time.Sleep(time.Second)
		shows("refused", first, 6, time.Second, later)
		h.setAnswer(func(l *Lease) { // takes the second one and is gone
			item, _ := l.Next()
			if item.Env.ID == first {
				item, _ = l.Next()
			}
			if err := l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx")); err != nil {
				t.Error(err)
			}
			_ = l.Defer(t.Context(), gone, "mx")
		})
		time.Sleep(time.Minute)
		shows("after an answer", first, 7, time.Second, gone)
		h.mu.Lock()
		h.held["b.test"] = true
		h.mu.Unlock()
		h.setAnswer(down)
		h.q.Trigger("b.test")
		shows("held", first, 8, 0, gone)
		stop()
		h.reopen()
		shows("held, after a start", first, 8, 0, gone)
		stop = h.run()
		h.check()
	})
}

// The clock may be set back between two attempts that reach nobody: both are counted, and
// a start neither forgets them nor when the next one is due. One that an earlier version
// stored out of order is read, too.
func TestClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		id := h.accept("s@a.test", "x@b.test")
		var due time.Time
		shows := func(when string, attempts int) {
			t.Helper()
			d, err := h.q.Show(id)
			if err != nil {
				t.Fatal(err)
			}
			if m := d.Entries[0]; m.Attempts != attempts || m.LastError != later.String() || !m.NextTry.Equal(due) {
				t.Errorf("%s: %d attempts, the last %q, the next in %s; want %d, the next in %s", when, m.Attempts, m.LastError, time.Until(m.NextTry), attempts, time.Until(due))
			}
		}
		fail := func(step time.Duration) {
			t.Helper()
			l, err := h.q.Lease("b.test", "test")
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Defer(t.Context(), later, "mx"); err != nil {
				t.Fatal(err)
			}
			l.Close()
			due = time.Now().Add(step)
		}
		fail(15 * time.Minute)
		h.q.mu.Lock()
		off := &h.q.dests["b.test"].backoff // as if it had been two hours later
		off.tried[0] += int64(2 * time.Hour)
		off.last.tried = off.tried[0]
		h.q.mu.Unlock()
		fail(30 * time.Minute)
		shows("set back", 2)
		h.reopen()
		shows("set back, after a start", 2)

		off = &h.q.dests["b.test"].backoff
		off.tried = []int64{now() + int64(2*time.Hour), now()}
		if err := h.db.Commit(t.Context(), kv.Put(backoffKey("b.test"), off.encode())); err != nil {
			t.Fatal(err)
		}
		h.reopen()
		shows("out of order", 2)
	})
}
