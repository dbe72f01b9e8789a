// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/internal/kv"
)

// A message to many recipients of 100 domains makes few reports, however its
// recipients come to fail.
func TestOneReportForAMessage(t *testing.T) {
	tests := []struct {
		name    string
		fails   func(n int, age time.Duration) mail.Reply // of domain n
		restart time.Duration                             // 0: none
		most    int                                       // reports of failure
		delayed int                                       // recipients that a report of delay states, at most

		recipients int
	}{
		{"at once", func(int, time.Duration) mail.Reply { return no }, 0, 1, 0, 1000},
		{"when they expire", func(int, time.Duration) mail.Reply { return later }, 0, 1, 200, 200},
		{"one delivered, the others failed", func(n int, _ time.Duration) mail.Reply {
			if n == 0 {
				return yes
			}
			return no
		}, 0, 1, 0, 1000},
		{"half at once, half deferred to the end", func(n int, _ time.Duration) mail.Reply {
			if n%2 == 0 {
				return no
			}
			return later
		}, 0, 2, 100, 200},
		{"with a start between", func(n int, _ time.Duration) mail.Reply {
			if n%2 == 0 {
				return no
			}
			return later
		}, time.Minute, 2, 100, 200},
		{"one after the other", func(n int, age time.Duration) mail.Reply {
			if age > time.Duration(n)*29*time.Minute {
				return no
			}
			return later
		}, 0, 20, 200, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.held["sender.test"] = true
				start := time.Now()
				var to []string
				want := map[string]int{}
				for i := range tt.recipients {
					to = append(to, fmt.Sprintf("u%d@d%d.test", i, i%100))
				}
				h.setAnswer(func(l *Lease) {
					var n int
					_, _ = fmt.Sscanf(string(l.Domain()), "d%d.test", &n)
					time.Sleep(time.Duration(n) * time.Second / 2) // hosts answer slowly
					r := tt.fails(n, time.Since(start))
					if r.Code == later.Code && n%3 == 0 {
						_ = l.Defer(t.Context(), r, "mx") // no host answers
						return
					}
					always(r, "mx")(l)
				})
				h.accept("forged@sender.test", to...)
				for _, s := range to {
					var i, n int
					_, _ = fmt.Sscanf(s, "u%d@d%d.test", &i, &n)
					if r := tt.fails(n, 100*time.Hour); r.Code != yes.Code {
						want[s]++
					}
				}
				stop := h.run()
				if tt.restart > 0 {
					time.Sleep(tt.restart)
					stop()
					h.reopen()
					stop = h.run()
				}
				time.Sleep(60 * time.Hour)
				synctest.Wait()
				stop()
				h.check()
				failures, delayed := 0, map[string]bool{}
				for _, r := range h.reports {
					failed := false
					for _, s := range r.Recipients {
						a := s.To.Address.String()
						switch s.Action {
						case dsn.Failed:
							failed = true
							want[a]--
						case dsn.Delayed:
							delayed[a] = true
						}
					}
					if failed {
						failures++
					}
				}
				for a, n := range want {
					if n != 0 {
						t.Errorf("%s: %d reports of its failure too few", a, n)
					}
				}
				if failures > tt.most || len(h.reports)-failures > 2 || len(delayed) > tt.delayed {
					t.Errorf("%d reports, %d of failure, want at most %d; %d recipients delayed", len(h.reports), failures, tt.most, len(delayed))
				}
				if n := h.q.Counts().Messages; n != len(h.reports) || h.store.Messages() != n {
					t.Errorf("%d messages, %d stored, %d reports", n, h.store.Messages(), len(h.reports))
				}
			})
		})
	}
}

