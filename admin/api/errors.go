// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"restante/engine/queue"
	"restante/internal/kv"
	"restante/metabase"
	"restante/metabase/schema"
)

// A Kind decides a command's exit code.
type Kind string

// The kinds.
const (
	KindFailed    Kind = "failed"     // the operation failed
	KindUsage     Kind = "usage"      // the call is malformed
	KindNotFound  Kind = "not_found"  // there is no such key, property, site, message ...
	KindRefused   Kind = "refused"    // a check, a missing right or a conflict
	KindNoService Kind = "no_service" // the service is needed and does not run
)

// An Error is the answer to a call that failed, as it is sent.
type Error struct {
	Kind     Kind      `json:"kind"`
	Text     string    `json:"text"`
	Problems []Problem `json:"problems,omitempty"`
	Hint     string    `json:"hint,omitempty"` // the corrected command, without "restante"

	// Answer is the answer to a change that is stored all the same, with the
	// problems as not_in_force. Nil: nothing is stored.
	Answer json.RawMessage `json:"answer,omitempty"`

	// Cause is the metabase's own kind of the error, "" for others: a program
	// decides by it where an exit code is too coarse.
	Cause metabase.Kind `json:"cause,omitempty"`
}

// A Problem is one of several reasons.
type Problem struct {
	Line     int    `json:"line,omitempty"` // of the batch or of the file
	Path     string `json:"path,omitempty"`
	Property string `json:"property,omitempty"`
	Why      string `json:"why"`
}

// String prints line, path, property and reason.
func (p Problem) String() string {
	line := ""
	if p.Line > 0 {
		line = "line " + strconv.Itoa(p.Line)
	}
	return join(line, p.Path, p.Property, p.Why)
}

// Error returns the text, and each problem on a line of its own. Line breaks in them
// are escaped: they come from others, and would look like one more problem.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	if e.Text != "" {
		lines = append(lines, metabase.OneLine(e.Text))
	}
	for _, p := range e.Problems {
		lines = append(lines, metabase.OneLine(p.String()))
	}
	return strings.Join(lines, "\n")
}

// ErrNoService answers a call that needs the running service.
var ErrNoService error = &Error{Kind: KindNoService, Text: "the service is needed and does not run", Hint: "serve"}

// ErrStopping answers a call that would change something while the service stops.
var ErrStopping error = &Error{Kind: KindNoService, Text: "the service is stopping: nothing is changed any more", Hint: "status"}

// Is reports whether target has the same kind and text, or is the cause.
func (e *Error) Is(target error) bool {
	if kind, ok := target.(metabase.Kind); ok {
		return kind == e.Cause || kind == metabase.NotFound && e.Kind == KindNotFound
	}
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && t.Text == e.Text
}

// AsError converts err to an Error, with its kind and all its problems.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var refused *metabase.Refused
	if errors.As(err, &refused) {
		return ofRefused(refused)
	}
	if acts := ofActs(err); len(acts) > 0 {
		return &Error{Kind: kindOf(err), Problems: acts, Cause: causeOf(err)}
	}
	e = &Error{Kind: kindOf(err), Text: plain(err), Cause: causeOf(err)}
	if lines := linesOf(err); len(lines) > 1 {
		e.Text, e.Problems = "", asProblems(lines)
	}
	return e
}

// linesOf returns the lines of an error: those that it says it has, or one for each
// error that errors.Join has joined. Any other error is one line.
func linesOf(err error) []string {
	text := err.Error()
	switch e := err.(type) {
	case interface{ Lines() []string }:
		return e.Lines()
	case interface{ Unwrap() []error }:
		if all := e.Unwrap(); errors.Join(all...).Error() == text {
			var lines []string
			for _, one := range all {
				lines = append(lines, linesOf(one)...)
			}
			return lines
		}
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		if inner == nil {
			break
		}
		lines := linesOf(inner)
		if before, after, ok := strings.Cut(text, inner.Error()); ok && len(lines) > 1 {
			lines[0], lines[len(lines)-1] = before+lines[0], lines[len(lines)-1]+after
			return lines
		}
	}
	return []string{text}
}

func asProblems(lines []string) (out []Problem) {
	for _, line := range lines {
		out = append(out, Problem{Why: line})
	}
	return out
}

