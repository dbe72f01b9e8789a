// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/trace/search"
	"restante/engine/trace/segment"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":       "the trace knows nothing of settings",
		"/engine/mail":    "the trace does not know what events mean",
		"/engine/journal": "the journal gives events, and is given none",
		"/internal/kv":    "the trace is files of its own",
	})
}

var quiet = slog.New(slog.DiscardHandler)

func open(dir string, l Limits) *Store { return New(filepath.Join(dir, "trace"), l, quiet) }

var month = Limits{Age: 30 * 24 * time.Hour, Bytes: 1 << 30}

// event is one that is found by "key n" and by "all".
func event(n int) Event {
	return Event{Site: n % 3, Name: "accepted", Keys: []string{fmt.Sprintf("Key %d", n), "all"}, Attrs: []slog.Attr{
		slog.Int("n", n), slog.String("text", strings.Repeat("x", n%50)), slog.Bool("odd", n%2 == 1), slog.Duration("took", time.Second), slog.Time("again", time.Unix(int64(n), 0).UTC()),
	}}
}

// find gives the attribute n of the events of a key.
func find(t *testing.T, s *Store, q search.Query) (out []string, found search.Found) {
	t.Helper()
	found, err := search.Search(t.Context(), s.Dir(), q)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found.Events {
		out = append(out, e.Attr("n"))
	}
	return out, found
}

