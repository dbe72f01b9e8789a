// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
)

func TestLadderToExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		start := time.Now()
		var got []time.Duration
		h.setAnswer(func(l *Lease) {
			for item, ok := l.Next(); ok; item, ok = l.Next() {
				if l.Domain() != "b.test" {
					_ = l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx"))
					continue
				}
				got = append(got, time.Since(start))
				if err := l.Settle(t.Context(), item.Env.ID, outcomes(item, later, "mx.b.test")); err != nil {
					t.Error(err)
				}
			}
		})
		defer h.run()()
		h.accept("a@a.test", "x@b.test")
		time.Sleep(72 * time.Hour)
		synctest.Wait()

		minutes := []int{0, 15, 45, 105}
		for m := 105 + 240; m < 2880; m += 240 {
			minutes = append(minutes, m)
		}
		minutes = append(minutes, 2880) // once more just when its time is up
		var want []time.Duration
		for _, m := range minutes {
			want = append(want, time.Duration(m)*time.Minute)
		}
		if !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
		if c := h.q.Counts(); c.Messages != 0 || h.store.Messages() != 0 {
			t.Errorf("left: %+v", c)
		}
		if len(h.reports) != 2 {
			t.Fatalf("%d reports, want one of a delay and one of failure", len(h.reports))
		}
		delay, failure := h.reports[0].Recipients[0], h.reports[1].Recipients[0]
		if delay.Action != dsn.Delayed || delay.Until.Sub(start) != 48*time.Hour {
			t.Errorf("delay: %+v", delay)
		}
		if failure.Action != dsn.Failed || failure.Status != "5.4.7" || failure.Host != "mx.b.test" || failure.Reply.Code != 451 {
			t.Errorf("failure: %+v", failure)
		}
	})
}

// A whole destination that cannot be reached is tried by the same ladder, with
// one write for all of its messages.
func TestDeferHoldsBackAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		start := time.Now()
		var got []time.Duration
		var up atomic.Bool
		h.setAnswer(func(l *Lease) {
			got = append(got, time.Since(start).Round(time.Minute))
			if up.Load() {
				always(yes, "mx")(l)
				return
			}
			if _, ok := l.Next(); !ok {
				t.Error("a lease of the scheduler has nothing")
			}
			if err := l.Defer(t.Context(), later, "mx.b.test"); err != nil {
				t.Error(err)
			}
			if _, ok := l.Next(); ok {
				t.Error("something comes after Defer")
			}
		})
		h.mu.Lock()
		h.policy.PerDestination = 1
		h.mu.Unlock()
		defer func(stop func()) { stop() }(h.run())
		for range 50 {
			h.accept("a@a.test", "x@b.test")
		}
		time.Sleep(10 * time.Minute)
		h.accept("a@a.test", "x@b.test") // does not bring the next try forward
		time.Sleep(110 * time.Minute)
		synctest.Wait()
		up.Store(true)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 15 * time.Minute, 45 * time.Minute, 105 * time.Minute, 345 * time.Minute}
		if !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
		if c := h.q.Counts(); c.Messages != 0 {
			t.Errorf("left: %+v", c)
		}
		h.check()
	})
}

func TestBackoffOutlivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.setAnswer(func(l *Lease) { _ = l.Defer(t.Context(), later, "") })
		stop := h.run()
		h.accept("a@a.test", "x@b.test")
		synctest.Wait()
		stop()
		h.reopen()
		start, got := time.Now(), time.Duration(0)
		h.setAnswer(func(l *Lease) { got = time.Since(start); always(yes, "mx")(l) })
		defer h.run()()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got != 15*time.Minute {
			t.Errorf("tried after %v", got)
		}
	})
}

// A destination that is down is given up message by message, each when its
// time is up, and in any case not before a try.
func TestDeferExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.setAnswer(func(l *Lease) {
			if l.Domain() == "a.test" {
				always(yes, "mx")(l)
				return
			}
			_ = l.Defer(t.Context(), later, "")
		})
		defer h.run()()
		for range 3 {
			h.accept("s@a.test", "x@b.test")
			time.Sleep(24 * time.Hour)
		}
		synctest.Wait()
		h.check()
		if n := h.q.Count("b.test"); n != 1 {
			t.Errorf("%d are left after three days, want 1", n)
		}
		failed := 0
		for _, r := range h.reports {
			if r.Recipients[0].Action == dsn.Failed {
				failed++
			}
		}
		if failed != 2 {
			t.Errorf("%d reports of failure, want 2", failed)
		}
	})
}

