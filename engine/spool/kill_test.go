// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"restante/engine/mail"
	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
	"restante/internal/testpeer"
)

const (
	childDir  = "RESTANTE_SPOOL_CHILD"
	childSeed = "RESTANTE_SPOOL_SEED"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// child takes in and removes messages until it is killed, and says what was
// acknowledged: "+id seed" and, before it asks for a removal, "?id".
func child(dir string) int {
	s, db, err := openBoth(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer db.Close()
	defer s.Close()
	go func() { _ = s.Run(context.Background()) }()
	var base uint64
	fmt.Sscan(os.Getenv(childSeed), &base)
	var all sync.WaitGroup
	for w := range 8 {
		rnd := rand.New(rand.NewPCG(base, uint64(w)))
		all.Go(func() {
			var mine []mail.MessageID
			for {
				env, seed := envelope(), rnd.Uint64()
				if err := write(s, env, text(sizeOf(seed), seed)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Printf("+%s %d\n", env.ID, seed) // one write each: a pipe keeps it whole
				if mine = append(mine, env.ID); len(mine) < 10 {
					continue
				}
				for _, id := range mine[:7] {
					fmt.Printf("?%s\n", id)
				}
				if err := s.Remove(context.Background(), mine[:7]); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				mine = mine[7:]
			}
		})
	}
	all.Wait()
	return 1 // it should have been killed
}

func openBoth(dir string) (*Spool, kv.DB, error) {
	db, err := badgerkv.Open(filepath.Join(dir, "index"), badgerkv.Options{})
	if err != nil {
		return nil, nil, err
	}
	s, err := Open(context.Background(), filepath.Join(dir, "bodies"), db, Options{SegmentSize: 2 << 20})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return s, db, nil
}

// The process is killed again and again with writers at work. What it had
// acknowledged is there, byte for byte.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir, kept := t.TempDir(), map[mail.MessageID]uint64{}
	total := 0
	for round := range testpeer.Rounds(0, 3, 30) {
		total += killedChild(t, dir, uint64(round), kept)
		s, db, err := openBoth(dir)
		if err != nil {
			t.Fatal(err)
		}
		for id, seed := range kept {
			got, err := read(s, id)
			if err != nil || !bytes.Equal(got, text(sizeOf(seed), seed)) {
				t.Fatalf("round %d: message %s: %d bytes of %d, %v", round, id, len(got), sizeOf(seed), err)
			}
		}
		if r := s.Report(); len(r.Damaged)+len(r.Salvaged)+len(r.Kept) != 0 {
			t.Errorf("round %d: report %+v", round, r)
		}
		if err := errors.Join(s.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d messages acknowledged, %d held at the end", total, len(kept))
}

// killedChild adds to kept what the child acknowledged before it was killed.
func killedChild(t *testing.T, dir string, seed uint64, kept map[mail.MessageID]uint64) (acknowledged int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childSeed, seed))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := 100 + rand.IntN(400)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var id mail.MessageID
		var body uint64
		line := lines.Text()
		if n, _ := fmt.Sscanf(line, "+%s %d", &id, &body); n == 2 {
			kept[id] = body
			if acknowledged++; acknowledged == limit {
				_ = cmd.Process.Kill()
			}
		} else if n, _ := fmt.Sscanf(line, "?%s", &id); n == 1 {
			delete(kept, id)
		}
	}
	_ = cmd.Wait() // killed
	if acknowledged < limit {
		t.Fatalf("the child ended by itself: %s", complaints.String())
	}
	return acknowledged
}

// Bodies and index share a small file system that fills up: an error that says
// so, and mail flows again once there is space.
func TestSmallDisk(t *testing.T) {
	rounds, size := testpeer.Rounds(1, 2, 3), fmt.Sprintf("%dm", testpeer.Rounds(24, 24, 64))
	dir, done := testpeer.SmallDisk(t, size)
	if done {
		return
	}
	db, err := badgerkv.Open(filepath.Join(dir, "index"), badgerkv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := openAt(t, filepath.Join(dir, "bodies"), db, Options{})
	for round := range rounds {
		l := newLedger()
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(round), uint64(w)))
				for range 20_000 {
					if err := l.add(s, rnd.Uint64()); errors.Is(err, ErrFull) {
						return
					} else if err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
				}
				t.Error("the disk never fills up")
			})
		}
		all.Wait()
		l.verify(t, s, db)
		t.Logf("round %d: %+v", round, s.Stats())
		rnd := rand.New(rand.NewPCG(1, 1))
		for len(l.kept) > 0 {
			if err := l.remove(s, rnd); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
}
