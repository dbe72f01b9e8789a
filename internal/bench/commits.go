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

// measureCommits measures durable commits per second of batches that each set
// one property, in turns with a bare loop over Badger that merges, syncs and
// writes as much: a key, a record of history and a counter. The loop and the
// store keep all history; in the last row the history is full, and each batch
// drops a record.
func measureCommits(ctx context.Context, o options, r *report) error {
	turns, turn := 7*o.rounds, o.window/6
	bare, closeBare, err := newBadgerLoop(ctx, o)
	if err != nil {
		return err
	}
	defer closeBare()
	for _, row := range []struct {
		name    string
		writers int
		keep    int // revisions of history; 0: all
	}{{"1 writer", 1, 0}, {"32 writers", 32, 0}, {"32 writers, history full", 32, 1000}} {
		batches, closeStore, err := newBatchStore(ctx, o, row.keep)
		if err != nil {
			return err
		}
		f := &figure{Name: "commits, " + row.name, Unit: "batches/s", More: true}
		ways := []func(uint64) error{batches, bare}
		err = inTurns(turns, f, []string{"restante", "bare Badger loop"}, func(i int) (float64, error) {
			return inParallel(row.writers, turn, ways[i])
		})
		closeStore()
		if err := errors.Join(err, r.figure(f)); err != nil {
			return err
		}
	}
	return nil
}

// inParallel calls f from many goroutines for a window, each time with another
// number, and gives calls per second.
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

// newBatchStore opens a store that keeps so many revisions, and gives a function
// that commits one batch to it.
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

// newBadgerLoop starts the simplest group commit: a channel, a transaction, an
// answer.
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
