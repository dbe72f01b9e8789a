// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
)

// RFC 2852 §4.1: at its deadline, a message of mode R is returned, and the sender of one
// of mode N told, once; at that time, not at the next attempt. Of held mail, too, which
// otherwise waits as long as it takes.
func TestDeadlines(t *testing.T) {
	const by = 10 * time.Minute
	at := func(after time.Duration) mail.Deadline { return mail.Deadline{At: time.Now().Add(after)} }
	returned := func(after time.Duration) mail.Deadline {
		d := at(after)
		d.Return = true
		return d
	}
	tests := []struct {
		name     string
		deadline func() mail.Deadline
		notify   string
		held     bool
		reopen   bool
		answer   func(*Lease)
		action   dsn.Action // of the report; "" for none
		stays    bool
	}{
		{"mode R, the host defers", func() mail.Deadline { return returned(by) }, "", false, false, always(later, "mx"), dsn.Failed, false},
		{"mode R, no host is reached", func() mail.Deadline { return returned(by) }, "", false, false, unreachable, dsn.Failed, false},
		{"mode R after a restart", func() mail.Deadline { return returned(by) }, "", false, true, unreachable, dsn.Failed, false},
		{"mode R, held", func() mail.Deadline { return returned(by) }, "", true, false, nil, dsn.Failed, false},
		{"mode R, and no report is wanted", func() mail.Deadline { return returned(by) }, "NEVER", true, false, nil, "", false},
		{"mode R, later", func() mail.Deadline { return returned(time.Hour) }, "", false, false, unreachable, "", true},
		{"mode N, the host defers", func() mail.Deadline { return at(by) }, "", false, false, always(later, "mx"), dsn.Delayed, true},
		{"mode N, no host is reached", func() mail.Deadline { return at(by) }, "DELAY", false, false, unreachable, dsn.Delayed, true},
		{"mode N, held", func() mail.Deadline { return at(by) }, "", true, false, nil, dsn.Delayed, true},
		{"mode N, and only failures are asked for", func() mail.Deadline { return at(by) }, "FAILURE", true, false, nil, "", true},
		{"mode N, and another host has told", func() mail.Deadline { d := at(-time.Minute); d.Over = true; return d }, "", true, false, nil, "", true},
		{"none", func() mail.Deadline { return mail.Deadline{} }, "", false, false, unreachable, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.policy.Collect = time.Second
				h.held["b.test"], h.held["s.test"] = tt.held, true
				h.setAnswer(tt.answer)
				env := envelope(t, "a@s.test", "x@b.test "+tt.notify)
				env.By = tt.deadline()
				if err := h.try(env); err != nil {
					t.Fatal(err)
				}
				h.accept("a@s.test", "y@b.test") // has none, and goes its own way
				if tt.reopen {
					h.reopen()
				}
				defer h.run()()
				begin := time.Now()
				time.Sleep(by - 2*time.Second)
				synctest.Wait()
				if n := h.countReports(); n != 0 {
					t.Fatalf("%d reports before the time", n)
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				h.mu.Lock()
				reports := h.reports
				h.mu.Unlock()
				if tt.action == "" && len(reports) != 0 || tt.action != "" && (len(reports) != 1 || reports[0].Recipients[0].Action != tt.action || reports[0].At.Sub(begin) > by+3*time.Second) {
					t.Errorf("reports %+v, want %q", reports, tt.action)
				}
				if _, err := h.q.Show(env.ID); (err == nil) != tt.stays {
					t.Errorf("Show = %v, stays %v", err, tt.stays)
				}
				time.Sleep(30 * time.Minute) // nothing more is said of it
				synctest.Wait()
				if n := h.countReports(); n != len(reports) {
					t.Errorf("%d reports, %d before", n, len(reports))
				}
				if n := h.q.Count("b.test"); n != 1 && !tt.stays || n != 2 && tt.stays {
					t.Errorf("%d messages wait", n)
				}
				h.check()
			})
		})
	}
}

// unreachable is an attempt that finds no host.
func unreachable(l *Lease) {
	for _, ok := l.Next(); ok; _, ok = l.Next() {
	}
	_ = l.Defer(context.Background(), mail.Reply{Code: 451, Enhanced: "4.1", Text: "no answer"}, "")
}

// RFC 2852 §4.1.4: the sender of a message with a deadline is told that a host has it who
// does not keep it, or of each host if it is traced.
func TestDeadlineIsRelayed(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name   string
		by     mail.Deadline
		notify string
		noBy   bool
		told   bool
	}{
		{"to a host that keeps it", mail.Deadline{At: soon}, "", false, false},
		{"to one that does not", mail.Deadline{At: soon}, "", true, true},
		{"mode R", mail.Deadline{At: soon, Return: true}, "FAILURE", true, true},
		{"and nobody wants to know", mail.Deadline{At: soon}, "NEVER", true, false},
		{"traced", mail.Deadline{At: soon, Trace: true}, "", false, true},
		{"without one", mail.Deadline{}, "", true, false},
	} {
		h := newFixture(t)
		h.held["b.test"], h.held["s.test"] = true, true
		env := envelope(t, "a@s.test", "x@b.test "+tt.notify)
		env.By = tt.by
		if err := h.try(env); err != nil {
			t.Fatal(err)
		}
		l, err := h.q.Lease("b.test", "test")
		if err != nil {
			t.Fatal(err)
		}
		item, _ := l.Next()
		o := mail.Outcome{To: item.To[0].Address, Status: mail.Delivered, Reply: yes, Host: "mx", NoBy: tt.noBy}
		if err := l.Settle(t.Context(), item.Env.ID, []mail.Outcome{o}); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if n := len(h.reports); (n == 1) != tt.told || n == 1 && h.reports[0].Recipients[0].Action != dsn.Relayed {
			t.Errorf("%s: %+v", tt.name, h.reports)
		}
		h.check()
	}
}

// A deadline may pass while the message is on hold for its sender (RFC 4865): it counts, and
// no conversation is opened for a message that cannot be sent yet.
func TestDeadlineDuringHold(t *testing.T) {
	for _, tt := range []struct {
		name   string
		by     mail.Deadline
		action dsn.Action
		tries  int // in all
	}{
		{"mode R", mail.Deadline{Return: true}, dsn.Failed, 0},
		{"mode N", mail.Deadline{}, dsn.Delayed, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.held["s.test"] = true
				tries := 0
				h.setAnswer(func(l *Lease) {
					h.mu.Lock()
					tries++
					h.mu.Unlock()
					time.Sleep(10 * time.Millisecond) // for a connection
					always(yes, "mx")(l)
				})
				env := envelope(t, "a@s.test", "x@b.test")
				env.HoldUntil = time.Now().Add(time.Hour)
				env.By = tt.by
				env.By.At = time.Now().Add(time.Minute)
				if err := h.try(env); err != nil {
					t.Fatal(err)
				}
				defer h.run()()
				time.Sleep(59 * time.Minute)
				synctest.Wait()
				h.mu.Lock()
				before := tries
				h.mu.Unlock()
				if before != 0 {
					t.Errorf("%d attempts before the release", before)
				}
				if n := h.countReports(); n != 1 || h.reportedFirst(0).Action != tt.action || !h.reportedFirst(0).Tried.IsZero() {
					t.Errorf("reports %+v", h.reports)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				h.mu.Lock()
				defer h.mu.Unlock()
				if tries != tt.tries || h.q.Count("b.test") != 0 {
					t.Errorf("%d attempts, %d messages are left", tries, h.q.Count("b.test"))
				}
			})
		})
	}
}
