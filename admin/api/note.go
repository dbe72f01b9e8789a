// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"time"

	"restante/metabase"
)

// A Noted is something that a caller is to know about a call that was done.
type Noted struct {
	Subject string `json:"subject"` // a path
	Text    string `json:"text"`

	// In the place of a text: a revision that the call has made, and the deadline by
	// which it must be confirmed, if there is one.
	Rev   metabase.Rev `json:"rev,omitempty"`
	Until time.Time    `json:"until,omitzero"`
}

type noteKey struct{}

// WithNotes gives a context whose calls report what they note to f, on the
// caller's goroutine.
func WithNotes(ctx context.Context, f func(Noted)) context.Context {
	return context.WithValue(ctx, noteKey{}, f)
}

// Note reports something beside the answer of the call of ctx.
func Note(ctx context.Context, subject, text string) {
	if f, ok := ctx.Value(noteKey{}).(func(Noted)); ok {
		f(Noted{Subject: subject, Text: text})
	}
}

// Forward reports what was noted of a call that was carried on.
func Forward(ctx context.Context, n Noted) {
	if f, ok := ctx.Value(noteKey{}).(func(Noted)); ok {
		f(n)
	}
}