// A sender is told of a failure although other recipients wait on, within the
// time of collection; a delay that has ended by then is not told.
func TestReportDoesNotWaitForHeldMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy.Collect = time.Minute
		h.held["held.test"], h.held["sender.test"] = true, true
		h.setAnswer(func(l *Lease) {
			if l.Domain() == "b.test" {
				always(no, "mx")(l)
			}
		})
		defer h.run()()
		id := h.accept("s@sender.test", "x@held.test", "x@b.test")
		time.Sleep(59 * time.Second)
		synctest.Wait()
		d, err := h.q.Show(id)
		if n := h.countReports(); err != nil || n != 0 || len(d.Entries) != 2 || d.Entries[0].Domain != Reports || d.Entries[0].State != Retry {
			t.Fatalf("%+v, %v, %d reports", d, err, n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if d, err := h.q.Show(id); err != nil || h.countReports() != 1 || len(d.Entries) != 1 {
			t.Errorf("%+v, %v, %d reports", d, err, h.countReports())
		}
		h.check()
	})
}

// What becomes of an entry in Reports when the message's other entries change.
func TestReportsEntry(t *testing.T) {
	delayed := Policy{DelayNotice: time.Nanosecond, Collect: time.Hour}
	for _, tt := range []struct {
		name   string
		policy Policy
		first  mail.Reply // of b.test
		then   func(h *fixture, id mail.MessageID)
		want   []dsn.Action // of the one report; nil: there is none
		left   int          // messages
	}{
		{"the last is delivered", Policy{}, no, func(h *fixture, _ mail.MessageID) { h.settleAll("c.test", yes) }, []dsn.Action{dsn.Failed}, 1},
		{"the last fails", Policy{}, no, func(h *fixture, _ mail.MessageID) { h.settleAll("c.test", no) }, []dsn.Action{dsn.Failed, dsn.Failed}, 1},
		{"retry makes it now", Policy{}, no, func(h *fixture, id mail.MessageID) {
			stop := h.run()
			_, err := h.q.Retry(h.t.Context(), Filter{IDs: []mail.MessageID{id}}, false)
			if err != nil {
				h.t.Error(err)
			}
			synctest.Wait()
			stop()
		}, []dsn.Action{dsn.Failed}, 2},
		{"the message is bounced", Policy{}, no, func(h *fixture, id mail.MessageID) {
			if _, err := h.q.Bounce(h.t.Context(), Filter{IDs: []mail.MessageID{id}}, false); err != nil {
				h.t.Error(err)
			}
		}, []dsn.Action{dsn.Failed, dsn.Failed}, 1},
		{"the other entry is deleted", Policy{}, no, func(h *fixture, _ mail.MessageID) {
			if _, err := h.q.Delete(h.t.Context(), Filter{Domain: "c.test"}, false); err != nil {
				h.t.Error(err)
			}
			h.check()
			if err := h.q.flushReports(h.t.Context()); err != nil {
				h.t.Error(err)
			}
		}, []dsn.Action{dsn.Failed}, 1},
		{"the message is deleted", Policy{}, no, func(h *fixture, id mail.MessageID) {
			if _, err := h.q.Delete(h.t.Context(), Filter{IDs: []mail.MessageID{id}}, false); err != nil {
				h.t.Error(err)
			}
		}, nil, 0},
		{"the message is frozen", Policy{}, no, func(h *fixture, id mail.MessageID) {
			if _, err := h.q.Freeze(h.t.Context(), Filter{IDs: []mail.MessageID{id}}, false); err != nil {
				h.t.Error(err)
			}
			h.reopen()
		}, nil, 1},
		{"an export has it made", Policy{}, no, func(h *fixture, _ mail.MessageID) {
			if n, err := h.q.Export(h.t.Context(), Filter{All: true}, h.t.TempDir()); err != nil || n.Messages != 2 {
				h.t.Errorf("Export = %+v, %v", n, err)
			}
		}, []dsn.Action{dsn.Failed}, 2},
		{"a delay ends in delivery", delayed, later, func(h *fixture, _ mail.MessageID) {
			h.settleAll("b.test", yes)
			h.settleAll("c.test", yes)
		}, nil, 0},
		{"a delay ends in failure", delayed, later, func(h *fixture, _ mail.MessageID) {
			h.settleAll("b.test", no)
			h.settleAll("c.test", yes)
		}, []dsn.Action{dsn.Failed}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.policy = tt.policy
				for _, d := range []mail.Domain{"b.test", "c.test", "sender.test"} {
					h.held[d] = true
				}
				id := h.accept("s@sender.test", "x@b.test", "x@c.test")
				time.Sleep(time.Second)
				if tt.first.Code == later.Code {
					h.held["b.test"] = false // held mail is never late
				}
				h.settleAll("b.test", tt.first)
				h.check()
				tt.then(h, id)
				h.check()
				var got []dsn.Action
				for _, r := range h.reports {
					for _, s := range r.Recipients {
						got = append(got, s.Action)
					}
				}
				if len(h.reports) > 1 || fmt.Sprint(got) != fmt.Sprint(tt.want) || h.q.Counts().Messages != tt.left {
					t.Errorf("%d reports of %v, want %v; %d messages, want %d", len(h.reports), got, tt.want, h.q.Counts().Messages, tt.left)
				}
				h.reopen()
				h.check()
			})
		})
	}
}

