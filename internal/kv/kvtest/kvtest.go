// SPDX-License-Identifier: Apache-2.0

// Package kvtest is the conformance suite of kv.DB, and has a DB that injects
// faults.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"restante/internal/kv"
	"restante/internal/testpeer"
)

// Run holds what open makes to the contract of kv.DB. Each subtest opens one,
// which is empty, and closes it.
func Run(t *testing.T, open func(t *testing.T) kv.DB) {
	tests := []struct {
		fact string
		test func(t *testing.T, db kv.DB)
	}{
		{"what was put is got, a copy each time", getGivesCopies},
		{"a key that is not there is told apart from an empty value", emptyValue},
		{"any bytes make a key", anyKey},
		{"a scan is ordered and ends with its prefix", scanOrder},
		{"a scan does not see commits later than its call", scanSnapshot},
		{"a scan can be left and a cancelled one says so", scanLeft},
		{"ops of a commit take effect in their order", opsInOrder},
		{"deleting what is not there is no error", deleteNothing},
		{"a commit keeps none of the caller's memory", callersMemory},
		{"a commit of nothing is done", commitNothing},
		{"a commit whose caller gave up leaves nothing", cancelled},
		{"a commit that is larger than one transaction is there at once", largeCommit},
		{"one value may be large", largeValue},
		{"what can never be kept is refused and changes nothing", tooLarge},
		{"a bad commit does not fail its neighbours", neighbours},
		{"commits of many writers are each whole", manyWriters},
		{"a condition decides whether the commit happens", conditions},
		{"conditions are judged on the state before the commit", conditionsComeFirst},
		{"a large commit may depend on a condition", conditionOfALargeCommit},
		{"of commits that race, each one that lost is told, and no other", lostRaces},
		{"a commit whose answer is lost, made again, tells whether it happened", lostAnswers},
		{"a key that is too long may be removed", longKeysGo},
		{"it does what a plain map does", model},
		{"after Close everything is refused, and closing twice is harmless", closed},
	}
	for _, tt := range tests {
		t.Run(tt.fact, func(t *testing.T) {
			db := open(t)
			defer db.Close()
			tt.test(t, db)
		})
	}
}

func commit(t *testing.T, db kv.DB, ops ...kv.Op) {
	t.Helper()
	if err := db.Commit(t.Context(), ops...); err != nil {
		t.Fatalf("Commit = %v", err)
	}
}

func put(k, v string) kv.Op { return kv.Put([]byte(k), []byte(v)) }
func del(k string) kv.Op    { return kv.Del([]byte(k)) }

func get(t *testing.T, db kv.DB, key string) (string, bool) {
	t.Helper()
	v, ok, err := db.Get([]byte(key))
	if err != nil {
		t.Fatalf("Get(%q) = %v", key, err)
	}
	if !ok && v != nil {
		t.Errorf("Get(%q): a value %q that is not there", key, v)
	}
	return string(v), ok
}

func want(t *testing.T, db kv.DB, key, value string) {
	t.Helper()
	if got, ok := get(t, db, key); !ok || got != value {
		t.Errorf("Get(%q) = %.40q, %v; want %.40q", key, got, ok, value)
	}
}

// All gives the pairs of db whose keys begin with prefix, as "key=value".
func All(t *testing.T, db kv.DB, prefix string) []string {
	t.Helper()
	var out []string
	for p, err := range db.Scan(t.Context(), []byte(prefix)) {
		if err != nil {
			t.Fatalf("Scan(%q) = %v", prefix, err)
		}
		out = append(out, string(p.Key)+"="+string(p.Value))
	}
	return out
}

func wantAll(t *testing.T, db kv.DB, prefix string, want ...string) {
	t.Helper()
	if got := All(t, db, prefix); !slices.Equal(got, want) {
		t.Errorf("Scan(%q) = %.300q, want %.300q", prefix, got, want)
	}
}

func getGivesCopies(t *testing.T, db kv.DB) {
	commit(t, db, put("k", "value"))
	v, _, _ := db.Get([]byte("k"))
	copy(v, "XXXXX")
	want(t, db, "k", "value")
}

func emptyValue(t *testing.T, db kv.DB) {
	commit(t, db, put("empty", ""), kv.Put([]byte("nil"), nil))
	want(t, db, "empty", "")
	want(t, db, "nil", "")
	if _, ok := get(t, db, "none"); ok {
		t.Error("a key that was never put is there")
	}
}

