// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"io"
	"iter"

	"restante/engine/mail"
	"restante/internal/kv"
)

// A Body takes a message in, before it is the queue's.
type Body interface {
	io.Writer
	Size() int64
	Abort()
}

// A store keeps messages; the spool is one. Its ops and the queue's land in
// the same DB.
type store interface {
	Create(ctx context.Context) (Body, error)
	Commit(ctx context.Context, b Body, env mail.Envelope, extra ...kv.Op) error
	Open(id mail.MessageID) (io.ReadSeekCloser, error)
	Envelope(id mail.MessageID) (mail.Envelope, error)
	Scan(ctx context.Context) iter.Seq2[mail.Envelope, error]
	Remove(ctx context.Context, ids []mail.MessageID, extra ...kv.Op) error
	Messages() int
	// Lost says that err means a message that can never be read again.
	Lost(err error) bool
}
