// SPDX-License-Identifier: Apache-2.0

package badgerkv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"restante/internal/kv"
	"restante/internal/testpeer"
)

func mustOpen(t *testing.T, dir string) *store { return mustOpenWith(t, dir, Options{}) }

// mustOpenSmall opens a store with the smallest tables, for which a commit of
// few pairs is large.
func mustOpenSmall(t *testing.T, dir string) *store {
	return mustOpenWith(t, dir, Options{MemTable: 1})
}

func mustOpenWith(t *testing.T, dir string, opts Options) *store {
	t.Helper()
	db, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db.(*store)
}

func count(t *testing.T, db kv.DB) int {
	t.Helper()
	n := 0
	for _, err := range db.Scan(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// copyDir copies a store to which nobody commits just now, as a crash would
// leave it. Badger may be moving things about by itself; then once more.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	for range 200 {
		to := t.TempDir()
		before := listing(t, from)
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil && listing(t, from) == before {
			return to
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	t.Fatal("the store never comes to rest")
	return ""
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintln(&out, e.Name(), info.Size())
		}
	}
	return out.String()
}

func TestWhatWasCommittedOutlivesACrash(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	for i := range 50 {
		if err := db.Commit(t.Context(), kv.Put(fmt.Append(nil, i), []byte("v"))); err != nil {
			t.Fatal(err)
		}
		if i%10 != 9 {
			continue
		}
		crashed := mustOpen(t, copyDir(t, dir))
		if n := count(t, crashed); n != i+1 {
			t.Errorf("after %d commits and a crash: %d pairs", i+1, n)
		}
	}
}

