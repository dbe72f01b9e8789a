// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/journal"
	"restante/engine/mail"
)

// A quotaFixture holds a.test and all names below w.test, which share a quota but for
// those that have one of their own.
type quotaFixture struct {
	*fixture
	rev   atomic.Int64
	own   atomic.Bool // b.w.test has a key of its own
	limit Quota
	free  atomic.Int64
}

func newQuotaFixture(t *testing.T, limit Quota) *quotaFixture {
	f := &quotaFixture{fixture: newFixture(t), limit: limit}
	f.free.Store(1 << 40)
	f.dep.Router = RouterFunc(func(d mail.Domain) RouteState { return RouteState{Held: f.key(d) != ""} })
	f.dep.Quota = func(d mail.Domain) Quota {
		u := f.limit
		u.Key, u.Under = f.key(d), f.rev.Load()
		if u.Key == "" {
			return Quota{}
		}
		return u
	}
	f.dep.Free = func() (int64, int64, error) { return f.free.Load(), 1 << 40, nil }
	f.policy.Held.Expire = 24 * time.Hour
	f.setAnswer(always(mail.Reply{Code: 450}, "host"))
	f.reopen()
	return f
}

func (f *quotaFixture) key(d mail.Domain) string {
	switch {
	case d == "a.test", d == "b.w.test" && f.own.Load():
		return string(d)
	case strings.HasSuffix(string(d), ".w.test"):
		return "*.w.test"
	}
	return ""
}

// recount counts what is stored under a key.
func (f *quotaFixture) recount(key string) (u Usage) {
	for p, err := range f.db.Scan(f.t.Context(), []byte(entryPrefix)) {
		if err != nil {
			f.t.Fatal(err)
		}
		d, _, _ := splitEntryKey(p.Key)
		rec, err := decodeRecord(p.Value)
		if err != nil {
			f.t.Fatal(err)
		}
		if f.key(mail.Domain(d)) == key && len(rec.open) > 0 {
			u.add(1, rec.size)
		}
	}
	return u
}

func (f *quotaFixture) check(doing string) {
	f.t.Helper()
	for key, d := range map[string]mail.Domain{"a.test": "a.test", "*.w.test": "a.w.test", f.key("b.w.test"): "b.w.test"} {
		f.q.mu.Lock()
		got := f.q.used(d, f.dep.Quota(d))
		f.q.mu.Unlock()
		want := f.recount(key)
		if got != want {
			f.t.Fatalf("%s: %s has %+v, and %+v is stored", doing, key, got, want)
		}
	}
}

// step does something that changes the counts.
func (f *quotaFixture) step(rnd *rand.Rand) (doing string) {
	domains := []string{"a.test", "a.w.test", "b.w.test", "c.w.test", "free.test"}
	pick := func() mail.Domain { return mail.Domain(domains[rnd.IntN(4)]) }
	act := func(name string, do func() (Tally, error)) string {
		if _, err := do(); err != nil && !errors.Is(err, ErrNotFound) {
			f.t.Fatalf("%s: %v", name, err)
		}
		return name
	}
	switch n := rnd.IntN(16); n {
	case 8:
		f.reopen()
		return "reopen"
	case 9, 10:
		l, err := f.q.Lease(pick(), "test")
		if err != nil {
			f.t.Fatal(err)
		}
		always([]mail.Reply{{Code: 250}, {Code: 450}, {Code: 550}}[rnd.IntN(3)], "host")(l)
		l.Close()
		return "release"
	case 11:
		return act("freeze", func() (Tally, error) { return f.q.Freeze(f.t.Context(), Filter{Domain: pick()}, false) })
	case 12:
		return act("thaw", func() (Tally, error) { return f.q.Thaw(f.t.Context(), Filter{All: true}, false) })
	case 13:
		return act("delete", func() (Tally, error) { return f.q.Delete(f.t.Context(), Filter{Domain: pick()}, false) })
	case 14:
		return act("bounce", func() (Tally, error) { return f.q.Bounce(f.t.Context(), Filter{Domain: pick()}, false) })
	case 15:
		if rnd.IntN(4) > 0 {
			stop := f.run()
			time.Sleep(7 * time.Hour) // in the bubble
			synctest.Wait()
			stop()
			return "expire"
		}
		f.own.Store(!f.own.Load())
		f.rev.Add(1)
		return "another key"
	default:
		var to []string
		for i := range 1 + rnd.IntN(3) {
			to = append(to, fmt.Sprintf("u%d@%s", i, domains[rnd.IntN(len(domains))]))
		}
		from := []string{"", "s@s.test", "s@a.test", "s@c.w.test"}[rnd.IntN(4)]
		err := f.try(envelope(f.t, from, to...))
		if err != nil && !errors.Is(err, ErrQuota) {
			f.t.Fatal(err)
		}
		for _, one := range to {
			_, d, _ := strings.Cut(one, "@")
			if key := f.key(mail.Domain(d)); err == nil && key != "" && f.recount(key).Messages > f.limit.Messages {
				f.t.Fatalf("accept %v: %s is over its quota", to, key)
			}
		}
		return fmt.Sprintf("accept %v: %v", to, err)
	}
}

