// SPDX-License-Identifier: Apache-2.0

package segment

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/disk"
)

// sample is an event of about size octets with keys.
func sample(size, keys int) *Event {
	e := &Event{At: time.Unix(1_800_000_000, 5).UTC(), Site: 3, Name: "accepted", Attrs: []slog.Attr{
		slog.String("msg_id", "06h0ihfrd1q41uvs0vgb"), slog.String("not common", "x"), slog.Int("recipients", -1), slog.Bool("tls", true), slog.Bool("odd", false),
		slog.Duration("age", time.Hour), slog.Time("again", time.Unix(7, 8).UTC()), slog.Any("other", 1.5), slog.String("why", strings.Repeat("y", size)),
	}}
	for n := range keys {
		e.Keys = append(e.Keys, fmt.Sprint("Key ", n))
	}
	return e
}

// Records of all sizes are read as they were written; one that is too large loses its last
// attributes and keys.
func TestRecords(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "records"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var offsets []int64
	var all []byte
	cases := []struct{ size, keys, attrs, keptKeys int }{{0, 0, 9, 0}, {10, 1, 9, 1}, {400, 3, 9, 3}, {100_000, 2, 9, 2}, {300_000, 2, 4, 2}, {5, 20_000, 9, maxKeys}}
	for _, tt := range cases {
		offsets = append(offsets, int64(len(all)))
		all = Append(all, sample(tt.size, tt.keys))
	}
	if _, err := file.Write(all); err != nil {
		t.Fatal(err)
	}
	var scanned []int64
	var whole [][]byte
	if damaged, err := Scan(file, 0, func(at int64, raw []byte) bool {
		scanned, whole = append(scanned, at), append(whole, slices.Clone(raw))
		return true
	}); err != nil || damaged != 0 || !slices.Equal(scanned, offsets) {
		t.Fatalf("records at %v, %d damaged, %v; want %v", scanned, damaged, err, offsets)
	}
	for i, tt := range cases {
		want := sample(tt.size, 0)
		want.Attrs = want.Attrs[:tt.attrs]
		want.Keys = nil
		for j, a := range want.Attrs {
			if a.Key == "other" {
				want.Attrs[j].Value = slog.StringValue("1.5")
			}
		}
		got, err := ReadAt(file, offsets[i])
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || got.Time("again") != want.Time("again") || got.Time("msg_id") != (time.Time{}) || got.Attr("missing") != "" {
			t.Errorf("%+v: %.300v, %v", tt, got, err)
		}
		for n := range tt.keys {
			if n%500 == 0 && HasKey(whole[i], Hashes([]string{"none", fmt.Sprint("kEY ", n)})) != (n < tt.keptKeys) {
				t.Errorf("%+v: key %d", tt, n)
			}
		}
	}
	for _, at := range []int64{1, offsets[1] + 3, int64(len(all)) - 3, int64(len(all)), int64(len(all)) + 100} {
		if e, err := ReadAt(file, at); err != ErrDamaged {
			t.Errorf("at %d: %v, %v", at, e, err)
		}
	}
	if err := file.Truncate(int64(len(all)) - 1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAt(file, offsets[len(offsets)-1]); err != ErrDamaged {
		t.Error("half of a record is read:", err)
	}
}

// An index has each key of each event, in as many buckets as it takes.
func TestIndex(t *testing.T) {
	for _, count := range []int{0, 1, 5000} {
		dir := t.TempDir()
		var all []byte
		want := map[string][]uint32{}
		for n := range count {
			e := sample(n%10, 0)
			e.At = e.At.Add(time.Duration(n) * time.Second)
			for _, k := range []string{fmt.Sprint("own ", n), fmt.Sprint("of ten ", n%10), "all"} {
				e.Keys, want[k] = append(e.Keys, k), append(want[k], uint32(len(all)))
			}
			all = Append(all, e)
		}
		if err := os.WriteFile(filepath.Join(dir, Name(7)), all, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(filepath.Join(dir, Name(7)))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		s, err := Summarize(file)
		if err != nil || s.Events != count || s.Damaged != 0 || s.End != int64(len(all)) {
			t.Fatalf("%+v, %v", s, err)
		}
		if err := os.WriteFile(filepath.Join(dir, IndexName(7)), IndexOf(s), 0o600); err != nil {
			t.Fatal(err)
		}
		folder, err := disk.OpenFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		if list, err := List(folder); err != nil || !slices.Equal(list, []int{7}) {
			t.Errorf("segments %v, %v", list, err)
		}
		x, err := OpenIndex(folder, 7)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if x.Events != count || x.Damaged != 0 || !x.First.Equal(s.First.At) || !x.Last.Equal(s.Last.At) {
			t.Errorf("%+v of %+v", x, s)
		}
		want["none"] = nil
		for key, offsets := range want {
			if got, err := x.Find(hash(key), nil); err != nil || !slices.Equal(got, offsets) {
				t.Errorf("%d events, %s: at %v, %v; want %v", count, key, got, err, offsets)
			}
		}
	}
}
