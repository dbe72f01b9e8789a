// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/kv"
	"restante/internal/kv/kvtest"
)

// A deaf DB is told of no commit of others: its store finds out by a commit that
// loses the race.
type deaf struct{ kv.DB }

func (deaf) Changed([]byte) <-chan struct{} { return nil }

// twoNodes opens two stores over one map, deaf to each other.
func twoNodes(t *testing.T, opts Options) (a, b *Store) {
	t.Helper()
	nodes := kv.NewMemNodes(2)
	return open(t, deaf{nodes[0]}, opts), open(t, deaf{nodes[1]}, opts)
}

// same fails the test unless both stores, once refreshed, have one state.
func same(t *testing.T, a, b *Store) {
	t.Helper()
	for _, s := range []*Store{a, b} {
		if err := s.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		sound(t, s)
	}
	if x, y := exact(a.Snapshot()), exact(b.Snapshot()); x != y || a.Snapshot().Rev() != b.Snapshot().Rev() {
		t.Errorf("one store has revision %d\n%s\nthe other %d\n%s", a.Snapshot().Rev(), x, b.Snapshot().Rev(), y)
	}
	if x, y := a.Pending(), b.Pending(); !slices.EqualFunc(x, y, func(p, q Pending) bool { return p.Rev == q.Rev && p.Until.Equal(q.Until) }) {
		t.Errorf("one store has %v to be confirmed, the other %v", x, y)
	}
}

func TestLostRace(t *testing.T) {
	a, b := twoNodes(t, Options{})
	site(t, a)
	rev := a.Snapshot().Rev()
	if got := apply(t, b, AddKey{"/B", ""}); got != rev+1 {
		t.Errorf("the other store makes revision %d, want %d", got, rev+1)
	}
	told := a.Watch(Root)
	defer told.Close()
	// IfRev holds for the store, whatever the process knows.
	_, err := a.Apply(t.Context(), Batch{IfRev: &rev, Ops: []Op{AddKey{"/A", ""}}})
	if !errors.Is(err, Conflict) || errors.Is(err, Damaged) || a.Snapshot().Has("/A") || !a.Snapshot().Has("/B") {
		t.Errorf("Apply with an old IfRev = %v", err)
	}
	select {
	case <-told.C():
	default:
		t.Error("a watch is not told of what another process changed")
	}
	if got := apply(t, b, Set{"/B", secret(1, "pw")}, Remove{"/LM/SMTPSVC/1", true}, Move{"/LM", "/ln", false}); got != rev+2 {
		t.Errorf("revision %d", got)
	}
	a.SetVolatile("/LM/SMTPSVC/1", num(7, 7))
	if got := apply(t, a, AddKey{"/A", ""}); got != rev+3 {
		t.Errorf("after a lost race: revision %d", got)
	}
	if got, _ := a.Snapshot().Stored("/B", 1); got.Value.Str() != "pw" {
		t.Errorf("a secure value of the other process reads %v", got)
	}
	// What the other process has taken away is refused here.
	if err := b.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply(t, b, Remove{Path: "/A"})
	if _, err := a.Apply(t.Context(), Batch{Ops: []Op{Set{"/A", num(1, 1)}}}); !errors.Is(err, NotFound) {
		t.Errorf("a key that the other process has removed: %v", err)
	}
	same(t, a, b)
	for _, rev := range []Rev{1, rev, rev + 1, rev + 2} {
		x, errA := a.At(t.Context(), rev)
		y, errB := b.At(t.Context(), rev)
		if errA != nil || errB != nil || exact(x) != exact(y) {
			t.Errorf("revision %d: %v, %v, or another state", rev, errA, errB)
		}
	}
}

func TestFirstStartOfTwoNodes(t *testing.T) {
	for range 20 {
		nodes := kv.NewMemNodes(2)
		stores := make([]*Store, len(nodes))
		var starts sync.WaitGroup
		for i, db := range nodes {
			starts.Go(func() { stores[i] = open(t, db, Options{}) })
		}
		starts.Wait()
		apply(t, stores[0], AddKey{"/A", ""})
		apply(t, stores[1], AddKey{"/B", ""})
		same(t, stores[0], stores[1])
	}
}

// The history that leads from here to there may be gone.
func TestCatchUpWithoutHistory(t *testing.T) {
	nodes := kv.NewMemNodes(2)
	a := open(t, deaf{nodes[0]}, Options{})
	b := open(t, deaf{nodes[1]}, Options{Keep: func(Snapshot) Retention { return Retention{Count: 1} }})
	b.janitor.stop() // it would compact beside the test
	site(t, a)
	if err := b.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(60) {
		apply(t, b, Set{"/LM", num(1, i)})
	}
	if err := b.compact(t.Context()); err != nil || b.Oldest() < 30 {
		t.Fatalf("compact = %v, the oldest revision is %d", err, b.Oldest())
	}
	apply(t, a, AddKey{"/A", ""})
	same(t, a, b)
	if a.Oldest() != b.Oldest() {
		t.Errorf("the oldest revision is %d here, %d there", a.Oldest(), b.Oldest())
	}
}