// OfLines is an error of several lines.
func OfLines(kind Kind, hint string, lines []string) *Error {
	return &Error{Kind: kind, Problems: asProblems(lines), Hint: hint}
}

// WithAnswer returns err as the error of a change that is stored all the same. The
// answer a is a JSON object with at least one field.
func WithAnswer(err error, a any) error {
	e := *AsError(err)
	why := e.Problems
	if len(why) == 0 {
		why = []Problem{{Why: e.Text}}
	}
	object, err := json.Marshal(a)
	if err != nil {
		return err
	}
	list, err := json.Marshal(why)
	if err != nil {
		return err
	}
	e.Answer = slices.Concat(bytes.TrimSuffix(object, []byte("}")), []byte(`,"not_in_force":`), list, []byte("}"))
	return &e
}

// ofActs collects the problems that acts reported after the commit.
func ofActs(err error) (out []Problem) {
	switch err := err.(type) {
	case metabase.Problem:
		return []Problem{ofProblem(err)}
	case interface{ Unwrap() []error }:
		for _, one := range err.Unwrap() {
			out = append(out, ofActs(one)...)
		}
	}
	return out
}

// ofProblem converts a problem; the schema names the property.
func ofProblem(p metabase.Problem) Problem {
	name := p.Property
	if known, ok := schema.IIS().ByID(p.ID); ok && name == "" {
		name = known.Name
	}
	if name == "" && p.ID != 0 {
		name = p.ID.String()
	}
	return Problem{Path: string(p.Path), Property: name, Why: p.Err.Error()}
}

func ofRefused(r *metabase.Refused) *Error {
	e := &Error{Kind: KindRefused, Cause: causeOf(r)}
	if e.Cause == metabase.Conflict {
		e.Cause = metabase.Invalid // a caller tries again at Conflict, and would for ever
	}
	missing := 0
	for _, p := range r.Problems {
		e.Problems = append(e.Problems, ofProblem(p))
		if errors.Is(p.Err, metabase.NotFound) {
			missing++
		}
	}
	if missing > 0 && missing == len(r.Problems) {
		e.Kind = KindNotFound
	}
	return e
}

// causeOf finds the metabase's kind of err. Of several problems, those about what
// is there and about rights come first, as in ADSI's codes.
func causeOf(err error) metabase.Kind {
	for _, kind := range []metabase.Kind{metabase.NotFound, metabase.Exists, metabase.Denied, metabase.Conflict, metabase.Invalid} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return ""
}

func kindOf(err error) Kind {
	for _, row := range []struct {
		target error
		kind   Kind
	}{
		{metabase.NotFound, KindNotFound},
		{queue.ErrNotFound, KindNotFound},
		{metabase.Conflict, KindRefused},
		{metabase.Exists, KindRefused},
		{metabase.Denied, KindRefused},
		{metabase.Invalid, KindRefused},
		{metabase.InUse, KindFailed},
		{kv.ErrInUse, KindFailed},
		{queue.ErrNoExport, KindRefused},
		{queue.ErrNoFilter, KindUsage},
		{context.Canceled, KindFailed},
	} {
		if errors.Is(err, row.target) {
			return row.kind
		}
	}
	if busy := (queue.ErrBusy{}); errors.As(err, &busy) {
		return KindRefused
	}
	return KindFailed
}

// plain formats a metabase error without its operation: the command names its
// own.
func plain(err error) string {
	var e *metabase.Error
	if !errors.As(err, &e) || e.Error() != err.Error() {
		return err.Error()
	}
	bare := *e
	bare.Op = ""
	return bare.Error()
}

func join(parts ...string) string {
	kept := parts[:0:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ": ")
}

// Missing returns the error for a thing that does not exist.
func Missing(what, why string) error {
	return &Error{Kind: KindNotFound, Text: join(what, why)}
}

// Refused returns the error for a request about what that a check refuses.
func Refused(what, why string) error {
	return &Error{Kind: KindRefused, Text: join(what, why)}
}

// RefusedAll returns each line of a joined error as a problem.
func RefusedAll(err error) error { return OfLines(KindRefused, "", linesOf(err)) }

// Usage returns the error for a malformed call, with a hint to the right one.
func Usage(text, hint string) error {
	return &Error{Kind: KindUsage, Text: text, Hint: hint}
}
