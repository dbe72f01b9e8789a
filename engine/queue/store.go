// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"fmt"
	"io"
	"iter"

	"restante/engine/mail"
	"restante/internal/kv"
)

// A Draft takes in the text of one message. It ends in Commit or Abort; after
// either, Abort does nothing.
type Draft interface {
	io.Writer
	Size() int64 // octets written so far

	// Commit stores the message under env, whose ID must be new, and applies
	// extra to the queue's DB in the same durable step. After an error nothing
	// of it happened.
	Commit(ctx context.Context, env mail.Envelope, extra ...kv.Op) error
	Abort()
}

// A Store keeps the text and the envelopes of messages. It writes to the DB
// that the queue has its entries in, so that one commit holds both; the queue's
// keys begin with "q/". Package queuetest holds implementations to this
// contract.
type Store interface {
	// Create begins a message.
	Create(ctx context.Context) (Draft, error)

	// Open returns the text of a message, and Envelope its envelope as it was
	// committed. The error of one that can never be read again is a
	// [mail.ErrLost].
	Open(id mail.MessageID) (io.ReadSeekCloser, error)
	Envelope(id mail.MessageID) (mail.Envelope, error)

	// Scan yields all envelopes as of the call, in the order of their IDs. An
	// envelope that cannot be read is yielded with its ID and an error, and
	// the scan goes on; an error without an ID ends it.
	Scan(ctx context.Context) iter.Seq2[mail.Envelope, error]

	// Remove deletes messages and applies extra in the same durable step. An
	// ID that is not there is no error.
	Remove(ctx context.Context, ids []mail.MessageID, extra ...kv.Op) error
}

// Create begins a message for [Queue.Accept].
func (q *Queue) Create(ctx context.Context) (Draft, error) { return q.store.Create(ctx) }

// Accept stores the message in d, which came from [Queue.Create], and queues it
// for each destination. When it returns nil, message, envelope and entries are
// on stable storage. After an error nothing of it is there. The envelope needs
// an ID of its own and at least one recipient, each with a domain.
func (q *Queue) Accept(ctx context.Context, d Draft, env mail.Envelope) error {
	env.Size = d.Size()
	return q.accept(ctx, d, env)
}

// accept is Accept with further operations in the same commit.
func (q *Queue) accept(ctx context.Context, d Draft, env mail.Envelope, extra ...kv.Op) error {
	records, ops, err := entriesOf(env)
	if err != nil {
		return err
	}
	if err := d.Commit(ctx, env, append(ops, extra...)...); err != nil {
		return fmt.Errorf("queue %s: %w", env.ID, err)
	}
	// From here on a crash must not lose the message.
	q.deps.Journal.Accepted(ctx, env)
	for _, name := range q.enter(env, records) {
		q.deps.Journal.Held(ctx, env.ID, name)
	}
	return nil
}