// A store that was put back from a backup while the service ran is read anew.
func TestCatchUpWithAStoreThatWentBack(t *testing.T) {
	db := kv.NewMem()
	s := open(t, db, Options{})
	site(t, s)
	was := exact(s.Snapshot())
	var back []kv.Op
	for pair, err := range db.Scan(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, kv.Put(slices.Clone(pair.Key), slices.Clone(pair.Value)))
	}
	apply(t, s, AddKey{"/A", ""}, Remove{"/LM/SMTPSVC/1", true})
	var gone []kv.Op
	for pair := range db.Scan(t.Context(), nil) {
		gone = append(gone, kv.Del(slices.Clone(pair.Key)))
	}
	if err := db.Commit(t.Context(), append(gone, back...)...); err != nil {
		t.Fatal(err)
	}
	if err := s.refresh(t.Context()); err != nil || exact(s.Snapshot()) != was {
		t.Errorf("refresh = %v, and the store has\n%s\nwant\n%s", err, exact(s.Snapshot()), was)
	}
	apply(t, s, AddKey{"/B", ""})
	sound(t, s)
}

// A revision is confirmed at one process, and not taken back by the other.
func TestConfirmedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := twoNodes(t, Options{})
		rev, err := a.Apply(t.Context(), Batch{Ops: []Op{AddKey{"/A", ""}}, Confirm: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Confirm(t.Context(), rev); !errors.Is(err, NotFound) {
			t.Errorf("Confirm at a store that does not know of it = %v", err)
		}
		if err := b.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Confirm(t.Context(), rev); err != nil {
			t.Errorf("Confirm = %v", err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !a.Snapshot().Has("/A") || len(a.Pending()) != 0 {
			t.Errorf("what was confirmed elsewhere was taken back; %v to be confirmed", a.Pending())
		}
		if _, err := a.Confirm(t.Context(), rev); !errors.Is(err, NotFound) {
			t.Errorf("a second Confirm = %v", err)
		}
		same(t, a, b)
		a.Close()
		b.Close()
	})
}

// TestTwoNodesModel is TestModel with two stores over one map. Answers of
// commits are lost, and each store loses races to the other: every revision is
// made once, no store is ever called damaged, and both come to one state.
func TestTwoNodesModel(t *testing.T) {
	const nodes, writers = 2, 3
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dbs := kv.NewMemNodes(nodes)
	var stores []*Store
	var faults []*kvtest.Fault
	for _, db := range dbs {
		f := kvtest.NewFault(db)
		faults, stores = append(faults, f), append(stores, open(t, f, Options{}))
	}
	var players []*player
	for i := range nodes * writers {
		top := Path(fmt.Sprintf("/W%d", i))
		apply(t, stores[0], AddKey{top, ""})
		players = append(players, &player{stores[i%nodes], top, rand.New(rand.NewPCG(seed, uint64(i))), plain{string(top): {}}})
	}
	if err := stores[1].refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := stores[0].Snapshot().Rev()
	var all sync.WaitGroup
	for i, w := range players {
		all.Go(func() {
			for step := range modelSteps() / len(players) {
				if f := faults[i%nodes]; i < nodes && w.rnd.IntN(5) == 0 {
					lose := []func(int){f.FailAfter, f.FailUnknown}[w.rnd.IntN(2)]
					lose(1 + w.rnd.IntN(2))
				}
				if err := w.turn(step); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	for _, f := range faults {
		f.Heal()
	}
	same(t, stores[0], stores[1])
	third := open(t, deaf{dbs[0]}, Options{})
	for _, s := range append(stores, third) {
		for _, w := range players {
			if got := of(s.Snapshot(), w.top); !got.equal(w.model) {
				t.Errorf("in the end %s is %v, the model %v", w.top, got, w.model)
			}
		}
	}
	checkHistory(t, stores[0], start)
}

// checkHistory looks at the numbers that the players have set: each of them
// counts its batches, so that one made twice, or overwritten, shows.
func checkHistory(t *testing.T, s *Store, from Rev) {
	t.Helper()
	last := map[Path]string{}
	for rev := from + 1; rev <= s.Snapshot().Rev(); rev++ {
		h, err := s.Record(context.Background(), rev)
		if err != nil {
			t.Fatal(err)
		}
		stamps := map[Path]string{}
		for _, c := range h.Changes {
			if c.ID == 1 && c.New != nil && c.Path.Parent() == Root {
				stamps[c.Path] = c.New.Value.Str()
			}
		}
		if len(stamps) != 1 {
			t.Errorf("revision %d sets %d numbers", rev, len(stamps))
		}
		for p, stamp := range stamps {
			if last[p] == stamp {
				t.Errorf("revision %d makes batch %s of %s a second time", rev, stamp, p)
			}
		}
		maps.Copy(last, stamps)
	}
}
