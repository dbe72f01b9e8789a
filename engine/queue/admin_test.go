// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/journal"
	"restante/engine/mail"
)

func TestFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		for _, d := range []mail.Domain{"b.test", "c.test"} {
			h.held[d] = true
		}
		one := h.accept("s@s.test", "x@b.test", "x@c.test")
		two := h.accept("s@s.test", "x@c.test")
		time.Sleep(time.Hour)
		noon := time.Now()
		three := h.accept("", "x@b.test")
		s, null := address(t, "s@s.test"), mail.Address{}
		tests := []struct {
			name string
			f    Filter
			want []mail.MessageID // of entries, by destination and arrival
			err  error
		}{
			{"nothing named", Filter{}, nil, ErrNoFilter},
			{"all", Filter{All: true}, []mail.MessageID{one, three, one, two}, nil},
			{"by id", Filter{IDs: []mail.MessageID{one, three, one}}, []mail.MessageID{one, one, three}, nil},
			{"by an id that is not there", Filter{IDs: []mail.MessageID{one, "nobody"}}, nil, ErrNotFound},
			{"by destination", Filter{Domain: "b.test"}, []mail.MessageID{one, three}, nil},
			{"by a destination without mail", Filter{Domain: "z.test"}, nil, nil},
			{"by sender", Filter{From: &s}, []mail.MessageID{one, one, two}, nil},
			{"reports", Filter{From: &null}, []mail.MessageID{three}, nil},
			{"by age", Filter{Before: noon}, []mail.MessageID{one, one, two}, nil},
			{"all conditions hold", Filter{Domain: "c.test", From: &s, IDs: []mail.MessageID{one}}, []mail.MessageID{one}, nil},
		}
		for _, tt := range tests {
			entries, err := h.q.pick(t.Context(), tt.f)
			var got []mail.MessageID
			for _, e := range entries {
				got = append(got, e.id)
			}
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, err, tt.want, tt.err)
			}
		}
	})
}

func TestActs(t *testing.T) {
	h := newFixture(t)
	for _, d := range []mail.Domain{"b.test", "c.test", "s.test"} {
		h.held[d] = true
	}
	id := h.accept("s@s.test", "x@b.test", "x@c.test")
	other := h.accept("s@s.test", "x@b.test")
	all := Filter{All: true}
	must := func(what string, got Tally, err error, want Tally) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
		}
		h.check()
	}
	size := int64(len(text))
	got, err := h.q.Delete(t.Context(), all, true)
	must("a dry run", got, err, Tally{Messages: 2, Bytes: 2 * size})
	if h.q.Counts().Messages != 2 {
		t.Error("a dry run did it")
	}
	got, err = h.q.Freeze(t.Context(), Filter{Domain: "b.test"}, false)
	must("freeze", got, err, Tally{Messages: 2, Bytes: 2 * size})
	h.reopen() // it is remembered
	h.check()
	if h.q.Count("b.test") != 0 || h.q.Destinations()[0].State != Frozen {
		t.Errorf("frozen: %d may go, %+v", h.q.Count("b.test"), h.q.Destinations())
	}
	got, err = h.q.Thaw(t.Context(), Filter{IDs: []mail.MessageID{other}}, false)
	must("thaw", got, err, Tally{Messages: 1, Bytes: size})

	// What is being sent is left alone.
	l, err := h.q.Lease("b.test", "test")
	if err != nil {
		t.Fatal(err)
	}
	item, ok := l.Next()
	if _, more := l.Next(); !ok || more || item.Env.ID != other {
		t.Fatalf("Next = %s, want only %s", item.Env.ID, other)
	}
	got, err = h.q.Delete(t.Context(), all, false)
	must("delete while one is sent", got, err, Tally{Messages: 1, Bytes: size, Busy: 1})
	if _, err := h.q.Show(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("Show of what was deleted = %v", err)
	}
	if err := l.Settle(t.Context(), other, outcomes(item, later, "mx")); err != nil {
		t.Fatal(err)
	}
	l.Close()
	got, err = h.q.Bounce(t.Context(), all, false)
	must("bounce", got, err, Tally{Messages: 1, Bytes: size})
	if h.q.Count("s.test") != 1 || len(h.reports) != 1 || h.q.Counts().Messages != 1 {
		t.Errorf("after the bounce: %+v", h.q.Counts())
	}
	h.reopen()
	h.check()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.q.Delete(ctx, all, false); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is given up = %v", err)
	}
}

