// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"restante/engine/mail"
	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
	"restante/internal/testpeer"
)

// A ledger is what callers were told. A message whose caller got no answer may
// be there or not, but if it is there it is whole.
type ledger struct {
	mu      sync.Mutex // guards what follows
	kept    map[mail.MessageID]uint64
	doubt   map[mail.MessageID]uint64 // being added, or being removed
	adding  map[mail.MessageID]bool   // of doubt, those not answered when the power went
	removed map[mail.MessageID]bool
}

func newLedger() *ledger {
	return &ledger{
		kept: map[mail.MessageID]uint64{}, doubt: map[mail.MessageID]uint64{},
		adding: map[mail.MessageID]bool{}, removed: map[mail.MessageID]bool{},
	}
}

func sizeOf(seed uint64) int {
	switch seed % 7 {
	case 0:
		return bodyLimit + int(seed%1000)
	case 1, 2:
		return int(seed % 40_000)
	}
	return int(seed % 3000)
}

func (l *ledger) add(s *Spool, seed uint64) error {
	env := envelope()
	l.mu.Lock()
	l.doubt[env.ID], l.adding[env.ID] = seed, true
	l.mu.Unlock()
	err := write(s, env, text(sizeOf(seed), seed), kv.Put([]byte("q/"+env.ID), []byte("due")))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.doubt, env.ID)
		delete(l.adding, env.ID)
		l.kept[env.ID] = seed
	}
	return err
}

func (l *ledger) remove(s *Spool, rnd *rand.Rand) error {
	l.mu.Lock()
	var some []mail.MessageID
	// In the order of the seeds, so that a life with the same seeds takes the same steps.
	for _, id := range slices.SortedFunc(maps.Keys(l.kept), func(a, b mail.MessageID) int { return cmp.Compare(l.kept[a], l.kept[b]) }) {
		if rnd.IntN(2) == 0 && len(some) < 8 {
			some = append(some, id)
			l.doubt[id] = l.kept[id]
			delete(l.kept, id)
		}
	}
	l.mu.Unlock()
	var ops []kv.Op
	for _, id := range some {
		ops = append(ops, kv.Del([]byte("q/"+id)))
	}
	err := s.Remove(context.Background(), some, ops...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		for _, id := range some {
			delete(l.doubt, id)
			l.removed[id] = true
		}
	}
	return err
}

// verify compares the spool with the ledger and takes over what it says of the
// doubtful ones.
func (l *ledger) verify(t *testing.T, s *Spool, db kv.DB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	there := map[mail.MessageID]bool{}
	var live int64
	for _, id := range ids(t, s) {
		there[id] = true
		e, err := s.find(id)
		if err != nil {
			t.Fatal(err)
		}
		live += e.length()
		seed, kept := l.kept[id]
		if !kept {
			var doubtful bool
			if seed, doubtful = l.doubt[id]; !doubtful {
				t.Fatalf("message %s is there, removed %v", id, l.removed[id])
			}
		}
		got, err := read(s, id)
		if err != nil || !bytes.Equal(got, text(sizeOf(seed), seed)) {
			t.Fatalf("message %s, kept %v: %d bytes of %d, %v", id, kept, len(got), sizeOf(seed), err)
		}
		if _, ok, _ := db.Get([]byte("q/" + id)); !ok {
			t.Fatalf("message %s: its extra op is not there", id)
		}
		l.kept[id] = seed
	}
	for id := range l.kept {
		if !there[id] {
			t.Fatalf("message %s of %d bytes was acknowledged and is lost; report %+v", id, sizeOf(l.kept[id]), s.Report())
		}
	}
	clear(l.doubt)
	clear(l.adding)
	if st := s.Stats(); st.Messages != len(there) || st.LiveBytes != live || st.DeadBytes < 0 {
		t.Fatalf("%+v; %d messages with %d bytes", st, len(there), live)
	}
	for _, d := range s.Report().Damaged {
		t.Fatalf("damaged: %+v", d)
	}
}