// TestHeldCountsMessages: a message for several held destinations is one held
// message, by whatever way its entries came.
func TestHeldCountsMessages(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"], h.held["c.test"], h.held["d.test"], h.held[Badmail] = true, true, true, true
	wants := func(when string, messages, held int) {
		t.Helper()
		h.check()
		if c := h.q.Counts(); c.Messages != messages || c.Held != held || c.HeldBytes != int64(held*len(text)) {
			t.Errorf("%s: counts %+v, want %d messages, %d of them held", when, c, messages, held)
		}
	}
	h.accept("a@a.test", "x@b.test", "x@c.test", "x@d.test", "x@free.test")
	h.accept("a@a.test", "x@b.test", "x@c.test")
	h.accept("", "x@b.test", "x@free.test") // whose failure goes to Badmail
	h.accept("a@a.test", "x@d.test")
	h.accept("a@a.test", "x@free.test")
	wants("accepted", 5, 4)
	h.reopen()
	wants("loaded", 5, 4)
	h.settleAll("c.test", yes)
	wants("one destination is settled", 5, 4)
	h.settleAll("free.test", no)
	wants("one report is made, one waits for others", 5, 4)
	h.settleAll("b.test", yes)
	h.reopen()
	wants("loaded again", 4, 3)
}

func TestHeldIsNeverDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["b.test"] = true
		attempts := 0
		h.setAnswer(func(l *Lease) { attempts++; always(yes, "mx")(l) })
		defer h.run()()
		for range 5 {
			h.accept("a@a.test", "x@b.test")
		}
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		if attempts != 0 || len(h.reports) != 0 {
			t.Fatalf("%d attempts, %d reports", attempts, len(h.reports))
		}
		if c := h.q.Counts(); c.Held != 5 || c.Messages != 5 || c.HeldBytes != 5*int64(len(text)) {
			t.Errorf("counts %+v", c)
		}
		if s := h.q.Destinations(); len(s) != 1 || s[0].State != Held || s[0].Messages != 5 {
			t.Errorf("destinations %+v", s)
		}
		// The settings change: it goes at once, however old it is.
		h.mu.Lock()
		h.held["b.test"] = false
		h.mu.Unlock()
		h.q.Recheck()
		synctest.Wait()
		if c := h.q.Counts(); attempts == 0 || c.Messages != 0 {
			t.Errorf("%d attempts, %+v", attempts, c)
		}
	})
}

func TestTriggerRunsOnceThoughHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["b.test"] = true
		attempts := 0
		h.setAnswer(func(l *Lease) { attempts++; always(later, "mx")(l) })
		defer h.run()()
		for range 5 {
			h.accept("a@a.test", "x@b.test")
		}
		if n := h.q.Trigger("b.test"); n != 5 {
			t.Errorf("Trigger = %d, want 5", n)
		}
		if n := h.q.Trigger("nobody.test"); n != 0 {
			t.Errorf("Trigger of nothing = %d", n)
		}
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		if attempts != 1 || h.q.Count("b.test") != 5 {
			t.Errorf("%d attempts, %d left", attempts, h.q.Count("b.test"))
		}
		// Two callers at once: the second run waits for the first lease.
		l, err := h.q.Lease("b.test", "TURN")
		if err != nil {
			t.Fatal(err)
		}
		h.q.Trigger("b.test")
		synctest.Wait()
		if attempts != 1 {
			t.Error("tried while leased")
		}
		h.setAnswer(func(l *Lease) { attempts++; always(yes, "mx")(l) })
		l.Close()
		synctest.Wait()
		if attempts != 2 || h.q.Count("b.test") != 0 {
			t.Errorf("%d attempts, %d left", attempts, h.q.Count("b.test"))
		}
		h.check()
	})
}