func TestWaitingCommitsShareATransaction(t *testing.T) {
	var txns atomic.Int64
	opened, err := Open(t.TempDir(), Options{beforeTxn: func() error { txns.Add(1); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	db := opened.(*store)
	t.Cleanup(func() { db.Close() })
	const writers, each = 32, 30
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if err := db.Commit(t.Context(), kv.Put(fmt.Appendf(nil, "%d-%d", w, i), nil)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := txns.Load(); n >= writers*each/2 {
		t.Errorf("%d transactions for %d commits", n, writers*each)
	}
	if n := count(t, db); n != writers*each {
		t.Errorf("%d pairs", n)
	}
}

// A caller who gives up while others wait with him disturbs none of them.
func TestCallersThatGiveUp(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	var all sync.WaitGroup
	var mu sync.Mutex
	kept := 0
	for w := range 16 {
		all.Go(func() {
			for i := range 30 {
				ctx, cancel := context.WithCancel(t.Context())
				all.Go(cancel)
				err := db.Commit(ctx, kv.Put(fmt.Appendf(nil, "%d-%d", w, i), nil))
				switch {
				case err == nil:
					mu.Lock()
					kept++
					mu.Unlock()
				case !errors.Is(err, context.Canceled):
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := count(t, db); n != kept {
		t.Errorf("%d pairs, %d callers were told that theirs is kept", n, kept)
	}
}

func TestSecondOpenIsToldSo(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	_, err := Open(dir, Options{})
	if !errors.Is(err, kv.ErrInUse) || errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), dir) ||
		!strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("Open = %v", err)
	}
	if err := db.Commit(t.Context(), kv.Put([]byte("a"), nil)); err != nil {
		t.Errorf("the first is disturbed: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
}

// What a crash leaves cannot be read without a log being replayed, which writes.
func TestAStoreThatWasNotClosedIsNotReadOnly(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	if err := db.Commit(t.Context(), kv.Put([]byte("k"), []byte("v"))); err != nil {
		t.Fatal(err)
	}
	crashed := copyDir(t, dir)
	if _, err := Open(crashed, Options{ReadOnly: true}); !errors.Is(err, kv.ErrUnclean) {
		t.Errorf("Open = %v", err)
	}
	if err := mustOpen(t, crashed).Close(); err != nil {
		t.Fatal(err)
	}
	if db := mustOpenWith(t, crashed, Options{ReadOnly: true}); count(t, db) != 1 {
		t.Error("the pair is not there")
	}
}

// A large commit that is written and not finished has to be finished by writing.
func TestAStoreWithALargeCommitToFinishIsNotReadOnly(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	if err := db.commit.putAll([]kv.Op{kv.Put(markerKey, binary.BigEndian.AppendUint32(nil, 0))}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if names, err := logNames(dir); err != nil || len(names) > 0 {
		t.Fatalf("the store has logs %q, %v: it would be refused for them", names, err)
	}
	if _, err := Open(dir, Options{ReadOnly: true}); !errors.Is(err, kv.ErrUnclean) {
		t.Errorf("Open = %v", err)
	}
	if err := mustOpen(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	mustOpenWith(t, dir, Options{ReadOnly: true})
}

var errCut = errors.New("cut off by a test")

// A large commit is cut off at each of its transactions: what a start finds is
// all of it or nothing, and the stage is empty.
func TestLargeCommitCutOff(t *testing.T) {
	const pairs = 3000
	ops := []kv.Op{kv.Del([]byte("old"))}
	for i := range pairs {
		ops = append(ops, kv.Put(fmt.Appendf(nil, "k%06d", i), make([]byte, 100)))
	}
	outcomes := map[bool]int{}
	for cut := 1; ; cut++ {
		dir := t.TempDir()
		db := mustOpenSmall(t, dir)
		if err := db.Commit(t.Context(), kv.Put([]byte("old"), []byte("v"))); err != nil {
			t.Fatal(err)
		}
		left := cut
		db.beforeTxn = func() error {
			if left--; left == 0 {
				return errCut
			}
			return nil
		}
		err := db.Commit(t.Context(), ops...)
		if err == nil {
			break // every transaction has had its turn
		}
		if !errors.Is(err, errCut) || !errors.Is(err, kv.ErrUnknown) {
			t.Fatalf("cut %d: %v", cut, err)
		}
		if err := db.Commit(t.Context(), kv.Put([]byte("x"), nil)); !errors.Is(err, errCut) || errors.Is(err, kv.ErrUnknown) {
			t.Errorf("cut %d: a commit after it: %v", cut, err)
		}
		if v, ok, err := db.Get([]byte("old")); err != nil || !ok || string(v) != "v" || count(t, db) != 1 {
			t.Errorf("cut %d: readers see %q, %v, %v and %d pairs", cut, v, ok, err, count(t, db))
		}
		crashed := mustOpenSmall(t, copyDir(t, dir))
		n := count(t, crashed)
		if n != 1 && n != pairs {
			t.Errorf("cut %d: %d pairs are there", cut, n)
		}
		outcomes[n == pairs]++
		if left := staged(t, crashed); left != 0 {
			t.Errorf("cut %d: %d keys are left on the stage", cut, left)
		}
		crashed.Close()
		db.Close()
	}
	if outcomes[true] == 0 || outcomes[false] < 3 {
		t.Errorf("whole %d times, nothing %d times: the cut is not where it should be", outcomes[true], outcomes[false])
	}
}

// Tables of another size than the last time are no matter.
func TestMemTableMayChange(t *testing.T) {
	dir := t.TempDir()
	for i, size := range []int64{0, 1, 4 << 20, 0} {
		db, err := Open(dir, Options{MemTable: size})
		if err != nil {
			t.Fatal(err)
		}
		for k := range 30 {
			if err := db.Commit(t.Context(), kv.Put(fmt.Appendf(nil, "%d-%d", i, k), make([]byte, 100_000))); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(t, db); n != 30*(i+1) {
			t.Errorf("%d pairs", n)
		}
		if i%2 == 0 { // once out of two, as after a crash
			dir = copyDir(t, dir)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A store whose transactions Badger itself has numbered is read, and written, on.
func TestNumberedByBadger(t *testing.T) {
	dir := t.TempDir()
	bdb, err := badger.Open(tuned(dir, 1<<20, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		err = errors.Join(err, bdb.Update(func(txn *badger.Txn) error { return txn.Set(dataKey([]byte("k")), []byte{byte(i)}) }))
	}
	if err := errors.Join(err, bdb.Close()); err != nil {
		t.Fatal(err)
	}
	for want := byte(2); want < 5; want++ {
		db := mustOpen(t, dir)
		if v, ok, err := db.Get([]byte("k")); !ok || err != nil || string(v) != string([]byte{want}) {
			t.Errorf("k is %v, %v, %v, want %d", v, ok, err, want)
		}
		if err := errors.Join(db.Commit(t.Context(), kv.Put([]byte("k"), []byte{want + 1})), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// What is written over and over takes the room of a few times, not of all; but
// what a scan may still read stays, however long it takes.
func TestOldVersionsGo(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 60 MB one commit at a time")
	}
	db, err := open(t.TempDir(), Options{MemTable: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	write := func(from, to int) {
		for i := from; i < to; i++ {
			if err := db.Commit(t.Context(), kv.Put(fmt.Appendf(nil, "k%d", i%10), fmt.Appendf(make([]byte, 0, 20_000), "%020000d", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, 2000) // 40 MB
	if size := db.tableBytes(); size > 20<<20 {
		t.Errorf("the tables have %d bytes", size)
	}
	write(0, 10)
	first := db.Scan(t.Context(), nil)
	write(10, 1000)
	n := 0
	for p, err := range first {
		if want := fmt.Sprintf("%020000d", n); err != nil || string(p.Value) != want {
			t.Fatalf("the scan of before gives %.20q..., %v, want %.20q...", p.Value, err, want)
		}
		n++
	}
	if n != 10 {
		t.Errorf("the scan of before gives %d pairs", n)
	}
	// When nobody can range over it any more, that is over as well.
	first = nil
	held := func() int {
		db.view.RLock()
		defer db.view.RUnlock()
		return len(db.scans)
	}
	for end := time.Now().Add(time.Minute); held() > 0 && time.Now().Before(end); {
		runtime.GC() // the cleanups run some time after
	}
	if n := held(); n != 0 {
		t.Errorf("%d snapshots are held that nobody has", n)
	}
}

func staged(t *testing.T, db *store) (n int) {
	t.Helper()
	txn := db.bdb.NewTransactionAt(db.last, false)
	defer txn.Discard()
	opts := badger.DefaultIteratorOptions
	opts.Prefix = []byte{stagePrefix}
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	return n
}

// Whatever byte of whatever file is wrong, Open says so or the store gives out
// what was put in; it does not panic, and never gives out anything else.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	for i := range 2000 {
		if err := db.Commit(t.Context(), kv.Put(fmt.Appendf(nil, "k%06d", i), fmt.Appendf(make([]byte, 0, 64), "value of %06d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		for _, harm := range []string{"flip start", "flip middle", "flip end", "cut", "empty", "remove"} {
			if info.Size() == 0 || f.Name() == "LOCK" {
				continue
			}
			hurt := copyDir(t, dir)
			damage(t, filepath.Join(hurt, f.Name()), harm)
			if tryDamaged(t, hurt, f.Name()+" "+harm) {
				refused++
			}
		}
	}
	if refused < 6 {
		t.Errorf("only %d of the damaged stores are refused", refused)
	}
}

func damage(t *testing.T, name, harm string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	switch harm {
	case "flip start":
		b[0] ^= 0x40
	case "flip middle":
		b[len(b)/2] ^= 0x40
	case "flip end":
		b[len(b)-1] ^= 0x40
	case "cut":
		b = b[:len(b)/2]
	case "empty":
		b = nil
	case "remove":
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func tryDamaged(t *testing.T, dir, what string) (refused bool) {
	db, err := Open(dir, Options{})
	if err != nil {
		if !errors.Is(err, kv.ErrDamaged) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: %v", what, err)
		}
		return true
	}
	defer db.Close()
	n := 0
	for p, err := range db.Scan(t.Context(), nil) {
		if err != nil {
			return true
		}
		if want := "value of " + string(p.Key[1:]); string(p.Value) != want {
			t.Errorf("%s: %q holds %q", what, p.Key, p.Value)
		}
		n++
	}
	if n != 2000 {
		t.Errorf("%s: %d pairs and no error", what, n)
	}
	return false
}

func TestPlainTroublesAreNotDamage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{}); err == nil || errors.Is(err, kv.ErrDamaged) {
		t.Errorf("Open of a file = %v", err)
	}
}

// A small file system fills up: commits are refused with ErrFull, nothing
// breaks, and all goes on once there is room.
func TestFullDisk(t *testing.T) {
	dir, done := testpeer.SmallDisk(t, "40m")
	if done {
		return
	}
	db := mustOpen(t, filepath.Join(dir, "db"))
	if err := db.Commit(t.Context(), kv.Put([]byte("first"), []byte("v"))); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	for round := range 3 {
		fill(t, ballast)
		err := db.Commit(t.Context(), kv.Put([]byte("big"), make([]byte, 50_000)))
		if !errors.Is(err, kv.ErrFull) {
			t.Fatalf("round %d: Commit on a full disk = %v", round, err)
		}
		if v, ok, err := db.Get([]byte("first")); err != nil || !ok || string(v) != "v" {
			t.Errorf("round %d: Get on a full disk = %q, %v, %v", round, v, ok, err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if err := db.Commit(t.Context(), kv.Put([]byte("big"), make([]byte, 50_000))); err != nil {
			t.Fatalf("round %d: with room again: %v", round, err)
		}
	}
	// And filled by the store itself.
	var full error
	kept := 0
	for ; full == nil && kept < 2000; kept++ {
		full = db.Commit(t.Context(), kv.Put(fmt.Appendf(nil, "own%d", kept), make([]byte, 50_000)))
	}
	if !errors.Is(full, kv.ErrFull) {
		t.Fatalf("%d commits, then %v", kept, full)
	}
	if err := db.Close(); err != nil {
		t.Errorf("Close on a full disk: %v", err)
	}
	fill(t, ballast)
	if _, err := Open(filepath.Join(dir, "db"), Options{}); !errors.Is(err, kv.ErrFull) || errors.Is(err, kv.ErrDamaged) {
		t.Errorf("Open on a full disk = %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	again := mustOpen(t, filepath.Join(dir, "db"))
	if n := count(t, again); n != kept+1 {
		t.Errorf("%d pairs, want %d", n, kept+1)
	}
	// What makes the store smaller is still taken when what makes it grow is
	// not, and waits beside it for the same transaction.
	var all sync.WaitGroup
	for i := range kept - 1 {
		all.Go(func() {
			if err := again.Commit(t.Context(), kv.Del(fmt.Appendf(nil, "own%d", i))); err != nil {
				t.Errorf("a removal: %v", err)
			}
		})
	}
	all.Wait()
}

func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 64<<10)); err != nil {
			return
		}
	}
}

// BenchmarkCommit beside a bare loop over Badger, which merges as well.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("ours-%d", writers), func(b *testing.B) {
			db, err := Open(benchDir(b), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			benchCommits(b, writers, func(key, value []byte) error { return db.Commit(context.Background(), kv.Put(key, value)) })
		})
		b.Run(fmt.Sprintf("bare-%d", writers), func(b *testing.B) { bare(b, writers) })
	}
}

func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp(os.Getenv("RESTANTE_BENCH"), "kv")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func benchCommits(b *testing.B, writers int, commit func(key, value []byte) error) {
	value := make([]byte, 1200)
	var all sync.WaitGroup
	b.ResetTimer()
	for w := range writers {
		all.Go(func() {
			for i := w; i < b.N; i += writers {
				if err := commit(fmt.Appendf(nil, "key%09d", i), value); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// bare is the least that merges: a channel, a transaction, an answer.
func bare(b *testing.B, writers int) {
	bdb, err := badger.Open(badger.DefaultOptions(benchDir(b)).WithSyncWrites(true).WithLogger(nil).
		WithMemTableSize(16 << 20).WithDetectConflicts(false))
	if err != nil {
		b.Fatal(err)
	}
	defer bdb.Close()
	type request struct {
		key, value []byte
		done       chan error
	}
	queue := make(chan request, 128)
	defer close(queue)
	go func() {
		for r := range queue {
			batch := []request{r}
			for len(queue) > 0 {
				batch = append(batch, <-queue)
			}
			txn := bdb.NewTransaction(true)
			var err error
			for _, r := range batch {
				err = errors.Join(err, txn.Set(r.key, r.value))
			}
			err = errors.Join(err, txn.Commit())
			for _, r := range batch {
				r.done <- err
			}
		}
	}()
	benchCommits(b, writers, func(key, value []byte) error {
		r := request{key, value, make(chan error, 1)}
		queue <- r
		return <-r.done
	})
}
