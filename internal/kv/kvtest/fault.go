// SPDX-License-Identifier: Apache-2.0

package kvtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"restante/internal/kv"
)

// ErrFault is the cause of every error that a Fault makes.
var ErrFault = errors.New("injected fault")

var errLost = fmt.Errorf("%w: %w", kv.ErrUnknown, ErrFault)

// A Fault passes calls on to a DB until the chosen one, which fails.
// Gets, scans and commits count one each.
type Fault struct {
	db kv.DB

	mu    sync.Mutex // guards what follows
	calls int
	mode  mode
	at    int
}

type mode int

const (
	never   mode = iota
	once         // the one call fails and does nothing
	onward       // that call and all later ones fail and do nothing
	after        // the next commit happens, and its answer is lost
	unknown      // the next commit does not happen, and its answer is lost
)

// NewFault makes a Fault over db that fails nothing yet.
func NewFault(db kv.DB) *Fault { return &Fault{db: db} }

// FailOnce lets the n-th call from now fail; 1 is the next one.
func (f *Fault) FailOnce(n int) { f.set(once, n) }

// FailFrom lets the n-th call from now and all after it fail, as when the disk
// goes away.
func (f *Fault) FailFrom(n int) { f.set(onward, n) }

// FailAfter loses the answer of one commit, which happens: its error is
// kv.ErrUnknown. That is the n-th call from now, or the next commit after it.
func (f *Fault) FailAfter(n int) { f.set(after, n) }

// FailUnknown is FailAfter for a commit that does not happen.
func (f *Fault) FailUnknown(n int) { f.set(unknown, n) }

// Heal lets every later call through.
func (f *Fault) Heal() { f.set(never, 0) }

// Calls says how many calls there were in all, those that failed included.
func (f *Fault) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *Fault) set(m mode, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode, f.at = m, f.calls+n
}

// step counts a call and returns its errors, before and after the work.
func (f *Fault) step(commit bool) (before, behind error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	switch {
	case f.mode == once && f.calls == f.at, f.mode == onward && f.calls >= f.at:
		return ErrFault, nil
	case f.mode == after && f.calls >= f.at && commit:
		f.mode = never
		return nil, errLost
	case f.mode == unknown && f.calls >= f.at && commit:
		f.mode = never
		return errLost, nil
	}
	return nil, nil
}

// Get is that of the DB, or fails.
func (f *Fault) Get(key []byte) ([]byte, bool, error) {
	before, _ := f.step(false)
	if before != nil {
		return nil, false, before
	}
	return f.db.Get(key)
}

// Scan is that of the DB, or fails at its first step.
func (f *Fault) Scan(ctx context.Context, prefix []byte) iter.Seq2[kv.Pair, error] {
	before, _ := f.step(false)
	if before != nil {
		return func(yield func(kv.Pair, error) bool) { yield(kv.Pair{}, before) }
	}
	return f.db.Scan(ctx, prefix)
}

// Commit is that of the DB, or fails before or after its work.
func (f *Fault) Commit(ctx context.Context, ops ...kv.Op) error {
	before, behind := f.step(true)
	if before != nil {
		return before
	}
	if err := f.db.Commit(ctx, ops...); err != nil {
		return err
	}
	return behind
}

// Changed is that of the DB.
func (f *Fault) Changed(prefix []byte) <-chan struct{} { return f.db.Changed(prefix) }

// Close closes the DB; it never fails on purpose.
func (f *Fault) Close() error { return f.db.Close() }
