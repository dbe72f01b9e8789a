// SPDX-License-Identifier: Apache-2.0

package kv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/kv"
	"restante/internal/kv/kvtest"
)

func TestReopenIsATransparentDB(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.DB {
		db, err := kv.Reopen(func() (kv.DB, error) { return kv.NewMem(), nil }, nil)
		if err != nil {
			t.Fatal(err)
		}
		return db
	})
}

// A disk has one map, which outlives the DB that is open. While it fails, a
// commit is in doubt and nothing opens.
type failingDisk struct {
	kv.DB
	fails, open atomic.Bool
}

func (d *failingDisk) Commit(ctx context.Context, ops ...kv.Op) error {
	switch {
	case !d.open.Load():
		return kv.ErrClosed
	case d.fails.Load():
		return fmt.Errorf("%w: input/output error", kv.ErrUnknown)
	}
	return d.DB.Commit(ctx, ops...)
}

func (d *failingDisk) Get(key []byte) ([]byte, bool, error) {
	if !d.open.Load() {
		return nil, false, kv.ErrClosed
	}
	return d.DB.Get(key)
}

func (d *failingDisk) Close() error { d.open.Store(false); return nil }

// A DB whose disk failed refuses every call with the reason, and works again by
// itself when the disk does.
func TestReopenAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &failingDisk{DB: kv.NewMem()}
		var opened atomic.Int64
		db, err := kv.Reopen(func() (kv.DB, error) {
			if disk.fails.Load() {
				return nil, errors.New("input/output error")
			}
			opened.Add(1)
			disk.open.Store(true)
			return disk, nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		key := []byte("k")
		for n := range 3 {
			value := []byte{byte(n)}
			if err := db.Commit(t.Context(), kv.Put(key, value)); err != nil {
				t.Fatal(err)
			}
			disk.fails.Store(true)
			if err := db.Commit(t.Context(), kv.Put(key, nil)); !errors.Is(err, kv.ErrUnknown) {
				t.Errorf("the commit that fails: %v", err)
			}
			time.Sleep(time.Hour)
			for what, err := range map[string]error{
				"commit": db.Commit(t.Context(), kv.Put(key, nil)), "get": getError(db, key), "scan": scanError(db),
			} {
				if err == nil || errors.Is(err, kv.ErrUnknown) || !strings.Contains(err.Error(), "input/output error") {
					t.Errorf("%s meanwhile: %v", what, err)
				}
			}
			disk.fails.Store(false)
			time.Sleep(15 * time.Second)
			synctest.Wait()
			if got, ok, err := db.Get(key); err != nil || !ok || string(got) != string(value) || opened.Load() != int64(n)+2 {
				t.Errorf("%q, %v, %v after the failure; opened %d times", got, ok, err, opened.Load())
			}
		}
		disk.fails.Store(true)
		_ = db.Commit(t.Context(), kv.Put(key, nil))
		synctest.Wait()
		if err := db.Close(); err != nil { // it ends the attempts
			t.Error(err)
		}
	})
}

// A slowDB answers a commit when the test says so, with ErrUnknown.
type slowDB struct {
	kv.DB
	answer chan struct{}
}

func (d slowDB) Commit(context.Context, ...kv.Op) error {
	<-d.answer
	return fmt.Errorf("%w: input/output error", kv.ErrUnknown)
}

// Commits of one DB that end in doubt after each other cause it to be opened once,
// also those that end when it is open again.
func TestReopenOnceForManyCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened atomic.Int32
		var ready atomic.Bool
		slow := slowDB{kv.NewMem(), make(chan struct{})}
		db, err := kv.Reopen(func() (kv.DB, error) {
			if opened.Add(1) == 1 {
				return slow, nil
			}
			if !ready.Load() {
				return nil, errors.New("not yet")
			}
			return kv.NewMem(), nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			go func() { _ = db.Commit(t.Context(), kv.Put([]byte("k"), nil)) }()
		}
		synctest.Wait()
		slow.answer <- struct{}{}
		synctest.Wait()
		slow.answer <- struct{}{} // the store is being opened
		synctest.Wait()
		if n := opened.Load(); n != 2 {
			t.Errorf("opened %d times after the second commit, want 2", n)
		}
		ready.Store(true)
		time.Sleep(time.Minute)
		slow.answer <- struct{}{} // it is open again
		synctest.Wait()
		if err := db.Commit(t.Context(), kv.Put([]byte("k"), nil)); err != nil || opened.Load() != 3 {
			t.Errorf("opened %d times, want 3; then %v", opened.Load(), err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func getError(db kv.DB, key []byte) error { _, _, err := db.Get(key); return err }

func scanError(db kv.DB) error {
	for _, err := range db.Scan(context.Background(), nil) {
		return err
	}
	return nil
}
