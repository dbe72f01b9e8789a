// SPDX-License-Identifier: Apache-2.0

package kvtest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"restante/internal/kv"
)

func must(k, v string) kv.Op   { return kv.Must([]byte(k), []byte(v)) }
func mustNotBe(k string) kv.Op { return kv.Must([]byte(k), nil) }
func isMoved(err error) bool   { return errors.Is(err, kv.ErrMoved) }
func isUnknown(err error) bool { return errors.Is(err, kv.ErrUnknown) }

func conditions(t *testing.T, db kv.DB) {
	commit(t, db, put("a", "1"), put("empty", ""))
	tests := []struct {
		name string
		op   kv.Op
		want bool
	}{
		{"the value is there", must("a", "1"), true},
		{"another value", must("a", "2"), false},
		{"the beginning of the value", must("a", ""), false},
		{"no such key", must("b", "1"), false},
		{"no such key, wanted", mustNotBe("b"), true},
		{"a key, unwanted", mustNotBe("a"), false},
		{"an empty value", must("empty", ""), true},
		{"an empty value is a value", mustNotBe("empty"), false},
		{"no such key is no empty value", must("b", ""), false},
	}
	for i, tt := range tests {
		for _, ops := range [][]kv.Op{{tt.op}, {tt.op, put("x", strconv.Itoa(i)), del("a"), put("a", "1")}} {
			before := All(t, db, "")
			err := db.Commit(t.Context(), ops...)
			if (err == nil) != tt.want || err != nil && !isMoved(err) {
				t.Errorf("%s, %d ops: Commit = %v", tt.name, len(ops), err)
			}
			if err != nil {
				wantAll(t, db, "", before...)
			} else if len(ops) > 1 {
				want(t, db, "x", strconv.Itoa(i))
			}
		}
	}
}

func conditionsComeFirst(t *testing.T, db kv.DB) {
	commit(t, db, put("a", "1"))
	// Each condition is of the state before the commit, wherever it stands.
	commit(t, db, put("a", "2"), must("a", "1"), put("b", "1"), mustNotBe("b"))
	wantAll(t, db, "", "a=2", "b=1")
	if err := db.Commit(t.Context(), put("a", "3"), must("a", "3")); !isMoved(err) {
		t.Errorf("Commit = %v", err)
	}
	if err := db.Commit(t.Context(), must("a", "2"), must("b", "2"), put("a", "3")); !isMoved(err) {
		t.Errorf("Commit with one condition of two = %v", err)
	}
	wantAll(t, db, "", "a=2", "b=1")
	if err := db.Commit(t.Context(), must(strings.Repeat("k", kv.MaxKey+1), "1")); !errors.Is(err, kv.ErrTooLarge) {
		t.Errorf("Commit with a condition on a long key = %v", err)
	}
}

func conditionOfALargeCommit(t *testing.T, db kv.DB) {
	const n = 25_000
	ops := []kv.Op{must("a", "1"), put("a", "2")}
	for i := range n {
		ops = append(ops, put(fmt.Sprintf("k%06d", i), strings.Repeat("v", 50)))
	}
	if err := db.Commit(t.Context(), ops...); !isMoved(err) {
		t.Errorf("Commit = %v", err)
	}
	wantAll(t, db, "")
	commit(t, db, put("a", "1"))
	commit(t, db, ops...)
	want(t, db, "a", "2")
	if got := len(All(t, db, "k")); got != n {
		t.Errorf("%d pairs, want %d", got, n)
	}
}

// lostRaces lets each writer add one to a counter as it read it: none is lost,
// and a writer whose condition does not depend on the counter never loses.
func lostRaces(t *testing.T, db kv.DB) {
	const writers, rounds = 8, 30
	commit(t, db, put("n", "0"))
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for done := 0; done < rounds; {
				was, _ := get(t, db, "n")
				n, _ := strconv.Atoi(was)
				err := db.Commit(t.Context(), must("n", was), put("n", strconv.Itoa(n+1)), put(fmt.Sprintf("w%d-%d", w, done), ""))
				switch {
				case err == nil:
					done++
				case !isMoved(err):
					t.Errorf("Commit = %v", err)
					return
				}
			}
		})
		all.Go(func() {
			for i := range rounds {
				key := fmt.Sprintf("o%d-%d", w, i)
				if err := db.Commit(t.Context(), mustNotBe(key), put(key, "")); err != nil {
					t.Errorf("a commit beside those that lose: %v", err)
				}
			}
		})
	}
	all.Wait()
	want(t, db, "n", strconv.Itoa(writers*rounds))
	if n := len(All(t, db, "w")); n != writers*rounds {
		t.Errorf("%d commits are there, want %d", n, writers*rounds)
	}
}

// lostAnswers loses the answer of a commit that happened, and of one that did
// not: the same commit again tells which.
func lostAnswers(t *testing.T, db kv.DB) {
	f := NewFault(db)
	for i, lose := range []func(int){f.FailAfter, f.FailUnknown} {
		token := fmt.Sprintf("token%d", i)
		ops := []kv.Op{mustNotBe(token), put(token, ""), put("a", token)}
		lose(1)
		if err := f.Commit(t.Context(), ops...); !isUnknown(err) || isMoved(err) {
			t.Errorf("Commit = %v", err)
		}
		happened := i == 0
		if _, ok := get(t, db, token); ok != happened {
			t.Errorf("the token of commit %d is there: %v", i, ok)
		}
		if err := f.Commit(t.Context(), ops...); isMoved(err) != happened || err != nil && !happened {
			t.Errorf("commit %d again = %v", i, err)
		}
		want(t, db, "a", token)
	}
}

func longKeysGo(t *testing.T, db kv.DB) {
	// A store of an earlier version may have longer ones.
	commit(t, db, del(strings.Repeat("k", kv.MaxKey+1)))
}
