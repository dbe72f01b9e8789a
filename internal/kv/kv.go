// SPDX-License-Identifier: Apache-2.0

// Package kv is the contract of an ordered map of bytes whose commits are
// durable and atomic, whatever their size. It has one implementation in memory,
// for tests; package badgerkv keeps the map on disk, and package kvtest holds
// every implementation to the contract.
//
// The contract is made so that several processes may share one map: a commit
// may depend on what a key holds ([Must]), a DB tells that another one has
// committed (Changed), and the outcome of a commit may be unknown
// ([ErrUnknown]). The package knows nothing of what the map holds.
package kv

import (
	"context"
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
