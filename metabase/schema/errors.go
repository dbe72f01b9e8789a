// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"errors"
	"fmt"
	"strings"

	"restante/metabase"
)

// ErrArgs is the error, for errors.Is, of more or fewer words than a value is
// written with: the call is wrong, not the value.
var ErrArgs = errors.New("the number of words is wrong")

// A problem is an error with a kind, told in words of its own.
type problem struct {
	kind metabase.Kind
	text string
	args bool // it is ErrArgs, too
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

// Several is what is wrong with a value where that is more than one thing,
// such as with several strings of a list. Unwrap gives each.
type Several []error

// maxSeveral is how many are told: the rest is counted.
const maxSeveral = 50

func (e Several) Error() string {
	texts := make([]string, len(e))
	for i, one := range e {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives the errors.
func (e Several) Unwrap() []error { return e }

// all is nil for no error, the error itself for one, and Several for more.
func all(errs []error) error {
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
