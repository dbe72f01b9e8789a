// SPDX-License-Identifier: Apache-2.0

// Package kv keeps an ordered map of bytes whose commits are durable: when
// Commit returns nil, a power cut does not undo it, and a commit is there
// whole or not at all, whatever its size.
//
// Commits that wait at the same time share one write to the disk. The package
// knows nothing of what it keeps.
package kv

import (
	"context"
	"iter"
)

// A DB is an ordered map. Open makes the durable one on Badger, NewMem one
// that forgets, for tests; kvtest holds both to this contract. All methods may
// be called from anywhere at any time.
type DB interface {
	// Get gives a copy of the value at key, or nil and false if there is none.
	Get(key []byte) (value []byte, ok bool, err error)

	// Scan yields the pairs whose key begins with prefix, in key order, as of
	// the call: later commits do not show in it. Key and value are only valid
	// until the next step. An error ends the scan and is yielded last, with a
	// nil key.
	Scan(ctx context.Context, prefix []byte) iter.Seq2[Pair, error]

	// Commit makes all of ops true at once, in their order, and returns when
	// they are on stable storage. An error means that nothing of it happened.
	// After an error that leaves the state unknown (the disk went away) every
	// later Commit is refused with the same error.
	Commit(ctx context.Context, ops ...Op) error

	// Close waits for the commits under way. Closing twice is harmless.
	Close() error
}

// A Pair is a key with its value.
type Pair struct{ Key, Value []byte }

// An Op puts Value at Key or, with Delete, removes Key.
type Op struct {
	Key, Value []byte
	Delete     bool
}

// Put and Del are the two ops.
func Put(key, value []byte) Op { return Op{Key: key, Value: value} }

// Del removes key; a key that is not there is no error.
func Del(key []byte) Op { return Op{Key: key, Delete: true} }