func TestLastWordOfADestinationThatAnswers(t *testing.T) {
	h := newFixture(t)
	lastWord := func() string {
		t.Helper()
		all := h.q.Destinations()
		if len(all) != 1 {
			t.Fatalf("%d destinations", len(all))
		}
		return all[0].LastError
	}
	h.accept("a@a.test", "good@b.test", "late@b.test")
	h.accept("a@a.test", "good@b.test")
	l, err := h.q.Lease("b.test", "one")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 { // that the second message goes says nothing of the first
		item, ok := l.Next()
		if !ok {
			t.Fatal("nothing there")
		}
		out := outcomes(item, yes, "mx.b.test")
		if len(out) > 1 {
			out[1] = mail.OutcomeOf(item.To[1].Address, later, "mx.b.test")
		}
		if err := l.Settle(t.Context(), item.Env.ID, out); err != nil {
			t.Fatal(err)
		}
		if got := lastWord(); got != "451 4.3.0 try again later" {
			t.Errorf("the last error is %q", got)
		}
	}
}

// What was put off for all, and for one message, goes at once when the way is
// another one; the rest keeps its time.
func TestReroute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		var up atomic.Bool
		var mu sync.Mutex // guards got
		var got []string
		tried := func(want ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("tried: %v, want %v", got, want)
			}
		}
		h.setAnswer(func(l *Lease) {
			switch {
			case up.Load():
				mu.Lock()
				got = append(got, string(l.Domain()))
				mu.Unlock()
				always(yes, "mx")(l)
			case l.Domain() == "one.test":
				always(later, "mx")(l)
			default:
				_ = l.Defer(t.Context(), later, "mx")
			}
		})
		defer func(stop func()) { stop() }(h.run())
		for _, d := range []string{"one.test", "all.test", "same.test", "held.test"} {
			h.accept("a@a.test", "x@"+d)
		}
		time.Sleep(time.Minute)
		h.mu.Lock()
		h.held["held.test"] = true
		h.mu.Unlock()
		up.Store(true)
		h.q.Reroute(func(d mail.Domain) bool { return d != "same.test" })
		synctest.Wait()
		tried("all.test", "one.test")
		time.Sleep(time.Hour)
		synctest.Wait()
		tried("all.test", "one.test", "same.test")
		h.check()
	})
}

func TestHolderIsNamed(t *testing.T) {
	h := newFixture(t)
	l, err := h.q.Lease("b.test", "TURN anna")
	if err != nil {
		t.Fatal(err)
	}
	if got := h.q.Holder("b.test"); got != "TURN anna" {
		t.Errorf("Holder = %q", got)
	}
	l.Close()
	for _, d := range []mail.Domain{"b.test", "other.test"} {
		if got := h.q.Holder(d); got != "" {
			t.Errorf("Holder(%s) = %q", d, got)
		}
	}
}

func TestArrivalIsTriedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		var got []time.Time
		h.setAnswer(func(l *Lease) {
			got = append(got, time.Now())
			always(yes, "mx")(l)
		})
		defer h.run()()
		var want []time.Time
		for range 10 {
			want = append(want, time.Now())
			h.accept("a@a.test", "x@b.test")
			synctest.Wait()
			time.Sleep(17 * time.Minute)
		}
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
	})
}

// The scheduler wakes for what is due first, whatever came first.
func TestWakesExactly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy.Ladder = []time.Duration{time.Hour, 2 * time.Hour}
		start := time.Now()
		tries := map[mail.Domain][]time.Duration{}
		h.setAnswer(func(l *Lease) {
			h.mu.Lock()
			tries[l.Domain()] = append(tries[l.Domain()], time.Since(start))
			h.mu.Unlock()
			always(later, "mx")(l)
		})
		defer h.run()()
		h.accept("a@a.test", "x@one.test")
		time.Sleep(20 * time.Minute)
		h.accept("a@a.test", "x@two.test")
		time.Sleep(3*time.Hour + 30*time.Minute)
		synctest.Wait()
		want := map[mail.Domain][]time.Duration{
			"one.test": {0, time.Hour, 3 * time.Hour},
			"two.test": {20 * time.Minute, 80 * time.Minute, 200 * time.Minute},
		}
		for d := range want {
			if !slices.Equal(tries[d], want[d]) {
				t.Errorf("%s tried at %v, want %v", d, tries[d], want[d])
			}
		}
	})
}

func TestConversationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy = Policy{Conversations: 3, PerDestination: 2}
		now, most, perDest := 0, 0, map[mail.Domain]int{}
		mostPer := 0
		h.setAnswer(func(l *Lease) {
			h.mu.Lock()
			now++
			perDest[l.Domain()]++
			most, mostPer = max(most, now), max(mostPer, perDest[l.Domain()])
			h.mu.Unlock()
			for item, ok := l.Next(); ok; item, ok = l.Next() {
				time.Sleep(time.Second)
				_ = l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx"))
			}
			h.mu.Lock()
			now--
			perDest[l.Domain()]--
			h.mu.Unlock()
		})
		for range 100 {
			for _, d := range []string{"x@a.test", "x@b.test", "x@c.test", "x@d.test"} {
				h.accept("s@s.test", d)
			}
		}
		defer h.run()()
		time.Sleep(time.Hour)
		synctest.Wait()
		if most != 3 || mostPer != 2 {
			t.Errorf("up to %d at once and %d for one destination, want 3 and 2", most, mostPer)
		}
		if c := h.q.Counts(); c.Messages != 0 {
			t.Errorf("left: %+v", c)
		}
		h.check()
	})
}

// An attempt that comes to nothing does not make the scheduler spin.
func TestIdleAttemptIsNotRepeatedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		attempts := 0
		h.setAnswer(func(l *Lease) { attempts++; l.Next() })
		defer h.run()()
		h.accept("a@a.test", "x@b.test")
		time.Sleep(time.Hour + time.Minute)
		synctest.Wait()
		if attempts != 5 {
			t.Errorf("%d attempts in an hour, want 5", attempts)
		}
	})
}

// A host that takes one conversation and refuses the second is not down.
func TestDeferBesideAnotherConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy.PerDestination = 2
		var conversations atomic.Int64
		h.setAnswer(func(l *Lease) {
			if conversations.Add(1) > 1 {
				l.Next()
				if err := l.Defer(t.Context(), later, "mx"); err != nil {
					t.Error(err)
				}
				if _, ok := l.Next(); ok {
					t.Error("something comes after Defer")
				}
				return
			}
			for item, ok := l.Next(); ok; item, ok = l.Next() {
				time.Sleep(time.Second)
				_ = l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx"))
			}
		})
		for range 60 {
			h.accept("s@s.test", "x@b.test")
		}
		defer h.run()()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := conversations.Load(); n != 2 {
			t.Errorf("%d conversations, want 2", n)
		}
		if c := h.q.Counts(); c.Messages != 0 {
			t.Errorf("left: %+v", c)
		}
		h.check()
	})
}

// What was sent and could not be stored is not sent again: it is stored later.
func TestSettleThatFailsIsNotASpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		var sent atomic.Int64
		h.setAnswer(func(l *Lease) {
			for item, ok := l.Next(); ok; item, ok = l.Next() {
				if sent.Add(1) == 3 {
					h.db.mu.Lock()
					h.db.failAt = h.db.calls // the store's next call
					h.db.mu.Unlock()
				}
				if l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx")) != nil {
					return
				}
			}
		})
		for range 6 {
			h.accept("s@s.test", "x@b.test")
		}
		defer h.run()()
		time.Sleep(14 * time.Minute)
		synctest.Wait()
		if n := sent.Load(); n != 3 {
			t.Errorf("%d were sent, want 3", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n, c := sent.Load(), h.q.Counts(); n != 6 || c.Messages != 0 {
			t.Errorf("%d were sent and %d are left, want 6 and 0", n, c.Messages)
		}
		h.check()
	})
}