// What a release passed by while an act had it is handed over all the same.
// A message in quarantine is frozen from the beginning, also after a start, until it is thawed.
func TestQuarantine(t *testing.T) {
	h := newFixture(t)
	h.held["c.test"] = true
	env := envelope(t, "s@s.test", "x@b.test", "x@c.test")
	env.Quarantine = "a filter asks for it"
	if err := h.try(env); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		h.check()
		for _, d := range []mail.Domain{"b.test", "c.test"} {
			if l, err := h.q.Lease(d, "test"); err == nil {
				if item, ok := l.Next(); ok {
					t.Errorf("%s is sent to %s", item.Env.ID, d)
				}
				l.Close()
			}
		}
		if list := h.q.Destinations(); len(list) != 2 || list[0].State != Frozen || list[1].Messages != 1 {
			t.Errorf("shown as %+v", list)
		}
		if m, err := h.q.Show(env.ID); err != nil || m.Envelope.Quarantine != env.Quarantine {
			t.Errorf("shown as %+v, %v", m, err)
		}
		h.reopen()
	}
	if _, err := h.q.Thaw(t.Context(), Filter{All: true}, false); err != nil || h.q.Count("b.test") != 1 {
		t.Errorf("thawed: %v, %d may go", err, h.q.Count("b.test"))
	}
}

func TestReleaseSeesWhatAnActGivesBack(t *testing.T) {
	h := newFixture(t)
	h.held["b.test"] = true
	first := h.accept("s@s.test", "x@b.test")
	h.accept("s@s.test", "x@b.test")
	if _, err := h.q.Freeze(t.Context(), Filter{IDs: []mail.MessageID{first}}, false); err != nil {
		t.Fatal(err)
	}
	l, err := h.q.Lease("b.test", "test")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Next()
	if _, err := h.q.Thaw(t.Context(), Filter{IDs: []mail.MessageID{first}}, false); err != nil {
		t.Fatal(err)
	}
	if item, ok := l.Next(); !ok || item.Env.ID != first {
		t.Errorf("Next = %s, %v; want %s", item.Env.ID, ok, first)
	}
}

func TestRetryAndTrigger(t *testing.T) {
	for name, again := range map[string]func(h *fixture){
		"Retry": func(h *fixture) {
			if n, err := h.q.Retry(context.Background(), Filter{Domain: "b.test"}, false); err != nil || n.Messages != 2 {
				h.t.Errorf("Retry = %+v, %v", n, err)
			}
		},
		"Trigger": func(h *fixture) { h.q.Trigger("b.test") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFixture(t)
				h.setAnswer(func(l *Lease) { _ = l.Defer(t.Context(), later, "mx.b.test") })
				defer h.run()()
				h.accept("s@s.test", "x@b.test")
				h.accept("s@s.test", "x@b.test")
				synctest.Wait()
				s := h.q.Destinations()[0]
				if s.State != Retry || time.Until(s.NextTry) != 15*time.Minute || s.LastError != later.String() {
					t.Fatalf("state %+v", s)
				}
				h.setAnswer(always(yes, "mx.b.test"))
				again(h)
				synctest.Wait()
				if c := h.q.Counts(); c.Messages != 0 {
					t.Errorf("left: %+v", c)
				}
				h.check()
			})
		})
	}
}

