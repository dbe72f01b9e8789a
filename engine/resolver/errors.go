// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"errors"
	"fmt"
)

// A Kind says why there is no host.
type Kind string

const (
	Temporary Kind = "no answer from the name servers" // time-out, SERVFAIL, REFUSED: ask again later
	NotFound  Kind = "no such domain"                  // NXDOMAIN
	NullMX    Kind = "the domain takes no mail"        // RFC 7505
	NoAddress Kind = "no mail host has an address"
	Loop      Kind = "mail for the domain comes back to this host"
)

func (k Kind) Error() string { return string(k) }

// Error is what was asked for, why there is no answer, and the cause or nil.
// errors.Is finds the Kind.
type Error struct {
	Name string
	Kind Kind
	Err  error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("resolve %s: %s: %v", e.Name, e.Kind, e.Err)
	}
	return fmt.Sprintf("resolve %s: %s", e.Name, e.Kind)
}

// Is matches the Kind.
func (e *Error) Is(target error) bool { return target == error(e.Kind) }

func (e *Error) Unwrap() error { return e.Err }

// IsTemporary says that asking again later may help.
func IsTemporary(err error) bool { return errors.Is(err, Temporary) }
