// SPDX-License-Identifier: Apache-2.0

package search

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/engine/trace/segment"
)

var start = time.Unix(1_800_000_000, 0).UTC()

// folder has two segments of ten events each, one a minute; the first has an index.
// Offsets are those of the second one's.
func folder(t *testing.T) (dir string, offsets []int64) {
	t.Helper()
	dir = t.TempDir()
	for n := 1; n <= 2; n++ {
		var all []byte
		offsets = nil
		for i := range 10 {
			number := 10*(n-1) + i
			offsets = append(offsets, int64(len(all)))
			all = segment.Append(all, &Event{At: start.Add(time.Duration(number) * time.Minute), Name: "x", Keys: []string{"all", fmt.Sprint("key ", number)}, Attrs: []slog.Attr{slog.Int("n", number)}})
		}
		if err := os.WriteFile(filepath.Join(dir, segment.Name(n)), all, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.Open(filepath.Join(dir, segment.Name(1)))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s, err := segment.Summarize(file)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, segment.IndexName(1)), segment.IndexOf(s), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, offsets
}

// numbers are the attributes n.
func numbers(f Found) string {
	var out []string
	for _, e := range f.Events {
		out = append(out, e.Attr("n"))
	}
	return strings.Join(out, " ")
}

func TestConditions(t *testing.T) {
	dir, offsets := folder(t)
	all := []string{"all"}
	for _, tt := range []struct {
		name string
		q    Query
		want string
		more bool
	}{
		{"two keys of one event", Query{Keys: []string{"all", "key 3", "key 12"}, Limit: 8}, "12 13 14 15 16 17 18 19", true},
		{"two keys of one event in the first", Query{Keys: []string{"key 2", "key 3", "all"}, Before: &Position{Segment: 1, Offset: 1 << 40}, Limit: 10}, "0 1 2 3 4 5 6 7 8 9", false},
		{"one key of each segment", Query{Keys: []string{"KEY 12", "key 3"}}, "3 12", false},
		{"the limit is the number", Query{Keys: []string{"key 3", "key 12"}, Limit: 2}, "3 12", false},
		{"no key", Query{}, "", false},
		{"since within the first", Query{Keys: all, Since: start.Add(8 * time.Minute)}, "8 9 10 11 12 13 14 15 16 17 18 19", false},
		{"since within the second", Query{Keys: all, Since: start.Add(17*time.Minute + 1)}, "18 19", false},
		{"since later", Query{Keys: all, Since: start.Add(time.Hour)}, "", false},
		{"kept", Query{Keys: all, Keep: func(e *Event) bool { return strings.HasSuffix(e.Attr("n"), "5") }, Limit: 1}, "15", true},
		{"before the second", Query{Keys: all, Before: &Position{Segment: 1, Offset: 1 << 40}, Limit: 2}, "8 9", true},
		{"before one of the second", Query{Keys: all, Before: &Position{Segment: 2, Offset: offsets[2]}, Limit: 3}, "9 10 11", true},
		{"before all", Query{Keys: all, Before: &Position{Segment: 1}}, "", false},
	} {
		got, err := Search(t.Context(), dir, tt.q)
		if err != nil || numbers(got) != tt.want || got.More != tt.more || len(got.Damage) > 0 {
			t.Errorf("%s: %s, more %v, %q, %v; want %s, %v", tt.name, numbers(got), got.More, got.Damage, err, tt.want, tt.more)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Search(stopped, dir, Query{Keys: all}); !errors.Is(err, context.Canceled) {
		t.Error("a search goes on without its caller:", err)
	}
}

// A segment whose events are all too old is not opened.
func TestOldSegmentIsPassedOver(t *testing.T) {
	dir, _ := folder(t)
	if err := os.WriteFile(filepath.Join(dir, segment.Name(1)), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	for since, damaged := range map[time.Duration]int{0: 1, 10 * time.Minute: 0} {
		got, err := Search(t.Context(), dir, Query{Keys: []string{"key 3", "key 12"}, Since: start.Add(since)})
		if err != nil || numbers(got) != "12" || len(got.Damage) != damaged {
			t.Errorf("since %v: %s, %q, %v", since, numbers(got), got.Damage, err)
		}
	}
}

func TestFolderThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	got, err := Search(t.Context(), dir, Query{Keys: []string{"all"}})
	at, berr := Begin(dir)
	if err != nil || berr != nil || len(got.Events) > 0 || !at.IsZero() {
		t.Errorf("%+v, %v, %v, %v", got, at, err, berr)
	}
}

func TestBegin(t *testing.T) {
	dir, _ := folder(t)
	if at, err := Begin(dir); err != nil || !at.Equal(start) {
		t.Errorf("%v, %v", at, err)
	}
	if err := os.WriteFile(filepath.Join(dir, segment.Name(1)), nil, 0o600); err != nil { // nothing of it is left
		t.Fatal(err)
	}
	if at, err := Begin(dir); err != nil || !at.Equal(start.Add(10*time.Minute)) {
		t.Errorf("%v, %v", at, err)
	}
}

// Following begins behind a place, also where its segment is gone, and ends with its
// context or its caller.
func TestFollowing(t *testing.T) {
	dir, offsets := folder(t)
	never := func() <-chan struct{} { return nil }
	for _, tt := range []struct {
		from Position
		want []string
	}{
		{Position{Segment: 2, Offset: offsets[8]}, []string{"18", "19"}}, {Position{Segment: 3}, nil}, {Position{Segment: 1, Offset: 1 << 40}, []string{"10", "11"}}, {Position{}, []string{"0", "1"}},
	} {
		var got []string
		ctx, stop := context.WithCancel(t.Context())
		if tt.want == nil {
			stop()
		}
		err := Follow(ctx, dir, tt.from, []string{"all"}, never, func(e *Event) ([]string, bool) {
			got = append(got, e.Attr("n"))
			return nil, len(got) < 2
		})
		stop()
		if !slices.Equal(got, tt.want) || errors.Is(err, context.Canceled) != (tt.want == nil) || err != nil && tt.want != nil {
			t.Errorf("from %+v: %v, %v; want %v", tt.from, got, err, tt.want)
		}
	}
}