func anyKey(t *testing.T, db kv.DB) {
	keys := []string{"", "\x00", "\xff", "\xff\xff", "!badger!head", "a", "a\x00", "s", "u", strings.Repeat("k", kv.MaxKey-100)}
	for _, k := range keys {
		commit(t, db, put(k, "v"+k))
	}
	for _, k := range keys {
		want(t, db, k, "v"+k)
	}
	if n := len(All(t, db, "")); n != len(keys) {
		t.Errorf("%d keys in the scan, want %d", n, len(keys))
	}
}

func scanOrder(t *testing.T, db kv.DB) {
	commit(t, db, put("b", "2"), put("a", "1"), put("b\x00", "3"), put("ba", "4"), put("c", "5"), put("\xff", "6"))
	wantAll(t, db, "", "a=1", "b=2", "b\x00=3", "ba=4", "c=5", "\xff=6")
	wantAll(t, db, "b", "b=2", "b\x00=3", "ba=4")
	wantAll(t, db, "\xff", "\xff=6")
	wantAll(t, db, "bb")
}

func scanSnapshot(t *testing.T, db kv.DB) {
	commit(t, db, put("a", "1"), put("b", "1"), put("c", "1"))
	called := db.Scan(t.Context(), nil)
	commit(t, db, put("a", "2"), del("b"), put("d", "2"))
	var got []string
	for p, err := range called {
		if err != nil {
			t.Fatal(err)
		}
		commit(t, db, put("e"+string(p.Key), "3"), put("c", "3"))
		got = append(got, string(p.Key)+"="+string(p.Value))
	}
	if want := []string{"a=1", "b=1", "c=1"}; !slices.Equal(got, want) {
		t.Errorf("scan gives %q, want %q", got, want)
	}
	wantAll(t, db, "", "a=2", "c=3", "d=2", "ea=3", "eb=3", "ec=3")
}

func scanLeft(t *testing.T, db kv.DB) {
	commit(t, db, put("a", "1"), put("b", "2"))
	for range db.Scan(t.Context(), nil) {
		break
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	var keys []string
	var last error
	for p, err := range db.Scan(ctx, nil) {
		if last = err; err != nil {
			if p.Key != nil {
				t.Error("a key comes with the error")
			}
			continue
		}
		keys = append(keys, string(p.Key))
		cancel(enough)
	}
	if !slices.Equal(keys, []string{"a"}) || !errors.Is(last, enough) {
		t.Errorf("a cancelled scan gives %q, %v", keys, last)
	}
}

func opsInOrder(t *testing.T, db kv.DB) {
	commit(t, db, put("a", "1"), put("a", "2"), del("b"), put("b", "3"), put("c", "4"), del("c"))
	wantAll(t, db, "", "a=2", "b=3")
}

func deleteNothing(t *testing.T, db kv.DB) {
	commit(t, db, del("x"))
	commit(t, db, put("x", "1"))
	commit(t, db, del("x"), del("x"))
	wantAll(t, db, "")
}

func callersMemory(t *testing.T, db kv.DB) {
	op := put("key", "value")
	commit(t, db, op)
	copy(op.Key, "XXX")
	copy(op.Value, "XXXXX")
	wantAll(t, db, "", "key=value")
}

func commitNothing(t *testing.T, db kv.DB) {
	commit(t, db)
	wantAll(t, db, "")
}

func cancelled(t *testing.T, db kv.DB) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Commit(ctx, put("a", "1")); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit = %v", err)
	}
	wantAll(t, db, "")
}

func largeCommit(t *testing.T, db kv.DB) {
	n := testpeer.Rounds(30_000, 30_000, 100_000) // all of them more than Badger takes at once
	commit(t, db, put("key000007", "old"), put("gone", "x"))
	ops := make([]kv.Op, 0, n+3)
	for i := range n {
		ops = append(ops, put(fmt.Sprintf("key%06d", i), fmt.Sprintf("%d-%s", i, strings.Repeat("v", i%200))))
	}
	ops = append(ops, del("gone"), put("key000009", "twice"), del("key000008"))
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { // no reader ever sees half of it
		for {
			select {
			case <-stop:
				return
			default:
			}
			count := 0
			for _, err := range db.Scan(t.Context(), nil) {
				if err != nil {
					t.Error(err)
					return
				}
				count++
			}
			if count != 2 && count != n-1 {
				t.Errorf("a reader sees %d pairs", count)
				return
			}
		}
	})
	err := db.Commit(t.Context(), ops...)
	close(stop)
	watch.Wait()
	if err != nil {
		t.Fatal(err)
	}
	want(t, db, "key000007", "7-vvvvvvv")
	want(t, db, "key000009", "twice")
	want(t, db, fmt.Sprintf("key%06d", n-1), fmt.Sprintf("%d-%s", n-1, strings.Repeat("v", 199)))
	if got := len(All(t, db, "")); got != n-1 {
		t.Errorf("%d pairs, want %d", got, n-1)
	}
}