// A report waits as long as a recipient of the message may yet come to something
// that it would state.
func TestReportWaitsForTheOthers(t *testing.T) {
	for _, tt := range []struct {
		name        string
		delayNotice time.Duration
		second      *mail.Reply // of the recipient that did not fail at first; nil: none yet
		made        int         // recipients in the report that is made at once; 0: none is
	}{
		{"no outcome yet", 12 * time.Hour, nil, 0},
		{"to be tried again", 12 * time.Hour, &later, 0},
		{"delayed, as the sender is told", time.Nanosecond, &later, 2},
		{"delivered", 12 * time.Hour, &yes, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.policy.DelayNotice = tt.delayNotice
				h.held["sender.test"] = true
				id := h.accept("s@sender.test", "x@b.test", "y@b.test")
				time.Sleep(time.Second)
				l, err := h.q.Lease("b.test", "test")
				if err != nil {
					t.Fatal(err)
				}
				item, _ := l.Next()
				o := outcomes(item, no, "mx")[:1]
				if tt.second != nil {
					o = append(o, mail.OutcomeOf(item.To[1].Address, *tt.second, "mx"))
				}
				if err := l.Settle(t.Context(), id, o); err != nil {
					t.Fatal(err)
				}
				made := 0
				for _, r := range h.reports {
					made += len(r.Recipients)
				}
				if made != tt.made {
					t.Errorf("the reports that are made state %d recipients, want %d", made, tt.made)
				}
				h.check()
				l.Close()
			})
		})
	}
}

// What waits for its report has no more of a reply than maxKeptReply.
func TestKeptReplyIsShort(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"], h.held["c.test"], h.held["sender.test"] = true, true, true
	id := h.accept("s@sender.test", "x@b.test", "y@c.test")
	long := no
	long.Text = strings.Repeat("x", 2*maxKeptReply)
	h.settleAll("b.test", long)
	raw, ok, err := h.db.Get(entryKey(id, Reports))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	rec, err := decodeRecord(raw)
	if err != nil || len(rec.told) != 1 || len(rec.told[0].Reply.Text) != maxKeptReply {
		t.Errorf("%+v, %v are kept", rec.told, err)
	}
}

// A report that could not be made is tried again after the first interval of the
// ladder, not when the collection of outcomes ends.
func TestReportPostponed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.policy.Ladder, h.policy.Collect = []time.Duration{7 * time.Minute, time.Hour}, time.Minute
		h.reportErr = errFault
		h.held["b.test"] = true
		id := h.accept("s@sender.test", "x@b.test")
		h.settleAll("b.test", no)
		d, err := h.q.Show(id)
		if err != nil || len(d.Entries) != 1 || d.Entries[0].Domain != Reports || time.Until(d.Entries[0].NextTry) != 7*time.Minute {
			t.Errorf("%+v, %v; want an entry of %s in 7 minutes", d.Entries, err, Reports)
		}
	})
}