// A retry counts apart what it does not change.
func TestRetryOfHeldAndFrozenMail(t *testing.T) {
	h := newFixture(t)
	h.held["held.test"] = true
	h.accept("s@s.test", "x@held.test")
	frozen := h.accept("s@s.test", "x@b.test")
	h.accept("s@s.test", "y@b.test")
	if _, err := h.q.Freeze(t.Context(), Filter{IDs: []mail.MessageID{frozen}}, false); err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		n, err := h.q.Retry(t.Context(), Filter{All: true}, dry)
		if err != nil || n.Messages != 1 || n.Held != 1 || n.Frozen != 1 || n.Busy != 0 {
			t.Errorf("Retry = %+v, %v", n, err)
		}
	}
	h.check()
}

func TestMessagesAsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newFixture(t)
		h.setAnswer(always(later, "mx.b.test"))
		defer h.run()()
		one := h.accept("s@s.test", "x@b.test")
		synctest.Wait()
		two := h.accept("s@s.test", "x@b.test", "y@held.test")
		h.mu.Lock()
		h.held["held.test"] = true
		h.mu.Unlock()
		h.q.Recheck()
		synctest.Wait()
		var got []Message
		for m, err := range h.q.Messages(t.Context(), "b.test") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m)
		}
		if len(got) != 2 || got[0].ID != one || got[1].ID != two {
			t.Fatalf("messages %+v", got)
		}
		m := got[0]
		if m.State != Retry || m.Attempts != 1 || m.Host != "mx.b.test" || m.LastError != later.String() ||
			!m.LastTry.Equal(time.Now()) || time.Until(m.NextTry) != 15*time.Minute || m.From.Local != "s" || len(m.To) != 1 {
			t.Errorf("message %+v", m)
		}
		for d, want := range map[mail.Domain]int{"test": 2, "b.test": 1, "x.test": 0} {
			if n := len(h.q.Below(d)); n != want {
				t.Errorf("Below(%s) = %d, want %d", d, n, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range h.q.Messages(ctx, "b.test") {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a listing that is given up yields %v", err)
			}
		}
		if _, err := h.q.Open("nobody"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Open = %v", err)
		}
	})
}

// What is imported is found in the trace by its Message-ID, as what a caller brought is.
func TestImportTellsTheMessageID(t *testing.T) {
	h := newFixture(t)
	id := h.accept("s@s.test", "x@b.test")
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := h.q.Export(t.Context(), Filter{All: true}, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, string(id)+".eml"), []byte("Subject: x\r\nMessage-Id:\r\n <1@pc.test>\r\n\r\nbody\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newFixture(t)
	var keys []string
	g.dep.Journal = journal.New(slog.New(slog.DiscardHandler)).Traced(func(event string, k []string, _ []slog.Attr) {
		if event == "accepted" {
			keys = append(keys, k...)
		}
	})
	g.reopen()
	if n, err := g.q.Import(t.Context(), dir); err != nil || n.Messages != 1 || !slices.Contains(keys, journal.MessageIDKey("1@pc.test")) {
		t.Errorf("Import = %+v, %v; the keys are %q", n, err, keys)
	}
	l, _ := g.q.Lease("b.test", "test")
	if item, ok := l.Next(); !ok {
		t.Error("nothing is imported")
	} else if got, err := readAll(item); err != nil || !strings.HasPrefix(got, "Subject: x\r\n") {
		t.Errorf("body %q, %v", got, err)
	}
	l.Close()
}

// TestImportTakesExportsAlone: an export of nothing is empty, any other folder
// without an envelope was not made by an export.
func TestImportTakesExportsAlone(t *testing.T) {
	h := newFixture(t)
	dir := filepath.Join(t.TempDir(), "out")
	if n, err := h.q.Export(t.Context(), Filter{All: true}, dir); err != nil || n.Messages != 0 {
		t.Fatalf("Export = %+v, %v", n, err)
	}
	if n, err := h.q.Import(t.Context(), dir); err != nil || n.Messages != 0 {
		t.Errorf("of an empty export: %+v, %v", n, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "letter.eml"), []byte("Subject: x\r\n\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := h.q.Import(t.Context(), dir); !errors.Is(err, ErrNoExport) {
		t.Errorf("of a folder of mail: %+v, %v", n, err)
	}
}
