// SPDX-License-Identifier: Apache-2.0

// Package problem has the reasons why a batch is refused.
package problem

import (
	"strings"

	"restante/metabase/item"
	"restante/metabase/key"
)

// A Problem is one reason why a batch was refused. Where Err names another key,
// Other is its path: a caller who may not read that key is not given Err.
type Problem struct {
	Path     key.Path // "" where no single key is meant
	ID       item.ID  // 0 where the key itself is meant
	Property string   // the name of ID where it is known
	Other    key.Path // "" where Err names no key beside Path and those above it
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
	return key.OneLine(text)
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
