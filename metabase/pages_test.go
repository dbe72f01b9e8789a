// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/kv"
	"restante/metabase/internal/stored"
)

// shared makes a store in which many revisions share a page: all of n writers
// wait while the disk is held up.
func shared(t *testing.T, db kv.DB, opts Options, n int) (s *Store, first Rev) {
	t.Helper()
	g := &blockingDB{DB: db}
	s = open(t, g, opts)
	pass := g.block()
	var all sync.WaitGroup
	set := func(id ID) {
		if _, err := s.Apply(context.Background(), Batch{Ops: []Op{Set{Root, num(id, 1)}}, Comment: fmt.Sprint("number ", id)}); err != nil {
			t.Error(err)
		}
	}
	all.Go(func() { set(1000) })
	synctest.Wait()
	for i := range n {
		all.Go(func() { set(ID(i + 1)) })
	}
	synctest.Wait()
	pass()
	all.Wait()
	return s, s.Snapshot().Rev() - Rev(n) + 1
}

func TestSharedPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kv.NewMem()
		const n = 20
		s, first := shared(t, db, Options{}, n)
		if len(s.pages.List) != 2 || s.pages.List[1].First != first {
			t.Fatalf("pages %v, want a second one from %d", s.pages.List, first)
		}
		check := func(s *Store) {
			for rev := first; rev < first+n; rev++ {
				r, err := s.Record(t.Context(), rev)
				if err != nil || r.Rev != rev || len(r.Changes) != 1 || r.Comment != fmt.Sprint("number ", r.Changes[0].ID) {
					t.Errorf("revision %d: %+v, %v", rev, r, err)
				}
				old, err := s.At(t.Context(), rev)
				if err != nil || len(old.Properties(Root)) != int(rev) {
					t.Errorf("at %d: %d properties, %v", rev, len(old.Properties(Root)), err)
				}
			}
			if all, err := s.Log(t.Context(), Root, 0); err != nil || len(all) != n+1 || all[n].Rev != 1 {
				t.Errorf("Log: %d, %v", len(all), err)
			}
			sound(t, s)
		}
		check(s)
		mid := first + n/2
		if _, err := s.Revert(t.Context(), mid, Root, Batch{}); err != nil {
			t.Error(err)
		}
		s.Close()
		again := open(t, db, Options{})
		if r, err := again.Record(t.Context(), first+n); err != nil || r.Reverts != mid {
			t.Errorf("the revert: %+v, %v", r, err)
		}
		sound(t, again)
		again.Close()
	})
}

// TestSharedPageIsDropped checks that a page goes with the last of its revisions,
// and that one that waits to be confirmed keeps its page.
func TestSharedPageIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20
		s, first := shared(t, kv.NewMem(), Options{Keep: func(Snapshot) Retention { return Retention{Count: 3} }}, n)
		defer s.Close()
		time.Sleep(time.Second)
		if s.Oldest() != first-1 {
			t.Errorf("the oldest is %d, want %d: the page has revisions that are to be kept", s.Oldest(), first-1)
		}
		rev, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{Root, num(1, 2)}}, Confirm: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint32(9) {
			apply(t, s, Set{Root, num(2, i+2)})
		}
		time.Sleep(time.Second)
		if s.Oldest() != rev-1 {
			t.Errorf("the oldest is %d, want %d: it waits to be confirmed", s.Oldest(), rev-1)
		}
		sound(t, s)
		if _, err := s.Confirm(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if want := s.Snapshot().Rev() - 3; s.Oldest() != want {
			t.Errorf("the oldest is %d, want %d", s.Oldest(), want)
		}
		p, _ := s.Snapshot().Stored(Root, 10)
		if r, err := s.Record(t.Context(), p.Rev); err != nil || !strings.HasPrefix(r.Comment, "number ") {
			t.Errorf("of a revision whose property is in place is left %+v, %v", r, err)
		}
		sound(t, s)
	})
}

