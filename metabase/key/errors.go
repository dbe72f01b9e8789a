// SPDX-License-Identifier: Apache-2.0

package key

import (
	"errors"
	"fmt"
	"strings"
)

// A Kind is what callers decide by. It is an error itself, for errors.Is.
type Kind string

// The kinds of errors.
const (
	NotFound Kind = "not found"      // no such key, property, revision or backup
	Invalid  Kind = "invalid"        // the request can never succeed as it stands
	Conflict Kind = "conflict"       // the store moved on, or a later change stands in the way: see IsStale
	Exists   Kind = "already exists" // a key of that name is there
	Denied   Kind = "denied"         // the caller has not the right
	InUse    Kind = "in use"         // another process has the store
	Damaged  Kind = "damaged"        // what was read is not what was written
	Closed   Kind = "closed"         // the store was closed
)

func (k Kind) Error() string { return string(k) }

// An Error says what was being done to which key, of what kind the failure
// is, and why.
type Error struct {
	Op   string
	Path Path // "" where no single key is meant
	Kind Kind // "" where the cause says it all, such as the disk's
	Err  error
}

func (e *Error) Error() string {
	parts := make([]string, 0, 4)
	for _, part := range []string{e.Op, string(e.Path), string(e.Kind)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Is compares with a Kind.
func (e *Error) Is(target error) bool { return e.Kind != "" && target == e.Kind }

// Unwrap gives the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// A reason is a kind told in words of its own.
type reason struct {
	kind Kind
	text string
}

func (r reason) Error() string        { return r.text }
func (r reason) Is(target error) bool { return target == r.kind }

// Errorf returns an error of a kind, with a text of its own.
func Errorf(kind Kind, format string, args ...any) error {
	return reason{kind, fmt.Sprintf(format, args...)}
}

// IsStale reports whether err says that the store has moved on since the caller read it:
// read again and retry. A batch refused for what stands in its way has problems of the
// kind Conflict, too, and a retry is refused like the first.
func IsStale(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == Conflict
}

// KindOf finds the kind that err carries, or "".
func KindOf(err error) Kind {
	for _, k := range []Kind{NotFound, Invalid, Conflict, Exists, Denied, InUse, Damaged, Closed} {
		if errors.Is(err, k) {
			return k
		}
	}
	return ""
}
