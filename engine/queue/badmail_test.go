// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/mail"
)

// settleAll leases d and settles each of its messages with r.
func (h *fixture) settleAll(d mail.Domain, r mail.Reply) {
	h.t.Helper()
	l, err := h.q.Lease(d, "test")
	if err != nil {
		h.t.Fatal(err)
	}
	defer l.Close()
	for item, ok := l.Next(); ok; item, ok = l.Next() {
		if err := l.Settle(h.t.Context(), item.Env.ID, outcomes(item, r, "mx")); err != nil {
			h.t.Fatal(err)
		}
	}
}

// What fails without a sender to tell is listed in Badmail with the reason, and
// stays through a restart until it is given away or deleted.
func TestBadmailIsKept(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"], h.held["c.test"], h.held[Badmail] = true, true, true
	id := h.accept("", "x@b.test", "y@c.test")
	h.settleAll("b.test", no)
	h.check()
	h.settleAll("c.test", no)
	h.check()
	for range 2 {
		d, err := h.q.Show(id)
		if err != nil || len(d.Entries) != 1 {
			t.Fatalf("Show = %+v, %v", d, err)
		}
		if e := d.Entries[0]; e.Domain != Badmail || e.State != Held || len(e.To) != 2 || e.LastError != no.String() || e.Host != "mx" {
			t.Errorf("shown as %+v", e)
		}
		if c := h.q.Counts(); c.Messages != 1 || c.Held != 1 || c.Destinations != 1 {
			t.Errorf("%+v", c)
		}
		h.reopen()
		h.check()
	}
	dir := t.TempDir()
	if n, err := h.q.Export(t.Context(), Filter{Domain: Badmail}, dir); err != nil || n.Messages != 1 {
		t.Errorf("Export = %+v, %v", n, err)
	}
	if n, err := h.q.Delete(t.Context(), Filter{Domain: Badmail}, false); err != nil || n.Messages != 1 || h.store.Messages() != 0 {
		t.Errorf("Delete = %+v, %v; %d messages are left", n, err, h.store.Messages())
	}
	h.check()
}

// One domain's recipients fail and are deferred in one step: the message is in
// both destinations, and goes with the last.
func TestBadmailOfAPart(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"], h.held[Badmail] = true, true
	id := h.accept("", "x@b.test", "y@b.test")
	l, err := h.q.Lease("b.test", "test")
	if err != nil {
		t.Fatal(err)
	}
	item, _ := l.Next()
	o := append(outcomes(item, no, "mx")[:1], outcomes(item, later, "mx")[1:]...)
	if err := l.Settle(t.Context(), id, o); err != nil {
		t.Fatal(err)
	}
	l.Close()
	h.check()
	if n, m := h.q.Count("b.test"), h.q.Count(Badmail); n != 1 || m != 1 || h.q.Counts().Messages != 1 {
		t.Errorf("%d in b.test, %d in Badmail", n, m)
	}
	h.settleAll(Badmail, yes)
	h.check()
	if h.store.Messages() != 1 {
		t.Error("the message went with its first entry")
	}
	h.settleAll("b.test", yes)
	h.check()
	if h.store.Messages() != 0 {
		t.Error("the message stays after its last entry")
	}
}

// Badmail that an attempt gives away is gone; while the attempt is deferred it
// is tried again, past the time at which other mail expires.
func TestBadmailIsTriedWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.setAnswer(func(l *Lease) {
			if l.Domain() == "b.test" {
				always(no, "mx")(l)
				return
			}
			_ = l.Defer(t.Context(), later, "")
		})
		h.accept("", "x@b.test")
		defer h.run()()
		time.Sleep(30 * 24 * time.Hour)
		synctest.Wait()
		h.check()
		if n := h.q.Count(Badmail); n != 1 || len(h.reports) != 0 {
			t.Fatalf("%d in Badmail after a month, %d reports", n, len(h.reports))
		}
		h.setAnswer(always(yes, ""))
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		h.check()
		if c := h.q.Counts(); c.Messages != 0 {
			t.Errorf("left: %+v", c)
		}
	})
}