// TestDamagedPages alters what is kept of the history: readers are told.
func TestDamagedPages(t *testing.T) {
	for name, alter := range map[string]func(db kv.DB) kv.Op{
		"a page is missing": func(kv.DB) kv.Op { return kv.Del(stored.Page{First: 3}.Key(0)) },
		"a part is missing": func(kv.DB) kv.Op { return kv.Del(stored.Page{First: 2}.Key(1)) },
		"a page is cut off": func(kv.DB) kv.Op { return kv.Put(stored.Page{First: 3}.Key(0), []byte{stored.PageForm, 1, 200, 1}) },
		"an entry is of another": func(db kv.DB) kv.Op {
			raw, _, _ := db.Get(stored.Page{First: 4}.Key(0))
			return kv.Put(stored.Page{First: 3}.Key(0), raw)
		},
		"a part too many":   func(kv.DB) kv.Op { return kv.Put(stored.Page{First: 2}.Key(9), nil) },
		"a part of no page": func(kv.DB) kv.Op { return kv.Put(stored.Page{First: 3}.Key(1), nil) },
		"a short key":       func(kv.DB) kv.Op { return kv.Put([]byte{stored.PartKeys, 1}, nil) },
		"a page too many": func(db kv.DB) kv.Op {
			raw, _, _ := db.Get(stored.Page{First: 4}.Key(0))
			return kv.Put(stored.Page{First: 9}.Key(0), raw)
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := kv.NewMem()
			s := open(t, db, Options{})
			apply(t, s, Set{Root, num(1, 1)})
			var large []Op
			for i := range ID(40) {
				large = append(large, Set{Root, text(i+100, strings.Repeat("x", 4000))})
			}
			apply(t, s, large...)
			apply(t, s, Set{Root, num(1, 2)})
			apply(t, s, Set{Root, num(1, 3)})
			if err := db.Commit(t.Context(), alter(db)); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(t.Context()); !errors.Is(err, Damaged) {
				t.Errorf("Verify: %v", err)
			}
			s.Close()
			again, err := Open(t.Context(), db, testKey, Options{})
			if err != nil {
				t.Fatalf("the tree is sound, and must be served: %v", err)
			}
			defer again.Close()
			if err := again.Verify(t.Context()); !errors.Is(err, Damaged) {
				t.Errorf("Verify of the store opened again: %v", err)
			}
		})
	}
	for name, op := range map[string]kv.Op{
		"of another form": kv.Put(stored.Page{First: 1}.Key(0), []byte{stored.EntryForm, 1}),
		"of many parts":   kv.Put(stored.Page{First: 1}.Key(0), []byte{stored.PageForm, 0xff, 0xff, 0xff, 0xff, 0x0f}),
		"of no parts":     kv.Put(stored.Page{First: 1}.Key(0), []byte{stored.PageForm, 0}),
		"an odd key":      kv.Put([]byte{stored.PageKeys, 1}, []byte{stored.PageForm, 1}),
	} {
		db := kv.NewMem()
		s := open(t, db, Options{})
		apply(t, s, Set{Root, num(1, 1)})
		s.Close()
		if err := db.Commit(t.Context(), op); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), db, testKey, Options{}); !errors.Is(err, Damaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLoneRecords opens a store as it was before there were pages.
func TestLoneRecords(t *testing.T) {
	db := kv.NewMem()
	s := open(t, db, Options{})
	var large []Op
	for i := range ID(40) {
		large = append(large, Set{Root, text(i+100, strings.Repeat("x", 4000))})
	}
	apply(t, s, Set{Root, num(1, 1)})
	apply(t, s, large...)
	apply(t, s, Set{Root, num(1, 2)})
	want, err := s.Log(t.Context(), Root, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ops []kv.Op
	for _, p := range s.pages.List {
		entries, err := s.pages.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		ops = p.Dropping(ops)
		for part, raw := uint32(0), entries[0]; len(raw) > 0; part++ {
			n := min(len(raw), stored.MaxPart)
			ops = append(ops, kv.Put(binary.BigEndian.AppendUint32(stored.RevKey(stored.PageKeys, p.First), part), raw[:n]))
			raw = raw[n:]
		}
	}
	s.Close()
	if err := db.Commit(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as it was, and as it is from then on
		again := open(t, db, Options{})
		got, err := again.Log(t.Context(), Root, 0)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Log = %v, %v; want %v", got, err, want)
		}
		sound(t, again)
		again.Close()
	}
	for pair := range db.Scan(t.Context(), []byte{stored.PageKeys}) {
		if len(pair.Key) == 1+8+4 {
			t.Errorf("%q is left", pair.Key)
		}
	}
}