// TestQuotaCounts compares the counts with what is stored after each thing that can
// change them.
func TestQuotaCounts(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			f := newQuotaFixture(t, Quota{Messages: 6, Bytes: 1 << 20})
			for range 250 {
				doing := f.step(rnd)
				f.check(doing)
			}
		})
	}
}

func TestQuotaRefuses(t *testing.T) {
	size := int64(len(text))
	tests := []struct {
		name  string
		limit Quota
		free  int64
		want  int // messages that are taken
		cause string
	}{
		{"messages", Quota{Messages: 3}, 1 << 40, 3, "HoldMaxMessages of KEY is 3"},
		{"bytes, to the last", Quota{Bytes: 2 * size}, 1 << 40, 2, "HoldMaxBytes of KEY is"},
		{"bytes", Quota{Bytes: 3*size - 1}, 1 << 40, 2, "HoldMaxBytes of KEY is"},
		{"less than one message", Quota{Bytes: 1}, 1 << 40, 0, "HoldMaxBytes of KEY is 1"},
		{"the disk", Quota{Reserve: 1000}, 999 + size, 0, "HoldReserveBytes of KEY is 1000"},
		{"the disk, just enough", Quota{Reserve: 1000}, 1000 + size, 5, ""},
		{"no quota", Quota{}, 0, 5, ""},
	}
	for _, tt := range tests {
		for _, d := range []mail.Domain{"a.test", "x.w.test"} {
			f := newQuotaFixture(t, tt.limit)
			f.free.Store(tt.free)
			taken := 0
			var refusal error
			for range 5 {
				early := f.q.CheckQuota(d, size)
				err := f.try(envelope(t, "s@s.test", "u@"+string(d), "v@free.test"))
				if (early == nil) != (err == nil) {
					t.Errorf("%s, %s: CheckQuota = %v, and Accept = %v", tt.name, d, early, err)
				}
				if err == nil {
					taken++
				} else {
					refusal = err
				}
			}
			if taken != tt.want {
				t.Errorf("%s: %s has %d messages, want %d", tt.name, d, taken, tt.want)
			}
			if reply := (mail.Reply{}); refusal != nil &&
				(!errors.As(refusal, &reply) || reply.Status() != "4.2.2" || reply.Code != 452 ||
					!strings.Contains(refusal.Error(), strings.ReplaceAll(tt.cause, "KEY", f.key(d)))) {
				t.Errorf("%s: refused with %v", tt.name, refusal)
			}
			if n := f.q.Count("free.test"); n != taken {
				t.Errorf("%s: %d messages for another domain, want %d", tt.name, n, taken)
			}
			if err := f.try(envelope(t, "s@s.test", "v@free.test")); err != nil {
				t.Errorf("%s: other mail: %v", tt.name, err)
			}
		}
	}
}

