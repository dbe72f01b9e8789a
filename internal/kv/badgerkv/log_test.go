// SPDX-License-Identifier: Apache-2.0

package badgerkv

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/kv"
)

// killed makes a store of n commits as a process leaves it that was killed,
// and says where each commit ends in its log.
func killed(t *testing.T, n int) (dir string, ends []int) {
	t.Helper()
	db, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	source := db.(*store).dir
	name := filepath.Join(source, "00001.mem")
	for i := range n {
		if err := db.Commit(t.Context(), kv.Put(fmt.Appendf(nil, "a%d", i), []byte("value")), kv.Put(fmt.Appendf(nil, "b%d", i), nil)); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		end, txns := replay(b)
		if txns.last == 0 || len(ends) > 0 && end <= ends[len(ends)-1] {
			t.Fatalf("commit %d ends at %d, transactions %v", i, end, txns)
		}
		ends = append(ends, end)
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	// The rest is zeros; without them the tests are a hundred times as fast.
	if err := os.Truncate(filepath.Join(dir, "00001.mem"), 8<<10); err != nil {
		t.Fatal(err)
	}
	return dir, ends
}

// overwrite leaves the file as it is but for its octets: truncating it first
// would have it written to the disk each time.
func overwrite(t *testing.T, name string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

// Whatever octet of a log that was not closed is wrong: where commits behind
// it show that it was on disk, it is damage.
func TestDamagedLogIsNotTakenForItsEnd(t *testing.T) {
	dir, ends := killed(t, 5)
	name := filepath.Join(dir, "00001.mem")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	beforeLast := ends[len(ends)-2]
	for at := logHeader; at < ends[len(ends)-1]; at++ {
		for _, wrong := range []byte{whole[at] ^ 0xff, whole[at] ^ 1, 0} {
			if wrong == whole[at] {
				continue
			}
			b := append([]byte(nil), whole...)
			b[at] = wrong
			overwrite(t, name, b)
			err := verifyLogs(dir, 0, slog.New(slog.DiscardHandler))
			if at < beforeLast && !errors.Is(err, kv.ErrDamaged) {
				t.Errorf("octet %d of %d is %#x: %v", at, beforeLast, wrong, err)
			}
			if at >= beforeLast && err != nil { // as a crash may leave it
				t.Errorf("octet %d, in the last commit, is %#x: %v", at, wrong, err)
			}
		}
	}
}

func TestLogThatIsCutOff(t *testing.T) {
	dir, ends := killed(t, 3)
	name := filepath.Join(dir, "00001.mem")
	atEnd := map[int]bool{logHeader: true}
	for _, end := range ends {
		atEnd[end] = true
	}
	for size := ends[2]; size >= 0; size-- {
		if err := os.Truncate(name, int64(size)); err != nil {
			t.Fatal(err)
		}
		// Badger itself cuts logs, where a commit ends.
		if err := verifyLogs(dir, 0, slog.New(slog.DiscardHandler)); errors.Is(err, kv.ErrDamaged) == atEnd[size] {
			t.Errorf("cut to %d: %v", size, err)
		}
	}
}

func TestLogNames(t *testing.T) {
	dir := t.TempDir()
	want := []string{"00009.mem", "99999.mem", "100000.mem", "100001.mem"}
	for _, name := range want {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := logNames(dir)
	for i, name := range got {
		got[i] = filepath.Base(name)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("logNames = %v, %v", got, err)
	}
}

// A process may be ended when Badger has made the file of its next log and not
// given it a size: what is in the logs before it is there.
func TestLogThatWasNotBegun(t *testing.T) {
	dir, _ := killed(t, 3)
	for n := 2; n < 5; n++ {
		name := filepath.Join(dir, fmt.Sprintf("%05d.mem", n))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if v, ok, err := db.Get(fmt.Appendf(nil, "a%d", i)); string(v) != "value" || !ok || err != nil {
				t.Errorf("commit %d: %q, %v, %v", i, v, ok, err)
			}
		}
		more := fmt.Appendf(nil, "more%d", n)
		if err := db.Commit(t.Context(), kv.Put(more, more)); err != nil {
			t.Fatal(err)
		}
		dir = image(t, dir)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		// The same where something was in it is damage.
		logs, err := filepath.Glob(filepath.Join(dir, "*.mem"))
		if err != nil || len(logs) == 0 {
			t.Fatal(logs, err)
		}
		hurt := copyDir(t, dir)
		if err := os.Truncate(filepath.Join(hurt, filepath.Base(slices.Max(logs))), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(hurt, Options{}); !errors.Is(err, kv.ErrDamaged) {
			t.Errorf("a log that lost what was in it: %v", err)
		}
		if _, err := fmt.Sscanf(filepath.Base(slices.Max(logs)), "%d.mem", &n); err != nil {
			t.Fatal(err)
		}
	}
}

// Badger flushes a log to a table, truncates it and removes it. A process may be
// killed in between; an empty log whose commits are in no table is damage.
func TestLogThatWasBeingRemoved(t *testing.T) {
	for _, more := range []bool{true, false} { // whether the next log has a commit
		dir, _ := killed(t, 3)
		before := copyDir(t, dir)
		db, err := Open(dir, Options{}) // flushes the log and removes it
		if err != nil {
			t.Fatal(err)
		}
		awaitGone(t, filepath.Join(dir, "00001.mem"))
		if more {
			if err := db.Commit(t.Context(), kv.Put([]byte("more"), nil)); err != nil {
				t.Fatal(err)
			}
		}
		dir = image(t, dir)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "00001.mem"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Open(dir, Options{})
		if err != nil {
			t.Fatalf("a log that was being removed, more %v: %v", more, err)
		}
		if v, _, err := again.Get([]byte("a2")); string(v) != "value" || err != nil {
			t.Errorf("a2 = %q, %v", v, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}

		// The same without the tables.
		if err := os.Truncate(filepath.Join(before, "00001.mem"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(before, Options{}); !errors.Is(err, kv.ErrDamaged) {
			t.Errorf("a log that lost its commits: %v", err)
		}
	}
}

// awaitGone returns when there is no such file.
func awaitGone(t *testing.T, name string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(time.Minute)
	for {
		if _, err := os.Stat(name); errors.Is(err, os.ErrNotExist) {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s is still there", name)
		}
	}
}

// A crash may leave any part of the last commit, also its end alone.
func TestLastCommitBrokenOff(t *testing.T) {
	dir, ends := killed(t, 3)
	name := filepath.Join(dir, "00001.mem")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for from := ends[1]; from < ends[2]; from += 7 {
		for to := from + 1; to <= ends[2]; to += 5 {
			b := append([]byte(nil), whole...)
			clear(b[from:to])
			overwrite(t, name, b)
			if err := verifyLogs(dir, 0, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatalf("%d to %d: %v", from, to, err)
			}
		}
	}
	db, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i, want := range []bool{true, true, false} {
		if _, ok, err := db.Get(fmt.Appendf(nil, "a%d", i)); ok != want || err != nil {
			t.Errorf("commit %d: %v, %v", i, ok, err)
		}
	}
}

func TestOpenRefusesDamagedLog(t *testing.T) {
	dir, ends := killed(t, 5)
	f, err := os.OpenFile(filepath.Join(dir, "00001.mem"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("wrong"), int64(ends[1]+10)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := Open(dir, Options{}); !errors.Is(err, kv.ErrDamaged) {
		t.Fatalf("Open = %v", err)
	}
	// Nothing was changed: with the octets put right, all is there.
	if _, err := Open(dir, Options{}); !errors.Is(err, kv.ErrDamaged) {
		t.Errorf("a second Open = %v", err)
	}
}

func TestDamageIsToldInOneLine(t *testing.T) {
	dir, _ := killed(t, 1)
	f, err := os.OpenFile(filepath.Join(dir, "MANIFEST"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{99}, 7); err != nil { // the version
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, kv.ErrDamaged) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open = %v", err)
	}
}

// image copies an open store as a process leaves it that is killed. While
// Badger puts tables in place of others, a copy may have a manifest that is
// newer than the files beside it, as no crash leaves it; then it is made again.
func image(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "MANIFEST")
	for range 1000 {
		before, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		err = os.CopyFS(to, os.DirFS(dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		after, rerr := os.ReadFile(name)
		if err == nil && rerr == nil && bytes.Equal(before, after) {
			return to
		}
	}
	t.Fatal("the store does not come to rest")
	return ""
}

// A store that crashes again and again must not need more room each time.
func TestTableStaysWhatItIs(t *testing.T) {
	dir := t.TempDir()
	for range 5 {
		db, err := open(dir, Options{MemTable: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if got := db.space.memTable; got != 1<<20 {
			t.Errorf("a table has %d octets", got)
		}
		if err := db.Commit(t.Context(), kv.Put([]byte("k"), []byte("v"))); err != nil {
			t.Fatal(err)
		}
		next := image(t, dir)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		dir = next // as a process leaves it that was killed
	}
	// One that Badger has cut counts as it is.
	name := filepath.Join(t.TempDir(), "00001.mem")
	if err := os.WriteFile(name, []byte(strings.Repeat("x", 3000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := tableOf(name); n != 3000 || err != nil {
		t.Errorf("tableOf = %d, %v", n, err)
	}
}
