// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"errors"
	"fmt"
	"strings"

	"restante/metabase"
)

// ErrArgs is the error, for errors.Is, of a wrong number of words for a value:
// the call is wrong, not the value.
var ErrArgs = errors.New("the number of words is wrong")

// A problem is an error with a kind that its text does not name.
type problem struct {
	kind metabase.Kind
	text string
	args bool // is also ErrArgs
}

func (e *problem) Error() string { return e.text }
func (e *problem) Is(target error) bool {
	return target == e.kind || e.args && target == ErrArgs
}

func invalid(format string, args ...any) error {
	return &problem{kind: metabase.Invalid, text: fmt.Sprintf(format, args...)}
}

func wrongCount(format string, args ...any) error {
	return &problem{kind: metabase.Invalid, text: fmt.Sprintf(format, args...), args: true}
}

// Several holds the errors of a value that has more than one, such as those of
// several strings of a list.
type Several []error

// maxSeveral bounds the errors in Several; the last one counts the rest.
const maxSeveral = 50

func (e Several) Error() string {
	texts := make([]string, len(e))
	for i, one := range e {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the errors.
func (e Several) Unwrap() []error { return e }

// joined is nil for no error, the error itself for one, and Several for more.
func joined(errs []error) error {
	switch n := len(errs); {
	case n == 0:
		return nil
	case n == 1:
		return errs[0]
	case n > maxSeveral:
		return append(Several(errs[:maxSeveral:maxSeveral]), invalid("and %d more", n-maxSeveral))
	}
	return Several(errs)
}

// Suggest is `; did you mean "x"?` with the name that is nearest to what was typed,
// or "" where none is near.
func Suggest(typed string, names []string) string {
	const far = 64 // a longer word is no typing error
	if len(typed) > far {
		return ""
	}
	best, least := "", 1+len(typed)/3
	for _, name := range names {
		if name == "" || len(name) > far {
			continue
		}
		if d := distance(strings.ToLower(typed), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return `; did you mean "` + best + `"?`
}

// distance counts the octets to insert, delete, replace or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	before := make([]int, len(b)+1) // the row before the last
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