// work uses the spool until something breaks or it has done enough.
func work(l *ledger, s *Spool, seed uint64) {
	var all sync.WaitGroup
	for w := range 3 {
		rnd := rand.New(rand.NewPCG(seed, uint64(w)))
		all.Go(func() {
			for range 12 {
				err := l.add(s, rnd.Uint64())
				switch rnd.IntN(6) {
				case 0, 1:
					err = errors.Join(err, l.remove(s, rnd))
				case 2:
					err = errors.Join(err, s.compact(context.Background()))
				}
				if errors.Is(err, errPower) {
					return
				}
			}
		})
	}
	all.Wait()
}

// The power goes at a random step, again and again, in the start of the spool
// too. Whatever was acknowledged is there, byte for byte.
func TestPowerCuts(t *testing.T) {
	lives := testpeer.Rounds(12, 12, 400)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	m := &mains{rnd: rnd}
	disk, plain, l := newMemDisk(m), kv.NewMem(), newLedger()
	opts := Options{SegmentSize: 128 << 10, CopyRate: 1 << 40}
	cuts, starts := 0, 0
	for life := range lives {
		m.at = 1 + rnd.IntN(400)
		if rnd.IntN(4) == 0 {
			m.at = 1 + rnd.IntN(15) // while it starts
		}
		s, err := openOn(t.Context(), disk, disk.Free, memIndex{plain, m}, opts)
		switch {
		case err == nil:
			work(l, s, seed+uint64(life))
			s.Close()
		case errors.Is(err, errPower):
			starts++
		default:
			t.Fatalf("life %d: %v", life, err)
		}
		if m.off {
			cuts++
			m = &mains{rnd: rnd}
			disk = disk.after(m, rnd)
		}
		m.at, m.steps = 0, 0
		// A start that nothing disturbs, to look at all of it.
		if s, err = openOn(t.Context(), disk, disk.Free, memIndex{plain, m}, opts); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		l.verify(t, s, plain)
		if rnd.IntN(2) == 0 {
			s.Close()
		} else { // as after kill -9: all that was written is there, no clean end
			_ = s.committer.queue.Break(errPower)
			s.Close()
		}
		m.steps = 0
	}
	t.Logf("%d power cuts, %d of them in a start; %d messages at the end, %d removed", cuts, starts, len(l.kept), len(l.removed))
	if cuts < lives/6 || len(l.kept)+len(l.removed) == 0 {
		t.Error("too little has happened")
	}
}

// Each step in turn fails once, as a disk does. The caller whose message it
// was gets the error, nothing else is lost, and after a new start all works.
func TestEveryStepFails(t *testing.T) {
	opts := Options{SegmentSize: 64 << 10, CopyRate: 1 << 40}
	whole := &mains{}
	disk := newMemDisk(whole)
	faultyLife(t, newLedger(), disk, memIndex{kv.NewMem(), whole}, opts, nil)
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, n := range testpeer.FaultSteps(t, whole.steps, testpeer.Rounds(8, 8, 0)) {
			m := &mains{rnd: rand.New(rand.NewPCG(1, uint64(n)))}
			disk, plain, l := newMemDisk(m), kv.NewMem(), newLedger()
			m.at, m.once = n, fault
			reached := faultyLife(t, l, disk, memIndex{plain, m}, opts, fault)
			if m.steps < n {
				t.Fatalf("%v: step %d of %d was not reached", fault, n, whole.steps)
			}
			m.at = 0
			s, err := openOn(t.Context(), disk, disk.Free, memIndex{plain, m}, opts)
			if err != nil {
				t.Fatalf("step %d: %v", n, err)
			}
			l.verify(t, s, plain)
			if err := l.add(s, 3); err != nil {
				t.Fatalf("step %d (life reached %d): %v", n, reached, err)
			}
			l.verify(t, s, plain)
			s.Close()
		}
	}
}

func faultyLife(t *testing.T, l *ledger, disk *memDisk, db kv.DB, opts Options, fault error) int {
	s, err := openOn(t.Context(), disk, disk.Free, db, opts)
	if err != nil {
		if !errors.Is(err, fault) {
			t.Errorf("Open = %v", err)
		}
		return 0
	}
	defer s.Close()
	rnd := rand.New(rand.NewPCG(7, 7))
	for i := range 12 {
		err := l.add(s, uint64(i*7+i%3)+uint64(i)*20_000)
		if i%3 == 2 {
			err = errors.Join(err, l.remove(s, rnd))
		}
		if i == 8 {
			err = errors.Join(err, s.compact(t.Context()))
		}
		if err != nil && !errors.Is(err, fault) {
			t.Errorf("message %d: %v", i, err)
		}
		if err != nil && fault == syscall.ENOSPC && !errors.Is(err, ErrFull) {
			t.Errorf("message %d: a full disk is not told: %v", i, err)
		}
	}
	return 12
}