func TestEventsAreFoundAsTheyWere(t *testing.T) {
	s := open(t.TempDir(), Limits{Age: month.Age, Bytes: 1 << 20}) // segments of 128 KiB
	defer s.flush(true, true)
	const count = 3000
	for n := range count {
		s.Add(event(n))
		if n%500 == 0 {
			s.Flush()
		}
	}
	s.Flush()
	if st := s.Status(); st.Events != count || st.Err != nil || st.Lost != 0 || len(s.files.closed) < 2 {
		t.Fatalf("%+v, %d segments are closed", st, len(s.files.closed))
	}
	for _, n := range []int{0, 1, 777, count - 1} {
		got, found := find(t, s, search.Query{Keys: []string{fmt.Sprintf("KEY %d", n)}})
		if len(got) != 1 || len(found.Damage) > 0 || found.More {
			t.Fatalf("event %d: %v, %+v", n, got, found)
		}
		e, want := found.Events[0], event(n)
		if e.Site != want.Site || e.Name != want.Name || fmt.Sprint(e.Attrs) != fmt.Sprint(want.Attrs) || e.Time("again") != want.Attrs[4].Value.Time() {
			t.Errorf("event %d is %+v, and was %+v", n, e, want)
		}
	}
	if got, _ := find(t, s, search.Query{Keys: []string{"key 3001", "nothing"}}); got != nil {
		t.Errorf("found %v", got)
	}
	got, found := find(t, s, search.Query{Keys: []string{"all", "key 5"}, Limit: 3})
	if !slices.Equal(got, []string{"2997", "2998", "2999"}) || !found.More {
		t.Errorf("the newest are %v, more %v", got, found.More)
	}
	if got, _ := find(t, s, search.Query{Keys: []string{"all"}, Keep: func(e *Event) bool { return e.Attr("n") == "7" }, Limit: 1}); !slices.Equal(got, []string{"7"}) {
		t.Errorf("kept %v", got)
	}
	for _, e := range mustList(t, s.Dir()) {
		if info, err := e.Info(); err != nil || os.PathSeparator == '/' && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// span gives since when there are events, and the gaps.
func span(t *testing.T, s *Store) (since time.Time, gaps []search.Gap, err error) {
	t.Helper()
	_, found := find(t, s, search.Query{Keys: []string{search.LostKey}})
	for _, e := range found.Events {
		if g, ok := search.GapOf(e); ok {
			gaps = append(gaps, g)
		}
	}
	since, err = search.Begin(s.Dir())
	return since, gaps, err
}

func mustList(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A next process goes on where the last one was killed, whatever is torn, and says from
// when to when something may be missing. After a stop nothing is.
func TestTheNextStartGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name string
		tear func(b []byte) []byte
		want int // of 10 events
		gap  bool
	}{
		{"killed", func(b []byte) []byte { return b }, 10, true},
		{"torn", func(b []byte) []byte { return b[:len(b)-3] }, 9, true},
		{"zeros", func(b []byte) []byte { return append(b[:len(b)-3], make([]byte, 5000)...) }, 9, true},
		{"noise", func(b []byte) []byte { return append(b, strings.Repeat("noise", 99)...) }, 10, true},
		{"nothing reads", func(b []byte) []byte { return b[:20] }, 0, true},
		{"nothing there", func(b []byte) []byte { return nil }, 0, true},
		{"stopped", nil, 10, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(dir, month)
			for n := range 10 {
				s.Add(event(n))
			}
			s.flush(true, tt.tear == nil)
			if file := filepath.Join(s.Dir(), segment.Name(1)); tt.tear != nil {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, tt.tear(b), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s = open(dir, month)
			s.Add(event(10))
			s.Flush()
			got, found := find(t, s, search.Query{Keys: []string{"all"}})
			if len(got) != tt.want+1 || len(found.Damage) > 0 || s.Status().Err != nil {
				t.Errorf("found %v, %v; %+v", got, found.Damage, s.Status())
			}
			since, gaps, err := span(t, s)
			if err != nil || since.IsZero() || (len(gaps) > 0) != tt.gap || tt.gap && (gaps[0].Count != 0 || !gaps[0].Has(time.Now().Add(-time.Microsecond)) && gaps[0].Until.Before(gaps[0].Since)) {
				t.Errorf("since %v, gaps %v, %v", since, gaps, err)
			}
		})
	}
}

// What is damaged costs itself, and is told.
func TestDamageCostsItself(t *testing.T) {
	fill := func(t *testing.T) *Store {
		s := open(t.TempDir(), Limits{Age: month.Age, Bytes: 1 << 20})
		for n := range 1500 {
			s.Add(event(n))
		}
		s.flush(true, true)
		if len(s.files.closed) == 0 {
			t.Fatal("no segment is closed")
		}
		return s
	}
	change := func(t *testing.T, file string, do func([]byte) []byte) {
		t.Helper()
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, do(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, dir string)
		lost int
		told bool
	}{
		{"an event", func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, segment.Name(1)), func(b []byte) []byte { b[20] ^= 1; return b })
		}, 1, true},
		{"an index", func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, segment.IndexName(1)), func(b []byte) []byte { b[20] ^= 1; return b })
		}, 0, true},
		{"a bucket", func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, segment.IndexName(1)), func(b []byte) []byte {
				for i := len(b) / 2; i < len(b); i++ {
					b[i] ^= 1
				}
				return b
			})
		}, 0, true},
		{"an index is gone", func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, segment.IndexName(1))); err != nil {
				t.Fatal(err)
			}
		}, 0, false},
		{"an index is empty", func(t *testing.T, dir string) {
			change(t, filepath.Join(dir, segment.IndexName(1)), func([]byte) []byte { return nil })
		}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := fill(t)
			tt.do(t, s.Dir())
			lost, told := 0, false
			for n := 0; n < 1500; n += 50 {
				got, found := find(t, s, search.Query{Keys: []string{fmt.Sprintf("key %d", n)}})
				told = told || len(found.Damage) > 0
				if len(got) == 0 {
					lost++
				}
			}
			if lost != tt.lost || told != tt.told {
				t.Errorf("%d events are lost, damage is told: %v", lost, told)
			}
			next := open(filepath.Dir(s.Dir()), Limits{Age: month.Age, Bytes: 1 << 20})
			next.Add(event(1500))
			next.flush(true, true)
			if got, _ := find(t, next, search.Query{Keys: []string{"all"}}); len(got) != 1501-tt.lost || next.Status().Err != nil {
				t.Errorf("the next start has %d events, %+v", len(got), next.Status())
			}
		})
	}
}

