// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// retryIn has the queue's one destination fail once more, and says how long
// that keeps it back.
func (h *fixture) retryIn(t *testing.T) time.Duration {
	t.Helper()
	if _, err := h.q.Retry(t.Context(), Filter{All: true}, false); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	s := h.q.Destinations()[0]
	return time.Until(s.NextTry)
}

// A host that has answered once starts on the ladder's first step again, also
// after a restart.
func TestAnswerResetsTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy.PerDestination = 1
		defer func(stop func()) { stop() }(h.run())
		h.setAnswer(func(l *Lease) { _ = l.Defer(t.Context(), later, "mx") })
		h.accept("s@s.test", "x@b.test")
		h.accept("s@s.test", "x@b.test")
		synctest.Wait()
		for _, want := range []time.Duration{30 * time.Minute, time.Hour, 4 * time.Hour, 4 * time.Hour} {
			if got := h.retryIn(t); got != want {
				t.Errorf("next try in %v, want %v", got, want)
			}
		}
		h.setAnswer(func(l *Lease) { // takes one, and then is gone
			item, _ := l.Next()
			if err := l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx")); err != nil {
				t.Error(err)
			}
			checkCleared(t, h, 5)
			_ = l.Defer(t.Context(), later, "mx")
		})
		if got := h.retryIn(t); got != 15*time.Minute {
			t.Errorf("next try in %v, want the first step", got)
		}
	})
}

// checkCleared checks that what is stored of the failures is their times alone.
func checkCleared(t *testing.T, h *fixture, tried int) {
	t.Helper()
	b, _, _ := h.db.Get(backoffKey("b.test"))
	if off, err := decodeBackoff(b); err != nil || off.failures != 0 || off.next != 0 || len(off.tried) != tried {
		t.Errorf("stored of the backoff: %+v, %v", off, err)
	}
}

// A domain that comes to be held forgets how its host failed before, so that
// it starts anew if it is not held any more.
func TestHeldForgetsTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.setAnswer(func(l *Lease) { _ = l.Defer(t.Context(), later, "mx") })
		stop := h.run()
		defer func() { stop() }()
		h.accept("s@s.test", "x@b.test")
		synctest.Wait()
		h.mu.Lock()
		h.held["b.test"] = true
		h.mu.Unlock()
		h.q.Trigger("b.test")
		synctest.Wait()
		if s := h.q.Destinations()[0]; s.State != Held || s.LastError != later.String() {
			t.Errorf("state %+v", s)
		}
		checkCleared(t, h, 2)
		h.check()
	})
}

// Neither what is settled nor what stays at the front makes the list long.
func TestListIsCompacted(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	first := h.accept("s@s.test", "x@b.test")
	if _, err := h.q.Freeze(t.Context(), Filter{IDs: []mail.MessageID{first}}, false); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		h.accept("s@s.test", "x@b.test")
	}
	l, err := h.q.Lease("b.test", "test")
	if err != nil {
		t.Fatal(err)
	}
	always(yes, "mx")(l)
	l.Close()
	d := h.q.dests["b.test"]
	if len(d.entries) > 70 || d.live() != 1 {
		t.Errorf("a list of %d for %d", len(d.entries), d.live())
	}
	h.check()
}