// A small disk fills up: an error that says so, nothing lost, and space again
// once mail has gone.
func TestFullDisk(t *testing.T) {
	m := &mains{rnd: rand.New(rand.NewPCG(1, 1))}
	disk, plain, l := newMemDisk(m), kv.NewMem(), newLedger()
	disk.cap = 8 << 20
	for round := range 3 {
		s, err := openOn(t.Context(), disk, disk.Free, plain, Options{SegmentSize: 512 << 10, Reserve: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		var full error
		for i := 0; full == nil; i++ {
			if i > 10_000 {
				t.Fatal("the disk never fills up")
			}
			full = l.add(s, uint64(i*13+round))
		}
		if !errors.Is(full, ErrFull) {
			t.Fatalf("round %d: %v", round, full)
		}
		if disk.used > disk.cap-1<<20+2*bodyLimit {
			t.Errorf("round %d: %d bytes are used", round, disk.used)
		}
		l.verify(t, s, plain)
		rnd := rand.New(rand.NewPCG(1, uint64(round)))
		for len(l.kept) > 0 {
			if err := l.remove(s, rnd); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.add(s, 3); err != nil {
			t.Errorf("round %d: nothing is taken in after all is gone: %v", round, err)
		}
		s.Close()
	}
}

func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	l := newLedger()
	opts := Options{SegmentSize: 256 << 10, CopyRate: 1 << 40}
	index, err := badgerkv.Open(t.TempDir(), badgerkv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	db := kv.Prefix(index, "site/1/")
	rounds := testpeer.Rounds(2, 4, 40)
	for round := range rounds {
		s := openAt(t, dir, db, opts)
		l.verify(t, s, db)
		var all sync.WaitGroup
		for w := range 4 {
			seed := rnd.Uint64()
			rnd := rand.New(rand.NewPCG(seed, uint64(w)))
			all.Go(func() {
				for range 25 {
					var err error
					switch rnd.IntN(10) {
					case 0, 1, 2:
						err = l.remove(s, rnd)
					case 3:
						err = s.compact(t.Context())
					default:
						err = l.add(s, rnd.Uint64())
					}
					if err != nil {
						t.Error(fmt.Errorf("round %d: %w", round, err))
					}
				}
			})
		}
		all.Wait()
		l.verify(t, s, db)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// An index without space for more still lets messages go, also those whose
// removal waits beside messages that come.
func TestFullIndex(t *testing.T) {
	index := &fullIndex{DB: kv.NewMem()}
	s := openAt(t, t.TempDir(), index, Options{})
	l := newLedger()
	for i := range 30 {
		if err := l.add(s, uint64(i*13)); err != nil {
			t.Fatal(err)
		}
	}
	index.full.Store(true)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 5 {
				// It may slip in beside enough removals.
				if err := l.add(s, uint64(i)); err != nil && !errors.Is(err, ErrFull) {
					t.Errorf("a message into a full index: %v", err)
				}
				if err := l.remove(s, rnd); err != nil {
					t.Errorf("a removal: %v", err)
				}
			}
		})
	}
	all.Wait()
	if err := l.add(s, 1); !errors.Is(err, ErrFull) {
		t.Errorf("a message into a full index: %v", err)
	}
	l.verify(t, s, index)
	if len(l.removed) == 0 {
		t.Error("nothing was removed")
	}
	index.full.Store(false)
	if err := l.add(s, 1); err != nil {
		t.Errorf("with space again: %v", err)
	}
	l.verify(t, s, index)
}

// A fullIndex refuses what makes it grow.
type fullIndex struct {
	kv.DB
	full atomic.Bool
}

func (x *fullIndex) Commit(ctx context.Context, ops ...kv.Op) error {
	puts := 0
	for _, op := range ops {
		if op.Kind == kv.OpPut {
			puts++
		}
	}
	if x.full.Load() && 2*puts > len(ops) {
		return kv.ErrFull
	}
	return x.DB.Commit(ctx, ops...)
}
