// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"io"

	"restante/engine/mail"
)

// A Signing makes the signatures of one message, which it is shown as it is stored.
type Signing interface {
	io.Writer       // of the message; it never fails
	Fields() string // ends it: fields for the top of the message, or ""
	Close()         // gives it up; after Fields it does nothing
}

// signing begins the signatures of a message; nil: it gets none. What only passes
// through stays as it is.
func (s *Session) signing(submitted bool, env mail.Envelope) Signing {
	if !submitted || s.policy.Sign == nil {
		return nil
	}
	return s.policy.Sign(env)
}

// A signedBody has a message signed as it is taken in: whatever becomes of it in the
// queue and on its way out, its text stays as it was signed.
type signedBody struct {
	Body
	sign Signing
}

func (b signedBody) Write(p []byte) (int, error) {
	_, _ = b.sign.Write(p) // it never fails
	return b.Body.Write(p)
}

func (b signedBody) Accept(ctx context.Context, env mail.Envelope) error {
	env.Top = b.sign.Fields()
	return b.Body.Accept(ctx, env)
}

func (b signedBody) Abort() {
	b.sign.Close()
	b.Body.Abort()
}