// Badmail that is bounced has nowhere to go.
func TestBouncedBadmailIsDropped(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"], h.held[Badmail] = true, true
	h.accept("", "x@b.test")
	for _, want := range []int{1, 0} {
		if n, err := h.q.Bounce(t.Context(), Filter{All: true}, false); err != nil || n.Messages != 1 {
			t.Fatalf("Bounce = %+v, %v", n, err)
		}
		h.check()
		if n := h.q.Count(Badmail); n != want || h.store.Messages() != want {
			t.Errorf("%d in Badmail, %d stored, want %d", n, h.store.Messages(), want)
		}
	}
}

// Whom the policy names is told of bad mail once, in one report on a message. What cannot
// reach it is bad mail without a further report, and so is what cannot reach SendNdrTo.
func TestBadMailIsTold(t *testing.T) {
	for _, tt := range []struct {
		name    string
		from    string
		to      string
		watch   mail.Reply // what its host answers
		archive mail.Reply // and the folder
		told    []int      // recipients in each report to the watcher
		badmail int        // left without the folder
	}{
		{"one recipient", "", "x@b.test", yes, later, []int{1}, 1},
		{"two domains", "", "x@b.test y@c.test", yes, later, []int{2}, 1},
		{"put aside at once", "", "x@b.test", yes, yes, []int{1}, 0},
		{"the watcher refuses it", "", "x@b.test", no, later, []int{1}, 2},
		{"the watcher never answers", "", "x@b.test", later, later, []int{1}, 2},
		{"mail to the watcher itself", "", "bad@watch.test", no, later, nil, 1},
		{"a copy of a report", "joe@sender.test", "x@b.test", yes, later, []int{1}, 1},
		{"a report and its copy", "joe@refuses.test", "x@b.test", yes, yes, []int{2}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.policy.BadMail, h.policy.Copies = address(t, "bad@watch.test"), address(t, "copies@refuses.test")
				h.setAnswer(func(l *Lease) {
					r := no
					switch l.Domain() {
					case "watch.test":
						r = tt.watch
					case "sender.test":
						r = yes
					case Badmail:
						r = tt.archive
					}
					always(r, "mx")(l)
				})
				stop := h.run()
				h.accept(tt.from, strings.Fields(tt.to)...)
				time.Sleep(10 * 24 * time.Hour)
				synctest.Wait()
				h.check()
				var told []int
				for _, r := range h.reports {
					if r.To == h.policy.BadMail {
						told = append(told, len(r.Recipients))
					}
				}
				if !slices.Equal(told, tt.told) {
					t.Errorf("the reports are of %v recipients, want %v", told, tt.told)
				}
				if n := h.q.Count(Badmail); n != tt.badmail || h.q.Counts().Messages != n {
					t.Errorf("%d in Badmail, want %d; %+v", n, tt.badmail, h.q.Counts())
				}
				stop()
				h.reopen()
				h.check()
			})
		})
	}
}

// A report of bad mail that waits for its time is not made if nobody is to be told then.
func TestBadMailIsToldNoMore(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"], h.held[Badmail] = true, true
	h.policy.BadMail = address(t, "bad@watch.test")
	id := h.accept("", "x@b.test")
	h.settleAll("b.test", no)
	if d, err := h.q.Show(id); err != nil || len(d.Entries) != 2 {
		t.Fatalf("%+v, %v; want entries of %s and %s", d.Entries, err, Reports, Badmail)
	}
	h.policy.BadMail = mail.Address{}
	if err := h.q.flushReports(t.Context()); err != nil {
		t.Error(err)
	}
	h.check()
	if d, err := h.q.Show(id); err != nil || len(d.Entries) != 1 || d.Entries[0].Domain != Badmail || len(h.reports) != 0 {
		t.Errorf("%+v, %v, %d reports", d.Entries, err, len(h.reports))
	}
}
