// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// The owner of the mail does not wait for an attempt that hangs, and gets what it
// has not settled. Nobody else gets between.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["b.test"] = true
		first, second := h.accept("s@s.test", "x@b.test"), h.accept("s@s.test", "x@b.test")
		var cause error
		h.setAnswer(func(l *Lease) {
			ctx, done := l.Until(t.Context())
			defer done()
			item, _ := l.Next()
			<-ctx.Done() // between the messages, which the takeover must not wait for
			cause = context.Cause(ctx)
			if err := l.Settle(t.Context(), item.Env.ID, outcomes(item, yes, "mx")); err != nil {
				t.Error(err)
			}
			if _, ok := l.Next(); ok {
				t.Error("a lease that is taken over hands out another message")
			}
			_ = l.Defer(t.Context(), later, "mx") // says nothing about the owner's call
		})
		defer func(stop func()) { stop() }(h.run())
		h.q.Trigger("b.test")
		synctest.Wait()
		l, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "joe")
		if err != nil || !errors.Is(cause, mail.ErrTakenOver) {
			t.Fatalf("TakeOver = %v; the attempt ended by %v", err, cause)
		}
		if _, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "another"); !errors.As(err, &ErrBusy{}) || h.q.Holder("b.test") != "TURN joe" {
			t.Errorf("a second TakeOver = %v", err)
		}
		item, _ := l.Next()
		if item.Env.ID != second {
			t.Errorf("got %s, want %s; %s is delivered", item.Env.ID, second, first)
		}
		l.Close()
		h.check()
	})
}

// An attempt that does not stop keeps its lease, and the queue goes on.
func TestTakeOverInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.held["b.test"] = true
		h.accept("s@s.test", "x@b.test")
		goOn := make(chan struct{})
		h.setAnswer(func(l *Lease) {
			l.Next()
			<-goOn
		})
		defer func(stop func()) { stop() }(h.run())
		h.q.Trigger("b.test")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := h.q.TakeOver(ctx, "b.test", "TURN", "joe"); !errors.As(err, &ErrBusy{}) {
			t.Errorf("TakeOver = %v", err)
		}
		close(goOn)
		synctest.Wait()
		l, err := h.q.TakeOver(t.Context(), "b.test", "TURN", "joe")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := l.Next(); !ok {
			t.Error("the message is lost")
		}
		l.Close()
		h.check()
	})
}