// lockSeer notes whether the entries of a message are locked while a commit is made.
type lockSeer struct {
	kv.DB
	id     mail.MessageID
	q      func() *Queue
	locked []bool
}

func (s *lockSeer) Commit(ctx context.Context, ops ...kv.Op) error {
	mu := &s.q().settling[int(s.id[len(s.id)-1])%len(s.q().settling)]
	free := mu.TryLock()
	if free {
		mu.Unlock()
	}
	s.locked = append(s.locked, !free)
	return s.DB.Commit(ctx, ops...)
}

// Whatever changes one of several entries of a message keeps the others from being
// changed until the index has it, too.
func TestEntriesOfAMessageAreLocked(t *testing.T) {
	for name, change := range map[string]func(h *fixture) error{
		"an outcome": func(h *fixture) error { h.settleAll("c.test", later); return nil },
		"a report":   func(h *fixture) error { return h.q.flushReports(h.t.Context()) },
		"a deletion": func(h *fixture) error {
			_, err := h.q.Delete(h.t.Context(), Filter{Domain: "c.test"}, false)
			return err
		},
	} {
		h := newFixture(t)
		h.held["b.test"], h.held["c.test"], h.held["d.test"], h.held["sender.test"] = true, true, true, true
		id := h.accept("s@sender.test", "x@b.test", "y@c.test", "z@d.test")
		h.settleAll("b.test", no) // its report waits for the others
		see := &lockSeer{DB: h.db.DB, id: id, q: func() *Queue { return h.q }}
		h.db.DB = see
		if err := change(h); err != nil || len(see.locked) == 0 || slices.Contains(see.locked, false) {
			t.Errorf("%s: %v; locked in its commits: %v", name, err, see.locked)
		}
		h.check()
	}
}

// The cause of a reply of ours is for the administrator, also after a start: the sender's
// report has the text alone.
func TestCauseIsNotReported(t *testing.T) {
	why := mail.Reply{Code: 451, Enhanced: "4.1", Text: "no connection to mx", Cause: errors.New("dial tcp 10.0.0.5:25: refused (RouteAction)")}
	for name, answer := range map[string]func(*Lease){
		"of a message":     always(why, ""),
		"of a destination": func(l *Lease) { _ = l.Defer(t.Context(), why, "mx") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.policy = Policy{Expire: 3 * time.Hour}
				h.held["a.test"] = true
				h.setAnswer(answer)
				id := h.accept("s@a.test", "x@b.test")
				stop := h.run()
				defer func() { stop() }()
				shows := func() {
					t.Helper()
					synctest.Wait()
					d, err := h.q.Show(id)
					if err != nil {
						t.Fatal(err)
					}
					if all := h.q.Destinations(); d.Entries[0].LastError != why.Error() || all[0].LastError != why.Error() {
						t.Errorf("the administrator is told %q and %q", d.Entries[0].LastError, all[0].LastError)
					}
				}
				time.Sleep(time.Minute)
				shows()
				stop()
				h.reopen()
				stop = h.run()
				shows()
				time.Sleep(4 * time.Hour)
				synctest.Wait()
				var reports int
				for m, err := range h.q.Messages(t.Context(), "a.test") {
					if err != nil {
						t.Fatal(err)
					}
					body, err := h.q.Open(m.ID)
					if err != nil {
						t.Fatal(err)
					}
					text, err := io.ReadAll(body)
					if err != nil || !bytes.Contains(text, []byte(why.Text)) || bytes.Contains(text, []byte("10.0.0.5")) {
						t.Errorf("reported %s, %v", text, err)
					}
					reports++
				}
				if reports != 1 {
					t.Errorf("%d reports", reports)
				}
				h.check()
			})
		})
	}
}