// A damaged length costs its record, and none of those behind it: in a closed segment, in
// one whose index is gone, and in the open one, where the next start goes on behind them.
func TestDamagedLength(t *testing.T) {
	for _, room := range []int64{1 << 19, 1 << 30} { // the first segment is closed, or open
		for _, length := range []struct {
			name string
			at   int
			bit  byte
		}{{"little more", 0, 2}, {"far more", 2, 1}, {"beyond the file", 1, 0x80}, {"too much", 3, 0x80}} {
			for _, which := range []int{0, 100} {
				t.Run(fmt.Sprint(room, " ", length.name, " ", which), func(t *testing.T) {
					limits := Limits{Age: month.Age, Bytes: room}
					s := open(t.TempDir(), limits)
					at := 0
					for n := range 1001 {
						e := event(n)
						e.At = time.Now() // as long as that of Add
						if n < which {
							at += len(segment.Append(nil, &e))
						}
						s.Add(e)
					}
					s.flush(true, true)
					damageAt(t, filepath.Join(s.Dir(), segment.Name(1)), at+length.at, length.bit)
					if err := os.Remove(filepath.Join(s.Dir(), segment.IndexName(1))); (err == nil) != (room == 1<<19) {
						t.Fatal(err)
					}
					for _, start := range []string{"before", "after"} {
						got, found := find(t, s, search.Query{Keys: []string{"all"}})
						missing, _ := find(t, s, search.Query{Keys: []string{fmt.Sprint("key ", which)}})
						since, _, err := span(t, s)
						if len(got) != 1000 || len(missing) > 0 || len(found.Damage) != 1 || err != nil || since.IsZero() {
							t.Errorf("%s the next start: found %d and %v, damage %v; since %v, %v", start, len(got), missing, found.Damage, since, err)
						}
						s = open(filepath.Dir(s.Dir()), limits)
						s.flush(true, false)
						if st := s.Status(); st.Damaged != 1 || st.Events != 1001 || st.Err != nil { // one says that it ended
							t.Errorf("%s the next start: %+v", start, st)
						}
					}
				})
			}
		}
	}
}

func damageAt(t *testing.T, file string, at int, bit byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		b[at] ^= bit
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A segment that cannot be read at a start, or whose index cannot be written then, stays,
// and is read later.
func TestASegmentThatIsNotReadNowStays(t *testing.T) {
	for _, tt := range []struct {
		name    string
		of      func(int) string // becomes a folder
		damaged int
	}{{"events", segment.Name, 1}, {"index", segment.IndexName, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			limits := Limits{Age: month.Age, Bytes: 1 << 20}
			s := open(t.TempDir(), limits)
			for n := range 1500 {
				s.Add(event(n))
			}
			s.flush(true, true)
			file, aside := filepath.Join(s.Dir(), tt.of(1)), filepath.Join(t.TempDir(), "aside")
			err := os.Rename(file, aside)
			if err == nil && tt.damaged > 0 {
				err = os.Remove(filepath.Join(s.Dir(), segment.IndexName(1)))
			}
			if err == nil {
				err = os.Mkdir(file, 0o700)
			}
			if err != nil {
				t.Fatal(err)
			}
			next := open(filepath.Dir(s.Dir()), limits)
			next.Add(event(1500))
			next.flush(true, true)
			if st := next.Status(); st.Err != nil || st.Damaged != tt.damaged || st.Since.Before(time.Now().Add(-time.Hour)) {
				t.Errorf("%+v", st)
			}
			if err = os.Remove(file); err == nil {
				err = os.Rename(aside, file)
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, found := find(t, next, search.Query{Keys: []string{"all"}}); len(got) != 1501 || len(found.Damage) > 0 {
				t.Errorf("found %d events, damage %v", len(got), found.Damage)
			}
		})
	}
}

// The oldest segments go, by age and by size, and all when nothing is wanted.
func TestOldEventsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t.TempDir(), Limits{Age: 3 * 24 * time.Hour, Bytes: 1 << 20})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		for n := range 10 {
			s.Add(event(n))
			time.Sleep(24*time.Hour + 2*time.Second)
		}
		got, _ := find(t, s, search.Query{Keys: []string{"all"}})
		if !slices.Equal(got, []string{"7", "8", "9"}) {
			t.Errorf("after ten days: %v", got)
		}
		time.Sleep(10 * 24 * time.Hour)
		if got, _ := find(t, s, search.Query{Keys: []string{"all"}}); got != nil || s.Status().Bytes != 0 {
			t.Errorf("ten days later: %v, %+v", got, s.Status())
		}
		for n := range 20000 {
			s.Add(event(n))
			if n%1000 == 0 {
				time.Sleep(2 * time.Second)
			}
		}
		time.Sleep(2 * time.Second)
		if st := s.Status(); st.Bytes > 1<<20 || st.Bytes < 1<<19 || st.Lost > 0 {
			t.Errorf("20000 events take %+v", st)
		}
		if got, _ := find(t, s, search.Query{Keys: []string{"key 19999"}}); len(got) != 1 {
			t.Error("the newest is gone")
		}
		s.SetLimits(Limits{})
		time.Sleep(2 * time.Second)
		if all := mustList(t, s.Dir()); len(all) > 0 || s.Status().Events != 0 {
			t.Errorf("nothing is wanted, and there are %v", all)
		}
		s.Add(event(1))
		cancel()
		<-done
		if all := mustList(t, s.Dir()); len(all) > 0 {
			t.Errorf("nothing is wanted, and there are %v", all)
		}
	})
}

