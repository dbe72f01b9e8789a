// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// ask accepts a message of from, for x@b.test, whose envelope ask changes.
func (h *fixture) ask(from string, ask func(*mail.Envelope)) mail.MessageID {
	h.t.Helper()
	env := envelope(h.t, from, "x@b.test")
	ask(&env)
	if err := h.try(env); err != nil {
		h.t.Fatal(err)
	}
	return env.ID
}

// An urgent message goes before those that came earlier, also after a restart, from
// the scheduler and to a holder that takes all.
func TestPriority(t *testing.T) {
	for _, held := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			h.held["b.test"] = held
			for i, p := range []int8{0, -9, 3, 9, 0, 3} {
				h.ask(string(rune('a'+i))+"@a.test", func(env *mail.Envelope) { env.Priority = p })
			}
			h.reopen()
			var got []string
			take := func(l *Lease) {
				for item, ok := l.Next(); ok; item, ok = l.Next() {
					got = append(got, item.Env.From.Local)
					_ = l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx"))
				}
			}
			if held {
				l, err := h.q.Lease("b.test", "joe")
				if err != nil {
					t.Fatal(err)
				}
				take(l)
				l.Close()
			} else {
				h.setAnswer(take)
				stop := h.run()
				synctest.Wait()
				stop()
			}
			if want := []string{"d", "c", "f", "a", "e", "b"}; !slices.Equal(got, want) {
				t.Errorf("held %v: in the order %v, want %v", held, got, want)
			}
			h.check()
		})
	}
}

// A message with a HoldUntil is first tried then, however the queue is woken before,
// and its age begins then; an administrator may have it tried at once.
func TestHoldUntil(t *testing.T) {
	const hold = 100 * time.Hour // longer than mail is kept
	postpone := func(env *mail.Envelope) { env.HoldUntil = env.Received.Add(hold) }
	t.Run("scheduler", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			start := time.Now()
			var got []time.Duration
			h.setAnswer(func(l *Lease) {
				for item, ok := l.Next(); ok; item, ok = l.Next() {
					got = append(got, time.Since(start))
					r := later
					if len(got) == 2 {
						r = yes
					}
					_ = l.Settle(t.Context(), item.Env.ID, outcomes(item, r, "mx"))
				}
			})
			stop := h.run()
			id := h.ask("a@a.test", postpone)
			synctest.Wait()
			if d, err := h.q.Show(id); err != nil || d.Entries[0].State != Retry || !d.Entries[0].NextTry.Equal(start.Add(hold)) {
				t.Errorf("shown as %+v, %v", d, err)
			}
			stop()
			h.reopen()
			stop = h.run()
			h.q.Reroute(func(mail.Domain) bool { return true })
			time.Sleep(2 * hold)
			synctest.Wait()
			stop()
			if want := []time.Duration{hold, hold + 15*time.Minute}; !slices.Equal(got, want) || len(h.reports) > 0 {
				t.Errorf("tried at %v, want %v; %d reports", got, want, len(h.reports))
			}
			h.check()
		})
	})
	t.Run("holder", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			h.held["b.test"] = true
			for range 50 {
				h.ask("a@a.test", postpone)
			}
			now := h.ask("b@a.test", func(*mail.Envelope) {})
			l, err := h.q.Lease("b.test", "joe")
			if err != nil {
				t.Fatal(err)
			}
			item, ok := l.Next()
			if !ok || item.Env.ID != now {
				t.Errorf("the first is %+v", item.Env)
			}
			if _, ok := l.Next(); ok {
				t.Error("a message is handed out before its time")
			}
			l.Close()
			time.Sleep(hold)
			l, err = h.q.Lease("b.test", "joe")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			n := 0
			for _, ok := l.Next(); ok; _, ok = l.Next() {
				n++
			}
			if n != 51 {
				t.Errorf("%d messages when the time has come", n)
			}
		})
	})
	t.Run("administrator", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			h.setAnswer(always(yes, "mx"))
			defer h.run()()
			h.ask("a@a.test", postpone)
			if _, err := h.q.Retry(t.Context(), Filter{All: true}, false); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if c := h.q.Counts(); c.Messages != 0 {
				t.Errorf("left: %+v", c)
			}
		})
	})
	t.Run("trigger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newFixture(t)
			h.held["b.test"] = true
			var attempts atomic.Int32 // side by side
			h.setAnswer(func(l *Lease) { attempts.Add(1); always(yes, "mx")(l) })
			defer h.run()()
			for range 100 {
				h.ask("a@a.test", postpone)
			}
			h.q.Trigger("b.test")
			synctest.Wait()
			if c := h.q.Counts(); c.Messages != 100 || attempts.Load() > 10 {
				t.Errorf("%d attempts, %+v", attempts.Load(), c)
			}
		})
	})
}

// A selection has the smallest messages go first, and leaves those that it does not take as
// they are.
func TestSelection(t *testing.T) {
	for _, tt := range []struct {
		smallest bool
		ceiling  int64
		want     string
	}{{false, 0, "eabcd"}, {true, 0, "badec"}, {false, 300, "eabd"}, {true, 200, "ba"}} {
		h := newFixture(t)
		h.held["b.test"] = true
		for i, size := range []int{200, 100, 900, 290, 295} {
			env := envelope(t, string(rune('a'+i))+"@a.test", "x@b.test")
			if i == 4 {
				env.Priority = 9
			}
			d := &memDraft{store: h.store}
			d.WriteString(strings.Repeat("x", size))
			if err := h.q.Accept(t.Context(), d, env); err != nil {
				t.Fatal(err)
			}
		}
		l, err := h.q.Lease("b.test", "joe")
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		l.Select(Selection{Smallest: tt.smallest, Take: func(size int64) bool { asked++; return tt.ceiling == 0 || size <= tt.ceiling }})
		got := ""
		for item, ok := l.Next(); ok; item, ok = l.Next() {
			got += item.Env.From.Local
			_ = l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx"))
		}
		l.Close()
		if got != tt.want || asked != 5 || h.q.Count("b.test") != 5-len(got) {
			t.Errorf("%+v: handed out %q, asked %d times, %d stay", tt, got, asked, h.q.Count("b.test"))
		}
		if n, octets := h.q.Above("b.test", 300); len(got) < 5 && (n != 1 || octets != 900) {
			t.Errorf("%+v: %d of %d octets above 300", tt, n, octets)
		}
		h.check()
	}
}