// What is being stored is not free any more.
func TestReserveOfTheDiskCountsWhatIsBeingStored(t *testing.T) {
	f := newQuotaFixture(t, Quota{Reserve: 1000})
	f.free.Store(3000)
	r, err := f.q.reserve(map[mail.Domain]record{"a.test": {size: 1500}})
	if err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int64]bool{500: true, 501: false} {
		if err := f.q.CheckQuota("x.w.test", size); (err == nil) != want {
			t.Errorf("%d octets beside 1500: %v", size, err)
		}
	}
	f.q.mu.Lock()
	f.q.cancel(r)
	f.q.mu.Unlock()
	if err := f.q.CheckQuota("x.w.test", 2000); err != nil {
		t.Error(err)
	}
}

// The age of a message is counted from its arrival, also if it was not to be sent before
// a later time.
func TestCatalogueTellsTheAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQuotaFixture(t, Quota{})
		env := envelope(t, "s@s.test", "u@a.test")
		env.HoldUntil = env.Received.Add(24 * time.Hour)
		if err := f.try(env); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		for line, err := range f.q.Catalogue(t.Context(), "a.test") { // the IDs of these tests run ahead
			if err != nil || line.Age < 3500 || line.Age > 3600 {
				t.Errorf("%+v, %v", line, err)
			}
		}
	})
}

// Many senders at once never exceed a quota: what a message comes to is reserved before it is
// stored, and given back when that fails.
func TestQuotaOfManySenders(t *testing.T) {
	f := newQuotaFixture(t, Quota{Messages: 20})
	f.db.failCommits(true)
	if err := f.try(envelope(t, "s@s.test", "u@a.test")); err == nil {
		t.Fatal("stored on a disk that fails")
	}
	f.db.failCommits(false)
	var all sync.WaitGroup
	var taken atomic.Int64
	for i := range 60 {
		env := envelope(t, "s@s.test", "u@a.test", fmt.Sprintf("u@n%d.w.test", i))
		all.Go(func() {
			if f.try(env) == nil {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	f.check("many senders")
	if taken.Load() != 20 {
		t.Errorf("%d messages were taken, want 20", taken.Load())
	}
	if len(f.q.reserved) != 0 {
		t.Errorf("still reserved: %v", f.q.reserved)
	}
}

// A report that a quota refuses is made later; a copy of it is left out.
func TestQuotaOfReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQuotaFixture(t, Quota{Messages: 1})
		f.policy.Copies = address(t, "copies@x.w.test")
		f.accept("", "u@a.test")
		f.accept("", "u@y.w.test")
		f.accept("s@a.test", "u@free.test")
		f.setAnswer(always(mail.Reply{Code: 550}, "host"))
		defer f.run()()
		synctest.Wait()
		if n := f.q.Count(Reports); n != 1 {
			t.Fatalf("%d reports wait, want 1: its sender's domain is full", n)
		}
		l, err := f.q.Lease("a.test", "test")
		if err != nil {
			t.Fatal(err)
		}
		always(mail.Reply{Code: 250}, "host")(l)
		l.Close()
		time.Sleep(time.Hour)
		if n, waits := f.q.Count(Reports), f.q.Count("a.test"); n != 0 || waits != 1 {
			t.Errorf("%d reports wait and %d are held, want the one to be held", n, waits)
		}
		if n := f.q.Count("x.w.test"); n != 0 {
			t.Errorf("%d copies over the quota", n)
		}
	})
}

// The log warns once when a share of the quota is used, and again after it was below.
func TestQuotaWarns(t *testing.T) {
	f := newQuotaFixture(t, Quota{Messages: 10, Warn: 50})
	var log bytes.Buffer
	f.dep.Journal = journal.New(slog.New(slog.NewTextHandler(&log, nil)))
	f.reopen()
	for n, want := range []int{0, 0, 0, 0, 1, 1, 1} {
		f.accept("s@s.test", fmt.Sprintf("u@n%d.w.test", n))
		if got := strings.Count(log.String(), `msg="near quota" domain=*.w.test percent=50 messages=5`); got != want {
			t.Errorf("%d warnings with %d messages, want %d", got, n+1, want)
		}
	}
	if _, err := f.q.Delete(t.Context(), Filter{All: true}, false); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		f.accept("s@s.test", "u@x.w.test")
	}
	if got := strings.Count(log.String(), "near quota"); got != 2 {
		t.Errorf("%d warnings at the second time, want 2", got)
	}
}