func TestReports(t *testing.T) {
	tests := []struct {
		name     string
		from, to string
		outcome  mail.Outcome
		action   dsn.Action // "" for none
		bad      int
	}{
		{"a failure is told", "a@a.test", "x@b.test", mail.Outcome{Status: mail.Failed, Reply: no}, dsn.Failed, 0},
		{"also to a sender beyond ASCII", "señor@a.test", "x@b.test", mail.Outcome{Status: mail.Failed, Reply: no}, dsn.Failed, 0},
		{"where failures are asked for", "a@a.test", "x@b.test SUCCESS,failure", mail.Outcome{Status: mail.Failed, Reply: no}, dsn.Failed, 0},
		{"not where only success is", "a@a.test", "x@b.test SUCCESS", mail.Outcome{Status: mail.Failed, Reply: no}, "", 0},
		{"never where never is asked for", "a@a.test", "x@b.test NEVER", mail.Outcome{Status: mail.Failed, Reply: no}, "", 0},
		{"a report's failure is bad mail", "", "x@b.test", mail.Outcome{Status: mail.Failed, Reply: no}, "", 1},
		{"even one that asks for no report", "", "x@b.test NEVER", mail.Outcome{Status: mail.Failed, Reply: no}, "", 1},
		{"success is not told unasked", "a@a.test", "x@b.test", mail.Outcome{Status: mail.Delivered, Reply: yes, Host: "mx", NoDSN: true}, "", 0},
		{"nor where the next hop tells it", "a@a.test", "x@b.test SUCCESS", mail.Outcome{Status: mail.Delivered, Reply: yes, Host: "mx"}, "", 0},
		{"success to a host without DSN is relayed", "a@a.test", "x@b.test SUCCESS", mail.Outcome{Status: mail.Delivered, Reply: yes, Host: "mx", NoDSN: true}, dsn.Relayed, 0},
		{"success in our own mailbox is delivered", "a@a.test", "x@b.test SUCCESS", mail.Outcome{Status: mail.Delivered, Reply: yes, NoDSN: true}, dsn.Delivered, 0},
		{"no report tells of a report's success", "", "x@b.test SUCCESS", mail.Outcome{Status: mail.Delivered, Reply: yes, NoDSN: true}, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newFixture(t)
			h.held["b.test"] = true
			h.accept(tt.from, tt.to)
			l, err := h.q.Lease("b.test", "test")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			item, ok := l.Next()
			if !ok {
				t.Fatal("nothing there")
			}
			tt.outcome.To = item.To[0].Address
			if err := l.Settle(t.Context(), item.Env.ID, []mail.Outcome{tt.outcome}); err != nil {
				t.Fatal(err)
			}
			if n := h.q.Count(Badmail); n != tt.bad {
				t.Errorf("%d messages in Badmail, want %d", n, tt.bad)
			}
			if tt.action == "" {
				if len(h.reports) != 0 || h.q.Counts().Messages != tt.bad {
					t.Errorf("a report was made: %+v", h.reports)
				}
				return
			}
			if len(h.reports) != 1 || h.reports[0].Recipients[0].Action != tt.action {
				t.Fatalf("reports: %+v", h.reports)
			}
			d, err := h.q.Show(h.reports[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			if !d.Envelope.From.IsNull() || d.Envelope.To[0].Address != item.Env.From || d.Envelope.To[0].Notify != "NEVER" ||
				d.Envelope.UTF8 == item.Env.From.ASCII() || d.Envelope.UTF8Header != d.Envelope.UTF8 {
				t.Errorf("the report's envelope is %+v", d.Envelope)
			}
			h.check()
		})
	}
}

// A report that cannot be made is stored with the outcome, and made later: the
// recipient is not tried again.
func TestReportThatCannotBeMade(t *testing.T) {
	h := newFixture(t)
	h.reportErr = errFault
	h.held["b.test"] = true
	id := h.accept("a@a.test", "x@b.test", "y@b.test")
	l, err := h.q.Lease("b.test", "test")
	if err != nil {
		t.Fatal(err)
	}
	item, _ := l.Next()
	o := outcomes(item, no, "mx")
	o[1] = mail.OutcomeOf(item.To[1].Address, yes, "mx")
	if err := l.Settle(t.Context(), item.Env.ID, o); err != nil {
		t.Errorf("Settle = %v", err)
	}
	l.Close()
	for range 2 {
		h.check()
		d, err := h.q.Show(id)
		if err != nil || len(d.Entries) != 1 || d.Entries[0].Domain != Reports {
			t.Fatalf("left: %+v, %v", d, err)
		}
		if to := d.Entries[0].To; len(to) != 1 || to[0].Address.Local != "x" {
			t.Errorf("left: %+v, want x alone", to)
		}
		if err := h.q.flushReports(t.Context()); !errors.Is(err, errFault) {
			t.Errorf("flushReports = %v", err)
		}
		h.reopen()
	}
	h.reportErr = nil
	if err := h.q.flushReports(t.Context()); err != nil {
		t.Error(err)
	}
	h.check()
	if h.q.Counts().Messages != 1 || len(h.reports) != 1 || len(h.reports[0].Recipients) != 1 {
		t.Errorf("%+v, reports %+v", h.q.Counts(), h.reports)
	}
}

func TestLeaseIsExclusive(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	a := h.accept("a@a.test", "x@b.test")
	b := h.accept("a@a.test", "x@b.test")
	l, err := h.q.Lease("b.test", "one")
	if err != nil {
		t.Fatal(err)
	}
	var busy ErrBusy
	if _, err := h.q.Lease("b.test", "two"); !errors.As(err, &busy) || busy.Holder != "one" || busy.Domain != "b.test" {
		t.Fatalf("second Lease = %v", err)
	}
	one, _ := l.Next()
	if one.Env.ID != a {
		t.Fatalf("first is %s, want %s", one.Env.ID, a)
	}
	body, err := one.Open()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(body)
	if string(got) != text {
		t.Errorf("body %q", got)
	}
	if err := l.Settle(t.Context(), a, outcomes(one, yes, "mx")); err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(t.Context(), a, outcomes(one, yes, "mx")); !errors.Is(err, ErrNotLeased) {
		t.Errorf("settling twice = %v", err)
	}
	two, _ := l.Next()
	if _, ok := l.Next(); ok || two.Env.ID != b {
		t.Fatalf("second is %s, want %s and no third", two.Env.ID, b)
	}
	c := h.accept("a@a.test", "x@b.test") // arrives while the lease stands
	if three, ok := l.Next(); !ok || three.Env.ID != c {
		t.Errorf("the new arrival is not seen")
	}
	// The line breaks with b and c in flight.
	l.Close()
	l.Close()
	if err := l.Settle(t.Context(), b, outcomes(two, yes, "mx")); !errors.Is(err, ErrNotLeased) {
		t.Errorf("settling after Close = %v", err)
	}
	if _, ok := l.Next(); ok {
		t.Error("Next after Close")
	}
	l, err = h.q.Lease("b.test", "two")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []mail.MessageID{b, c} {
		if item, ok := l.Next(); !ok || item.Env.ID != want {
			t.Errorf("after the break comes %s, want %s", item.Env.ID, want)
		}
	}
	l.Close()
	h.check()
}

// A message whose ID is older than what was handed out is not passed over.
func TestLateCommitIsSeenByALease(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	old := envelope(t, "a@a.test", "x@b.test")
	h.accept("a@a.test", "x@b.test")
	l, err := h.q.Lease("b.test", "one")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, ok := l.Next(); !ok {
		t.Fatal("nothing there")
	}
	if err := h.try(old); err != nil {
		t.Fatal(err)
	}
	if item, ok := l.Next(); !ok || item.Env.ID != old.ID {
		t.Error("the older message is not seen")
	}
	h.check()
}

func TestSettleInParts(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"], h.held["c.test"] = true, true
	id := h.accept("a@a.test", "x@b.test", "y@b.test", "z@c.test", "x@b.test")
	l, _ := h.q.Lease("b.test", "one")
	item, _ := l.Next()
	if len(item.To) != 3 || len(item.Env.To) != 4 {
		t.Fatalf("item %+v", item)
	}
	x, y := item.To[0].Address, item.To[1].Address
	if err := l.Settle(t.Context(), id, []mail.Outcome{mail.OutcomeOf(x, yes, "mx")}); err != nil {
		t.Fatal(err)
	}
	h.check()
	if _, ok := l.Next(); ok {
		t.Error("a half settled message is handed out again")
	}
	if err := l.Settle(t.Context(), id, []mail.Outcome{mail.OutcomeOf(x, yes, "mx")}); err != nil {
		t.Errorf("an outcome for a recipient that is settled = %v", err)
	}
	if err := l.Settle(t.Context(), id, []mail.Outcome{mail.OutcomeOf(y, later, "mx")}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	h.reopen() // what is remembered is on the disk
	h.check()
	d, err := h.q.Show(id)
	if err != nil || len(d.Entries) != 2 || len(d.Entries[0].To) != 1 || d.Entries[0].To[0].Address != y {
		t.Fatalf("Show = %+v, %v", d, err)
	}
	if d.Entries[0].Attempts != 1 || !strings.Contains(d.Entries[0].LastError, "try again later") {
		t.Errorf("entry %+v", d.Entries[0])
	}
	for _, dom := range []mail.Domain{"c.test", "b.test"} {
		if h.store.Messages() != 1 {
			t.Error("the message went before its last destination")
		}
		l, err := h.q.Lease(dom, "two")
		if err != nil {
			t.Fatal(err)
		}
		always(yes, "mx")(l)
		l.Close()
	}
	if h.store.Messages() != 0 || h.q.Counts() != (Counts{}) {
		t.Errorf("left: %+v", h.q.Counts())
	}
	h.check()
}

func TestFrozenRouteGivesNothing(t *testing.T) {
	h := newFixture(t)
	h.frozen["b.test"] = true
	h.accept("a@a.test", "x@b.test")
	if n := h.q.Trigger("b.test"); n != 0 {
		t.Errorf("Trigger = %d", n)
	}
	l, err := h.q.Lease("b.test", "one")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, ok := l.Next(); ok {
		t.Error("a frozen destination gives mail")
	}
}

func TestUnreadableIsSetAside(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	bad := h.accept("a@a.test", "x@b.test")
	good := h.accept("a@a.test", "x@b.test")
	h.store.lost[bad] = true
	l, _ := h.q.Lease("b.test", "one")
	item, ok := l.Next()
	if !ok || item.Env.ID != good {
		t.Fatalf("Next = %v, want the good one", item.Env.ID)
	}
	l.Close()
	if n := h.q.Count("b.test"); n != 1 {
		t.Errorf("Count = %d", n)
	}
	d, err := h.q.Show(bad)
	if err != nil || d.Entries[0].State != Damaged {
		t.Errorf("Show = %+v, %v", d, err)
	}
	// The disk is mended: a retry reads it again.
	delete(h.store.lost, bad)
	if n, err := h.q.Retry(t.Context(), Filter{IDs: []mail.MessageID{bad}}, false); err != nil || n.Messages != 1 {
		t.Errorf("Retry = %+v, %v", n, err)
	}
	if n := h.q.Count("b.test"); n != 2 {
		t.Errorf("Count = %d", n)
	}
	h.check()
}

func TestNewNeedsItsParts(t *testing.T) {
	h := newFixture(t)
	for i, spoil := range []func(*Deps){
		func(d *Deps) { d.Router = nil },
		func(d *Deps) { d.Attempt = nil },
		func(d *Deps) { d.Report = nil },
	} {
		dep := h.dep
		spoil(&dep)
		if _, err := New(t.Context(), h.store, h.db, dep); err == nil {
			t.Errorf("%d: opened", i)
		}
	}
	for _, env := range []mail.Envelope{
		{ID: mail.NewMessageID(time.Now())},
		{ID: "short", To: []mail.Recipient{{Address: address(t, "a@b.test")}}},
		{ID: mail.NewMessageID(time.Now()), To: []mail.Recipient{{}}},
	} {
		if err := h.try(env); err == nil {
			t.Errorf("%+v is accepted", env)
		}
	}
	if h.store.Messages() != 0 || h.q.Counts() != (Counts{}) {
		t.Error("something stays of what was refused")
	}
}

func TestRunEndsWithItsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		ended := false
		h.dep.Attempt = func(ctx context.Context, l *Lease) {
			item, _ := l.Next()
			<-ctx.Done()
			// What the peer said just then is remembered all the same.
			if err := l.Settle(ctx, item.Env.ID, outcomes(item, yes, "mx")); err != nil {
				t.Error(err)
			}
			ended = true
		}
		h.reopen()
		stop := h.run()
		h.accept("a@a.test", "x@b.test")
		synctest.Wait()
		stop()
		if !ended || h.q.Counts().Messages != 0 {
			t.Error("Run returned before its attempt was through")
		}
	})
}

// A domain that comes to be held while it is delivered to keeps what has not
// been sent yet.
func TestHeldMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.setAnswer(func(l *Lease) {
			for item, ok := l.Next(); ok; item, ok = l.Next() {
				_ = l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx"))
				h.mu.Lock()
				h.held["b.test"] = true
				h.mu.Unlock()
			}
		})
		for range 3 {
			h.accept("s@s.test", "x@b.test")
		}
		defer h.run()()
		synctest.Wait()
		if n := h.q.Count("b.test"); n != 2 {
			t.Errorf("%d are left, want 2", n)
		}
	})
}
