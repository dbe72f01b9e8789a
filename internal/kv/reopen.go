// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"
)

// Reopen returns a DB that works again after a failure of the disk. When a commit
// ends in ErrUnknown, it closes what open gave, which has every commit that a
// reader has seen on stable storage, and calls open again until that succeeds.
// Meanwhile every call fails with the reason. Log may be nil.
func Reopen(open func() (DB, error), log *slog.Logger) (DB, error) {
	db, err := open()
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &reopener{open: open, log: log, db: db, closed: make(chan struct{})}, nil
}

type reopener struct {
	open   func() (DB, error)
	log    *slog.Logger
	closed chan struct{}
	once   sync.Once
	end    error // of Close
	repair sync.WaitGroup

	mu     sync.RWMutex // guards what follows
	db     DB
	broken error // why db is closed and not open again yet; nil: it is open
}

func (r *reopener) current() (DB, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.db, r.broken
}

// explain replaces the error of a call that met the closing of db.
func (r *reopener) explain(err error) error {
	if errors.Is(err, ErrClosed) {
		if _, broken := r.current(); broken != nil {
			return broken
		}
	}
	return err
}

func (r *reopener) Get(key []byte) ([]byte, bool, error) {
	db, err := r.current()
	if err != nil {
		return nil, false, err
	}
	value, ok, err := db.Get(key)
	return value, ok, r.explain(err)
}

func (r *reopener) Scan(ctx context.Context, prefix []byte) iter.Seq2[Pair, error] {
	db, err := r.current()
	if err != nil {
		return func(yield func(Pair, error) bool) { yield(Pair{}, err) }
	}
	pairs := db.Scan(ctx, prefix)
	return func(yield func(Pair, error) bool) {
		for p, err := range pairs {
			if !yield(p, r.explain(err)) {
				return
			}
		}
	}
}

func (r *reopener) Commit(ctx context.Context, ops ...Op) error {
	db, err := r.current()
	if err != nil {
		return err
	}
	if err = db.Commit(ctx, ops...); errors.Is(err, ErrUnknown) {
		r.reopen(db, err)
	}
	return r.explain(err)
}

func (r *reopener) Changed(prefix []byte) <-chan struct{} {
	db, _ := r.current()
	return db.Changed(prefix)
}

// reopen begins to repair db, unless that is under way or done.
func (r *reopener) reopen(db DB, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		return
	default:
	}
	if r.db != db || r.broken != nil {
		return
	}
	// Without ErrUnknown: nothing of a later commit is applied.
	r.broken = fmt.Errorf("%v; the store is opened again as soon as the disk takes writes", cause)
	r.log.Error("kv: a commit is in doubt, the store is opened again", "err", cause)
	r.repair.Go(func() { r.tryOpen(db) })
}

// tryOpen closes db and opens it again.
func (r *reopener) tryOpen(db DB) {
	if err := db.Close(); err != nil {
		r.log.Error("kv: close the store", "err", err) // open looks at what is there
	}
	for wait := time.Second / 4; ; wait = min(2*wait, 15*time.Second) {
		db, err := r.open()
		if err == nil {
			r.mu.Lock()
			r.db, r.broken = db, nil
			r.mu.Unlock()
			r.log.Warn("kv: the store is open again")
			return
		}
		r.log.Error("kv: open the store again", "err", err)
		select {
		case <-r.closed:
			return
		case <-time.After(wait):
		}
	}
}

func (r *reopener) Close() error {
	r.once.Do(func() {
		r.mu.Lock()
		close(r.closed) // no repair begins from here on
		r.mu.Unlock()
		r.repair.Wait()
		db, _ := r.current()
		r.end = db.Close()
	})
	return r.end
}
