// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"errors"
	"fmt"
)

// What callers decide by; each is found with errors.Is.
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
)

// The largest key (with the prefixes of Prefix) and value that a Commit takes. The number of ops in a
// commit has no limit.
const (
	MaxKey   = 60_000
	MaxValue = 48 << 20
)

// Check returns an error if a Commit can never accept ops. A caller that merges
// its ops with those of others asks first, so that only it is refused.
func Check(ops ...Op) error {
	for i, op := range ops {
		if len(op.Key) > MaxKey {
			return fmt.Errorf("kv: commit: op %d: key of %d bytes, at most %d: %w", i, len(op.Key), MaxKey, ErrTooLarge)
		}
		if len(op.Value) > MaxValue {
			return fmt.Errorf("kv: commit: op %d: value of %d bytes, at most %d: %w", i, len(op.Value), MaxValue, ErrTooLarge)
		}
	}
	return nil
}

// InUse is ErrInUse with the process that has the folder, where its lock file
// says which.
type InUse struct{ PID int }

func (e *InUse) Error() string { return fmt.Sprintf("%v (process %d)", ErrInUse, e.PID) }

// Unwrap gives ErrInUse.
func (e *InUse) Unwrap() error { return ErrInUse }