// Add never waits: what finds no room, or no folder, is left out and counted, and the
// trace has that where it goes on.
func TestWhatIsLeftOutIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(dir, month)
	for n := range maxPending + 7 {
		s.Add(event(n))
	}
	s.Flush()
	_, gaps, err := span(t, s)
	if err != nil || len(gaps) != 1 || gaps[0].Count != 7 || s.Status().Lost != 7 || s.Status().Events != maxPending+1 {
		t.Fatalf("gaps %v, %v, %+v", gaps, err, s.Status())
	}
}

// A folder that refuses everything costs events alone.
func TestABrokenFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "trace")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(dir, month)
	for n := range 5 {
		s.Add(event(n))
	}
	s.Flush()
	s.Add(event(5))
	s.Flush()
	if st := s.Status(); st.Err == nil || st.Lost != 6 {
		t.Fatalf("%+v", st)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.Add(event(6))
	s.Flush()
	_, gaps, err := span(t, s)
	got, _ := find(t, s, search.Query{Keys: []string{"all"}})
	if st := s.Status(); st.Err != nil || st.Lost != 6 || err != nil || len(gaps) != 1 || gaps[0].Count != 6 || !slices.Equal(got, []string{"6"}) {
		t.Errorf("%+v; gaps %v, %v; found %v", st, gaps, err, got)
	}
}

// Following gives each event once, over the ends of segments, and those of keys that an
// event gave.
func TestFollow(t *testing.T) {
	s := open(t.TempDir(), Limits{Age: month.Age, Bytes: 1 << 20})
	s.Add(event(0))
	from := s.End()
	for n := 1; n < 2000; n++ {
		s.Add(event(n))
	}
	s.Flush()
	var got []string
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := search.Follow(ctx, s.Dir(), from, []string{"key 0", "key 5"}, s.Written, func(e *Event) ([]string, bool) {
		if got = append(got, e.Attr("n")); len(got) == 1 {
			return []string{"key 1998"}, true
		}
		if len(got) == 2 {
			s.Add(event(5))
			go s.Flush()
			return nil, true
		}
		return nil, false
	})
	if err != nil || !slices.Equal(got, []string{"5", "1998", "5"}) {
		t.Errorf("followed %v, %v", got, err)
	}
}

// A store is compared with a model over random additions, starts and searches.
func TestAgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir, limits := t.TempDir(), Limits{Age: month.Age, Bytes: 8 << 20}
	s := open(dir, limits)
	model := map[string][]string{}
	for n := range 4000 {
		e := event(n)
		e.Keys = nil
		for range 1 + rnd.IntN(3) {
			k := fmt.Sprintf("k%d", rnd.IntN(50))
			if !slices.Contains(e.Keys, k) {
				e.Keys, model[k] = append(e.Keys, k), append(model[k], fmt.Sprint(n))
			}
		}
		if s.Add(e); rnd.IntN(300) == 0 {
			if s.flush(rnd.IntN(2) == 0, rnd.IntN(2) == 0); rnd.IntN(2) == 0 {
				s = open(dir, limits)
			}
		}
	}
	s.Flush()
	for k, want := range model {
		if got, _ := find(t, s, search.Query{Keys: []string{k}}); !slices.Equal(got, want) {
			t.Fatalf("%s: %v, want %v", k, got, want)
		}
	}
}

func FuzzSegment(f *testing.F) {
	e := event(7)
	f.Add(segment.Append(nil, &e))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "trace"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{segment.Name(1), segment.Name(2), segment.IndexName(2)} {
			if err := os.WriteFile(filepath.Join(dir, "trace", name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := open(dir, month)
		s.Add(event(1))
		s.Flush()
		if got, _ := find(t, s, search.Query{Keys: []string{"key 1"}}); len(got) == 0 || s.Status().Err != nil {
			t.Errorf("found %v, %+v", got, s.Status())
		}
	})
}
