// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// Mail that is kept while its domain is held no more goes nowhere, also after a
// restart, until one of the ends that Keep knows.
func TestKeep(t *testing.T) {
	for _, tt := range []struct {
		name    string
		wait    time.Duration // until it is returned; 0: never
		after   func(h *fixture)
		left    int
		state   State
		reports int
	}{
		{name: "kept", left: 3, state: Frozen},
		{name: "returned", wait: time.Hour, reports: 3},
		{name: "held again", wait: time.Hour, after: func(h *fixture) { h.hold("b.test", true) }, left: 3, state: Held},
		{name: "held again, kept", after: func(h *fixture) { h.hold("b.test", true) }, left: 3, state: Held},
		{name: "thawed", wait: time.Hour, after: func(h *fixture) { h.each(h.q.Thaw) }},
		{name: "tried again", wait: time.Hour, after: func(h *fixture) { h.each(h.q.Retry) }, reports: 3},
		{name: "returned by hand", wait: time.Hour, after: func(h *fixture) { h.each(h.q.Bounce) }, reports: 3},
		{name: "deleted", wait: time.Hour, after: func(h *fixture) { h.each(h.q.Delete) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.setAnswer(always(yes, "mx"))
				h.held["b.test"] = true
				stop := h.run()
				for range 3 {
					h.accept("a@a.test", "x@b.test")
				}
				var at time.Time
				if tt.wait > 0 {
					at = time.Now().Add(tt.wait)
				}
				sum, made, err := h.q.Keep(t.Context(), "b.test", at)
				if err != nil || sum.Messages != 3 || sum.Busy != 0 {
					t.Fatalf("Keep = %+v, %v", sum, err)
				}
				synctest.Wait()
				h.hold("b.test", false)
				made()
				synctest.Wait()
				if d := h.q.Destinations(); len(d) != 1 || d[0].State != Frozen || d[0].Messages != 3 || !d[0].Expires.Equal(at) {
					t.Fatalf("after the change: %+v", d)
				}
				for m := range h.q.Messages(t.Context(), "b.test") {
					if !m.Expires.Equal(at) {
						t.Errorf("%+v is returned at %v, want %v", m, m.Expires, at)
					}
				}
				stop()
				h.reopen()
				stop = h.run()
				if tt.after != nil {
					tt.after(h)
				}
				synctest.Wait()
				time.Sleep(tt.wait + 10*time.Minute)
				synctest.Wait()
				stop()
				if c := h.q.Counts(); c.Messages != tt.left || len(h.reports) != tt.reports {
					t.Errorf("left: %+v, %d reports, want %d and %d", c, len(h.reports), tt.left, tt.reports)
				}
				if d := h.q.Destinations(); tt.left > 0 && (len(d) != 1 || d[0].State != tt.state) {
					t.Errorf("at the end: %+v, want %s", d, tt.state)
				}
				h.check()
			})
		})
	}
}

// A change that has failed leaves the mail held, and what an administrator has frozen
// stays frozen.
func TestKeepForAChangeThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["b.test"] = true
		defer h.run()()
		frozen := h.accept("a@a.test", "x@b.test")
		h.accept("a@a.test", "x@b.test")
		if _, err := h.q.Freeze(t.Context(), Filter{IDs: []mail.MessageID{frozen}}, false); err != nil {
			t.Fatal(err)
		}
		sum, made, err := h.q.Keep(t.Context(), "b.test", time.Time{})
		if err != nil || sum.Messages != 1 {
			t.Fatalf("Keep = %+v, %v", sum, err)
		}
		made()
		synctest.Wait()
		for m := range h.q.Messages(t.Context(), "b.test") {
			if want := map[bool]State{true: Frozen, false: Held}[m.ID == frozen]; m.State != want {
				t.Errorf("%s is %s, want %s", m.ID, m.State, want)
			}
		}
		h.check()
	})
}

// What comes while the change is made is kept as well, also over a restart.
func TestKeepWhatComesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.setAnswer(always(yes, "mx"))
		h.held["b.test"] = true
		stop := h.run()
		h.accept("a@a.test", "x@b.test")
		_, made, err := h.q.Keep(t.Context(), "b.test", time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		h.accept("a@a.test", "x@b.test")
		filtered := h.ask("a@a.test", func(env *mail.Envelope) { env.Quarantine = "a filter" })
		h.hold("b.test", false)
		synctest.Wait()
		made()
		stop()
		h.reopen()
		stop = h.run()
		synctest.Wait()
		h.accept("a@a.test", "x@b.test") // under the new settings
		synctest.Wait()
		stop()
		if d := h.q.Destinations(); len(d) != 1 || d[0].State != Frozen || d[0].Messages != 3 {
			t.Errorf("%+v", d)
		}
		stop = h.run()
		h.hold("b.test", true)
		synctest.Wait()
		stop()
		for m := range h.q.Messages(t.Context(), "b.test") {
			if want := map[bool]State{true: Frozen, false: Held}[m.ID == filtered]; m.State != want {
				t.Errorf("%s is %s, want %s", m.ID, m.State, want)
			}
		}
		h.check()
	})
}

// A domain that is held again gets its mail back when the disk takes it, and what the
// senders have asked for holds still.
func TestKeptMailWhileTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["b.test"] = true
		stop := h.run()
		id := h.ask("a@a.test", func(env *mail.Envelope) { env.HoldUntil = env.Received.Add(24 * time.Hour) })
		until, _ := h.q.Show(id)
		_, made, err := h.q.Keep(t.Context(), "b.test", time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		h.db.failCommits(true)
		made()
		synctest.Wait()
		before := h.db.count()
		time.Sleep(time.Hour)
		stop()
		if n := h.db.count() - before; n == 0 || n > 100 {
			t.Errorf("the store was asked %d times in an hour", n)
		}
		h.db.failCommits(false)
		h.reopen()
		defer h.run()()
		synctest.Wait()
		got, _ := h.q.Show(id)
		if len(got.Entries) != 1 || !got.Entries[0].NextTry.Equal(until.Entries[0].NextTry) || got.Entries[0].State != until.Entries[0].State {
			t.Errorf("%+v, want %+v", got.Entries, until.Entries)
		}
		h.check()
	})
}

// What a caller has just now is told, and not kept.
func TestKeepTellsWhatIsBusy(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	for range 2 {
		h.accept("a@a.test", "x@b.test")
	}
	l, err := h.q.Lease("b.test", "joe")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, ok := l.Next(); !ok {
		t.Fatal("no message")
	}
	sum, made, err := h.q.Keep(t.Context(), "b.test", time.Time{})
	made()
	if err != nil || sum.Messages != 1 || sum.Busy != 1 {
		t.Errorf("Keep = %+v, %v", sum, err)
	}
}

// each does an act to all messages.
func (h *fixture) each(do func(context.Context, Filter, bool) (Tally, error)) {
	if _, err := do(h.t.Context(), Filter{All: true}, false); err != nil {
		h.t.Error(err)
	}
}

// hold changes the settings.
func (h *fixture) hold(d mail.Domain, held bool) {
	h.mu.Lock()
	h.held[d] = held
	h.mu.Unlock()
	h.q.Recheck()
}
