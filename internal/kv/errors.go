// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"errors"
	"fmt"
)

// The errors that callers decide by; find them with errors.Is.
var (
	// ErrInUse means that another process (or this one) has the folder open.
	ErrInUse = errors.New("in use by another process")
	// ErrDamaged means that files of the store do not hold what was written.
	ErrDamaged = errors.New("damaged")
	// ErrFull means that the disk has too little room left. Nothing happened;
	// the same commit works once there is room again.
	ErrFull = errors.New("no space left on the disk")
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
