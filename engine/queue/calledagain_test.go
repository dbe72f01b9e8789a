// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

// slowCommits is a DB whose commits wait for goOn, if it is not nil.
type slowCommits struct {
	kv.DB
	goOn chan struct{}
}

func (s *slowCommits) Commit(ctx context.Context, ops ...kv.Op) error {
	if s.goOn != nil {
		<-s.goOn
	}
	return s.DB.Commit(ctx, ops...)
}

// An account that calls again takes over from its earlier call at once, whatever became
// of that; another account waits.
func TestCallOfTheSameAccountTakesOver(t *testing.T) {
	inDoubt := mail.Reply{Code: 451, Enhanced: "4.2", Text: "in doubt", Phase: mail.AfterDot}
	for _, tt := range []struct {
		name string

		// old is what the earlier call does when it has to give way with the first of two
		// messages in hand.
		old   func(t *testing.T, h *fixture, l *Lease, item mail.Item)
		after time.Duration // until the later call has the lease
		first bool          // the later call gets the first message, too
	}{
		{"gives way", func(_ *testing.T, _ *fixture, l *Lease, _ mail.Item) { l.Close() }, 0, true},
		{"its message is in doubt", func(t *testing.T, _ *fixture, l *Lease, item mail.Item) {
			if err := l.Settle(t.Context(), item.Env.ID, outcomes(item, inDoubt, "mx")); err != nil {
				t.Error(err)
			}
			l.Close()
		}, 0, true},
		{"does not give way", func(t *testing.T, _ *fixture, l *Lease, item mail.Item) {
			time.Sleep(yieldTime + time.Second)
			if err := l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx")); !errors.Is(err, ErrNotLeased) {
				t.Errorf("Settle without the lease = %v", err)
			}
			if _, ok := l.Next(); ok {
				t.Error("a lease that is gone hands out a message")
			}
			l.Close()
		}, yieldTime, true},
		{"is storing an outcome", func(t *testing.T, h *fixture, l *Lease, item mail.Item) {
			slow := &slowCommits{h.q.db, make(chan struct{})}
			h.q.db = slow
			h.store.db = slow
			go func() {
				time.Sleep(yieldTime + time.Second)
				close(slow.goOn)
			}()
			if err := l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx")); err != nil {
				t.Error(err)
			}
			l.Close()
		}, yieldTime, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.held["b.test"] = true
				first, second := h.accept("s@s.test", "x@b.test"), h.accept("s@s.test", "x@b.test")
				old, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "joe")
				if err != nil {
					t.Fatal(err)
				}
				line, done := old.Until(t.Context())
				defer done()
				item, _ := old.Next()
				var cause error
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					<-line.Done()
					cause = context.Cause(line)
					tt.old(t, h, old, item)
				}()
				if _, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "jim"); !errors.As(err, &ErrBusy{}) || line.Err() != nil {
					t.Errorf("another account's TakeOver = %v, the earlier call ended by %v", err, line.Err())
				}
				begin := time.Now()
				l, err := h.q.TakeOver(t.Context(), "b.test", "ATRN", "Joe")
				if err != nil || time.Since(begin) != tt.after || h.q.Holder("b.test") != "ATRN Joe" {
					t.Fatalf("TakeOver = %v after %v, the holder is %q", err, time.Since(begin), h.q.Holder("b.test"))
				}
				want := []mail.MessageID{second}
				if tt.first {
					want = []mail.MessageID{first, second}
				}
				for _, id := range want {
					if item, _ := l.Next(); item.Env.ID != id {
						t.Errorf("got %q, want %s of %s", item.Env.ID, id, want)
					}
				}
				if item, ok := l.Next(); ok {
					t.Errorf("%s as well", item.Env.ID)
				}
				<-ended
				if !errors.Is(cause, mail.ErrCalledAgain) {
					t.Errorf("the earlier call ended by %v", cause)
				}
				l.Close()
				h.check()
				if n := h.q.Count("b.test"); n != len(want) {
					t.Errorf("%d messages wait", n)
				}
			})
		})
	}
}

// Of several calls of an account that wait for one another, the last gets the mail.
func TestLastCallOfAnAccountGetsTheMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["b.test"] = true
		h.accept("s@s.test", "x@b.test")
		old, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "joe")
		if err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error, 1)
		go func() {
			_, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "joe")
			waiting <- err
		}()
		synctest.Wait()
		if _, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "jim"); !errors.As(err, &ErrBusy{}) {
			t.Errorf("another account's TakeOver = %v", err)
		}
		l, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "joe")
		if err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; !errors.As(err, &ErrBusy{}) {
			t.Errorf("the call between: %v", err)
		}
		old.Close()
		if _, ok := l.Next(); !ok {
			t.Error("the message is lost")
		}
		l.Close()
		h.check()
	})
}
