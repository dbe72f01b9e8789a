// SPDX-License-Identifier: Apache-2.0

package metabase

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
	Conflict Kind = "conflict"       // the store moved on; read again and retry
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
	Kind Kind // "" where only the cause speaks, such as the disk's
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

// A Problem is one reason why a batch was refused. Where Err names another key,
// Other is its path: a caller who may not read that key is not given Err.
type Problem struct {
	Path     Path   // "" where no single key is meant
	ID       ID     // 0 where the key itself is meant
	Property string // the name of ID where it is known
	Other    Path   // "" where Err names no key beside Path and those above it
	Err      error
}

// Error prints path, property and reason.
func (p Problem) Error() string {
	name := p.Property
	if name == "" && p.ID != 0 {
		name = p.ID.String()
	}
	text := p.Err.Error()
	for _, part := range []string{name, string(p.Path)} {
		if part != "" {
			text = part + ": " + text
		}
	}
	return text
}

// Unwrap gives the reason.
func (p Problem) Unwrap() error { return p.Err }

// Refused carries everything that was wrong with a batch; nothing of the batch
// was kept. errors.Is finds the kinds of its problems.
type Refused struct{ Problems []Problem }

// Error prints one problem per line.
func (r *Refused) Error() string {
	lines := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems.
func (r *Refused) Unwrap() []error {
	errs := make([]error, len(r.Problems))
	for i, p := range r.Problems {
		errs[i] = p
	}
	return errs
}

// A reason is a kind told in words of its own.
type reason struct {
	kind Kind
	text string
}

func (r reason) Error() string        { return r.text }
func (r reason) Is(target error) bool { return target == r.kind }

func because(kind Kind, format string, args ...any) error {
	return reason{kind, fmt.Sprintf(format, args...)}
}

// kindOf finds the kind that err carries, or "".
func kindOf(err error) Kind {
	for _, k := range []Kind{NotFound, Invalid, Conflict, Exists, Denied, InUse, Damaged, Closed} {
		if errors.Is(err, k) {
			return k
		}
	}
	return ""
}
