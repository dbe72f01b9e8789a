// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"restante/engine/settings"
	"restante/internal/kv/badgerkv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

// measureCommits prints durable commits per second of batches that each set
// one property, beside a bare loop over Badger that syncs and merges and writes
// as much for each: a key, a record of history and a counter. The two take
// turns of a moment each, so that both see the same disk. The bare loop keeps
// all that it writes; so does the store but in the last row, where its history
// is full and each batch drops a record of it as well.
func measureCommits(ctx context.Context, o options) error {
	turns, turn := 7*o.rounds, o.window/6
	fmt.Printf("durable commits per second (medians of %d paired turns of %v)\n%8s %10s %10s %7s\n", turns, turn, "writers", "batches", "bare", "ratio")
	theirs, closeTheirs, err := newBadgerLoop(ctx, o)
	if err != nil {
		return err
	}
	defer closeTheirs()
	for _, row := range []struct {
		writers int
		keep    int // revisions of history; 0: all
	}{{1, 0}, {32, 0}, {32, 1000}} {
		ours, closeOurs, err := newBatchStore(ctx, o, row.keep)
		if err != nil {
			return err
		}
		err = pairTurns(row.writers, turns, turn, ours, theirs)
		closeOurs()
		if err != nil {
			return err
		}
		if row.keep > 0 {
			fmt.Print("  with a full history")
		}
		fmt.Println()
	}
	return nil
}

// pairTurns prints what two ways to commit do by turns.
func pairTurns(writers, turns int, turn time.Duration, ours, theirs func(uint64) error) error {
	var batches, bare, ratios []float64
	for range turns {
		a, err := inParallel(writers, turn, ours)
		if err != nil {
			return err
		}
		b, err := inParallel(writers, turn, theirs)
		if err != nil {
			return err
		}
		batches, bare, ratios = append(batches, a), append(bare, b), append(ratios, a/b)
	}
	fmt.Printf("%8d %10.0f %10.0f %7.2f", writers, median(batches), median(bare), median(ratios))
	return nil
}

// inParallel calls f from many goroutines for a window, with numbers that come
// once each, and gives calls per second.
func inParallel(writers int, window time.Duration, f func(n uint64) error) (float64, error) {
	var next, done atomic.Uint64
	var all sync.WaitGroup
	failed := make([]error, writers)
	begin := time.Now()
	for w := range writers {
		all.Go(func() {
			for time.Since(begin) < window {
				if failed[w] = f(next.Add(1)); failed[w] != nil {
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds(), errors.Join(failed...)
}

// newBatchStore gives a store of its own, which keeps so many revisions, and what
// commits one batch to it.
func newBatchStore(ctx context.Context, o options, keep int) (commit func(n uint64) error, stop func(), err error) {
	dir, err := os.MkdirTemp(o.dir, "commits-")
	if err != nil {
		return nil, nil, err
	}
	db, err := badgerkv.Open(dir, badgerkv.Options{})
	if err != nil {
		return nil, nil, err
	}
	store, err := metabase.Open(ctx, db, seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check, settings.Check},
		Keep:   func(metabase.Snapshot) metabase.Retention { return metabase.Retention{Count: keep} },
	})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	stop = func() { store.Close(); db.Close(); os.RemoveAll(dir) }
	ops, err := settings.Setup(store.Snapshot(), settings.NewSite{Bindings: []string{"127.0.0.1:0"}, Domain: "hub.test"})
	for n := range uint64(1000) {
		ops = append(ops, metabase.AddKey{Path: commitDomain(n), Class: schema.Domain})
	}
	if err == nil {
		_, err = store.Apply(ctx, metabase.Batch{Ops: ops, Origin: metabase.FromSystem})
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	user, _ := schema.IIS().ByID(settings.RouteUserName)
	var last atomic.Uint64 // a batch that sets what is there commits nothing
	return func(uint64) error {
		n := last.Add(1)
		set := metabase.Set{Path: commitDomain(n), Property: user.Item(metabase.String(fmt.Sprint(n)))}
		_, err := store.Apply(ctx, metabase.Batch{Ops: []metabase.Op{set}, Actor: "user:root", Origin: metabase.FromCLI})
		return err
	}, stop, nil
}

func commitDomain(n uint64) metabase.Path {
	return settings.DomainPath(1, fmt.Sprintf("d%d.test", n%1000))
}

// newBadgerLoop gives the least that merges: a channel, a transaction, an answer.
func newBadgerLoop(ctx context.Context, o options) (commit func(n uint64) error, stop func(), err error) {
	dir, err := os.MkdirTemp(o.dir, "bare-")
	if err != nil {
		return nil, nil, err
	}
	db, err := badger.Open(badger.DefaultOptions(dir).WithSyncWrites(true).WithLogger(nil).
		WithMemTableSize(16 << 20).WithDetectConflicts(false))
	if err != nil {
		return nil, nil, err
	}
	type request struct {
		n    uint64
		done chan error
	}
	queue := make(chan request, 128)
	var loop sync.WaitGroup
	value := make([]byte, 100)
	loop.Go(func() {
		for r := range queue {
			batch := []request{r}
			for len(queue) > 0 {
				batch = append(batch, <-queue)
			}
			txn := db.NewTransaction(true)
			var err error
			for _, r := range batch {
				err = errors.Join(err, txn.Set([]byte("k"+commitDomain(r.n)), value),
					txn.Set(binary.BigEndian.AppendUint64([]byte("r"), r.n), value))
			}
			err = errors.Join(err, txn.Set([]byte("m"), value), txn.Commit())
			for _, r := range batch {
				r.done <- err
			}
		}
	})
	stop = func() { close(queue); loop.Wait(); db.Close(); os.RemoveAll(dir) }
	return func(n uint64) error {
		r := request{n, make(chan error, 1)}
		select {
		case queue <- r:
			return <-r.done
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, stop, nil
}