func largeValue(t *testing.T, db kv.DB) {
	for _, size := range []int{100 << 10, 1<<20 - 1, 1 << 20, 5 << 20} {
		v := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		commit(t, db, kv.Put([]byte("large"), v), put("other", fmt.Sprint(size)))
		want(t, db, "large", string(v))
		want(t, db, "other", fmt.Sprint(size))
	}
	commit(t, db, del("large"))
	wantAll(t, db, "l")
}

func tooLarge(t *testing.T, db kv.DB) {
	for _, op := range []kv.Op{
		put(strings.Repeat("k", kv.MaxKey+1), "v"),
		kv.Put([]byte("k"), make([]byte, kv.MaxValue+1)),
	} {
		if err := db.Commit(t.Context(), put("a", "1"), op); !errors.Is(err, kv.ErrTooLarge) {
			t.Errorf("Commit = %v", err)
		}
	}
	wantAll(t, db, "")
	commit(t, db, put("a", "1"))
}

func neighbours(t *testing.T, db kv.DB) {
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for i := range 20 {
				op := put(fmt.Sprintf("%02d-%02d", w, i), "v")
				bad := w%2 == 1
				if bad {
					op = put(strings.Repeat("k", kv.MaxKey+1), "v")
				}
				if err := db.Commit(t.Context(), op); (err != nil) != bad {
					t.Errorf("writer %d: Commit = %v", w, err)
				}
			}
		})
	}
	writers.Wait()
	if n := len(All(t, db, "")); n != 8*20 {
		t.Errorf("%d pairs, want %d", n, 8*20)
	}
}

// manyWriters lets each writer move all of a row at once, while readers look
// for a row that is not of one piece.
func manyWriters(t *testing.T, db kv.DB) {
	const writers, rounds, row = 8, 30, 10
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for r := range rounds {
				var ops []kv.Op
				for i := range row {
					ops = append(ops, put(fmt.Sprintf("row%d-%d", w, i), fmt.Sprint(r)))
				}
				if err := db.Commit(t.Context(), ops...); err != nil {
					t.Errorf("Commit = %v", err)
				}
			}
		})
		all.Go(func() {
			for range rounds {
				seen := map[string]bool{}
				for p, err := range db.Scan(t.Context(), fmt.Appendf(nil, "row%d-", w)) {
					if err != nil {
						t.Error(err)
						return
					}
					seen[string(p.Value)] = true
				}
				if len(seen) > 1 {
					t.Errorf("half a commit is seen: %v", slices.Collect(maps.Keys(seen)))
				}
			}
		})
	}
	all.Wait()
	for w := range writers {
		want(t, db, fmt.Sprintf("row%d-%d", w, row-1), fmt.Sprint(rounds-1))
	}
}

func model(t *testing.T, db kv.DB) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	plain := map[string]string{}
	for step := range 300 {
		var ops []kv.Op
		for range rnd.IntN(8) {
			k := fmt.Sprintf("%d", rnd.IntN(60))
			if rnd.IntN(3) == 0 {
				ops = append(ops, del(k))
				delete(plain, k)
				continue
			}
			v := fmt.Sprintf("%d.%d", step, rnd.IntN(1000))
			ops = append(ops, put(k, v))
			plain[k] = v
		}
		commit(t, db, ops...)
		k := fmt.Sprintf("%d", rnd.IntN(60))
		got, ok := get(t, db, k)
		if v, there := plain[k]; ok != there || got != v {
			t.Fatalf("step %d: Get(%q) = %q, %v; want %q, %v", step, k, got, ok, v, there)
		}
	}
	var all []string
	for _, k := range slices.Sorted(maps.Keys(plain)) {
		all = append(all, k+"="+plain[k])
	}
	wantAll(t, db, "", all...)
}

func closed(t *testing.T, db kv.DB) {
	commit(t, db, put("a", "1"))
	early := db.Scan(t.Context(), nil)
	for range 2 {
		if err := db.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if err := db.Commit(t.Context(), put("a", "2")); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Commit = %v", err)
	}
	if _, _, err := db.Get([]byte("a")); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Get = %v", err)
	}
	for _, err := range db.Scan(t.Context(), nil) {
		if !errors.Is(err, kv.ErrClosed) {
			t.Errorf("Scan = %v", err)
		}
	}
	for _, err := range early { // may still give what it saw, must not crash
		if err != nil && !errors.Is(err, kv.ErrClosed) {
			t.Errorf("an early Scan = %v", err)
		}
	}
}
