// SPDX-License-Identifier: Apache-2.0

// Package kv is the contract of an ordered map of bytes whose commits are
// durable and atomic, whatever their size. It has one implementation in memory,
// for tests; package badgerkv keeps the map on disk, on Windows and macOS package
// boltkv, and package kvtest holds every implementation to the contract.
//
// The contract is made so that several processes may share one map: a commit
// may depend on what a key holds ([Must]), a DB tells that another one has
// committed (Changed), and the outcome of a commit may be unknown
// ([ErrUnknown]). The package knows nothing of what the map holds.
package kv

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// A DB is an ordered map. All methods may be called from anywhere at any time.
type DB interface {
	// Get returns a copy of the value at key, or nil and false if there is none.
	Get(key []byte) (value []byte, ok bool, err error)

	// Scan yields the pairs whose key begins with prefix, in key order, as of
	// the call: later commits do not show in it. Key and value are only valid
	// until the next step. An error ends the scan and is yielded last, with a
	// nil key.
	Scan(ctx context.Context, prefix []byte) iter.Seq2[Pair, error]

	// Commit applies all of ops at once, in their order, and returns when they
	// are on stable storage. Conditions are judged on the state before, wherever
	// they stand among ops; if one does not hold, the error is ErrMoved. An
	// error that is not ErrUnknown means that nothing of ops was applied. When
	// the disk fails, every later Commit is refused.
	Commit(ctx context.Context, ops ...Op) error

	// Changed returns a channel that receives after another DB of the same map
	// has committed below prefix. One receive may stand for many commits, and
	// may come without any. The channel is nil if no other DB can commit.
	Changed(prefix []byte) <-chan struct{}

	// Close waits for the commits under way. Closing twice is harmless.
	Close() error
}

// A Pair is a key with its value.
type Pair struct{ Key, Value []byte }

// An Op is one part of a commit. Make it with Put, Del or Must.
type Op struct {
	Key, Value []byte
	Kind       OpKind
}

// OpKind says what an Op does.
type OpKind byte

// What an Op does.
const (
	OpPut  OpKind = iota // Key gets Value
	OpDel                // Key is removed
	OpMust               // nothing; the commit depends on Key having Value, or on its absence
)

// Put sets key to value.
func Put(key, value []byte) Op { return Op{Key: key, Value: value} }

// Del removes key; that there is no such key is no error.
func Del(key []byte) Op { return Op{Key: key, Kind: OpDel} }

// Must refuses the commit with ErrMoved unless key has value, or, if value is
// nil, unless there is no such key. It fails only the commit that it is in.
func Must(key, value []byte) Op { return Op{Key: key, Value: value, Kind: OpMust} }

// Holds reports whether the condition op is met by what Get returned for its key.
func (op Op) Holds(value []byte, ok bool) bool {
	if op.Value == nil {
		return !ok
	}
	return ok && string(value) == string(op.Value)
}

// The errors that callers decide by; find them with errors.Is.
var (
	// ErrInUse means that another process (or this one) has the folder open.
	ErrInUse = errors.New("in use by another process")
	// ErrDamaged means that files of the store do not hold what was written.
	ErrDamaged = errors.New("damaged")
	// ErrFull means that the disk has too little room left. Nothing happened;
	// the same commit works once there is room again.
	ErrFull = errors.New("no space left on the disk")
	// ErrReadOnly means that the DB was opened to be read only.
	ErrReadOnly = errors.New("opened for reading only")
	// ErrUnclean means that the folder cannot be opened for reading only: it was not
	// closed, and must be opened for writing once.
	ErrUnclean = errors.New("was not closed, and must be opened for writing once")
	// ErrClosed means that the DB was closed.
	ErrClosed = errors.New("closed")
	// ErrTooLarge means that a key or a value is beyond what the store takes.
	ErrTooLarge = errors.New("too large")
	// ErrMoved means that a condition of the commit did not hold: another commit
	// was first. Nothing happened.
	ErrMoved = errors.New("another commit was first")
	// ErrUnknown means that the answer to a commit was lost. The commit happened
	// whole or not at all. The same commit again, with a Must that the first one
	// breaks, tells which: it either happens now or is refused with ErrMoved.
	ErrUnknown = errors.New("the outcome is unknown")
)

// The largest key (with the prefixes of Prefix) and value that a Commit takes. A
// relational database cannot index longer keys. The number of ops in a commit
// has no limit.
const (
	MaxKey   = 2_000
	MaxValue = 48 << 20
)

// Check returns an error if a Commit can never accept ops. A caller that merges
// its ops with those of others asks first, so that only it is refused. Longer
// keys, which earlier versions wrote, may still be removed.
func Check(ops ...Op) error {
	for i, op := range ops {
		if len(op.Key) > MaxKey && op.Kind != OpDel {
			return fmt.Errorf("kv: commit: op %d: key of %d bytes, at most %d: %w", i, len(op.Key), MaxKey, ErrTooLarge)
		}
		if len(op.Value) > MaxValue {
			return fmt.Errorf("kv: commit: op %d: value of %d bytes, at most %d: %w", i, len(op.Value), MaxValue, ErrTooLarge)
		}
	}
	return nil
}

// InUse is ErrInUse with the process that has the folder, where its lock file
// names one.
type InUse struct{ PID int }

func (e *InUse) Error() string { return fmt.Sprintf("%v (process %d)", ErrInUse, e.PID) }

// Unwrap returns ErrInUse.
func (e *InUse) Unwrap() error { return ErrInUse }

type prefixed struct {
	db     DB
	prefix string
}

// Prefix returns the part of db whose keys begin with prefix; its keys are without
// the prefix. Commits of several such parts still share a sync. Its Close does
// nothing: db is closed by its owner.
func Prefix(db DB, prefix string) DB {
	if p, ok := db.(prefixed); ok {
		return prefixed{p.db, p.prefix + prefix}
	}
	return prefixed{db, prefix}
}

func (p prefixed) key(k []byte) []byte {
	out := make([]byte, 0, len(p.prefix)+len(k))
	return append(append(out, p.prefix...), k...)
}

func (p prefixed) Get(key []byte) ([]byte, bool, error) { return p.db.Get(p.key(key)) }

func (p prefixed) Scan(ctx context.Context, prefix []byte) iter.Seq2[Pair, error] {
	inner := p.db.Scan(ctx, p.key(prefix))
	return func(yield func(Pair, error) bool) {
		for pair, err := range inner {
			if err == nil {
				pair.Key = pair.Key[len(p.prefix):]
			}
			if !yield(pair, err) {
				return
			}
		}
	}
}

func (p prefixed) Commit(ctx context.Context, ops ...Op) error {
	moved := make([]Op, len(ops))
	for i, op := range ops {
		op.Key = p.key(op.Key)
		moved[i] = op
	}
	return p.db.Commit(ctx, moved...)
}

func (p prefixed) Changed(prefix []byte) <-chan struct{} { return p.db.Changed(p.key(prefix)) }

func (p prefixed) Close() error { return nil }
