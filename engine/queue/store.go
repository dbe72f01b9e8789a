// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"io"
	"iter"

	"restante/engine/mail"
	"restante/engine/spool"
	"restante/internal/kv"
)

// A draft takes a message in, before it is the queue's.
type draft interface {
	io.Writer
	Size() int64
	Abort()
}

// A store keeps messages; the spool is one. Its ops and the queue's land in
// the same DB.
type store interface {
	Create(ctx context.Context) (draft, error)
	Commit(ctx context.Context, b draft, env mail.Envelope, extra ...kv.Op) error
	Open(id mail.MessageID) (io.ReadSeekCloser, error)
	Envelope(id mail.MessageID) (mail.Envelope, error)
	Scan(ctx context.Context) iter.Seq2[mail.Envelope, error]
	Remove(ctx context.Context, ids []mail.MessageID, extra ...kv.Op) error
	// Lost says that err means a message that can never be read again.
	Lost(err error) bool
}

// disk is the spool as a store.
type disk struct{ *spool.Spool }

func (d disk) Create(ctx context.Context) (draft, error) { return d.Spool.Create(ctx) }

func (d disk) Commit(ctx context.Context, b draft, env mail.Envelope, extra ...kv.Op) error {
	w, ok := b.(*spool.Writer)
	if !ok {
		return errors.New("the body was not made by this spool")
	}
	return d.Spool.Commit(ctx, w, env, extra...)
}

func (d disk) Open(id mail.MessageID) (io.ReadSeekCloser, error) { return d.Spool.Open(id) }

func (disk) Lost(err error) bool {
	return errors.Is(err, spool.ErrDamaged) || errors.Is(err, spool.ErrNotFound)
}

// New opens the queue whose messages are in sp and whose entries are in db,
// which must be the very DB that sp was opened with: both write to it in one
// commit, the queue below "q/". What a crash left undone is done. It starts
// nothing; see [Queue.Run].
func New(ctx context.Context, sp *spool.Spool, db kv.DB, deps Deps) (*Queue, error) {
	return open(ctx, disk{sp}, db, deps)
}

// Accept makes the message in w, which came from sp.Create, the queue's. When
// it returns nil, message, envelope and its places in the queue are on stable
// storage, and it is tried or held at once. After an error nothing of it is
// there. The envelope needs an ID of its own and at least one recipient, each
// with a domain.
func (q *Queue) Accept(ctx context.Context, w *spool.Writer, env mail.Envelope) error {
	env.Size = w.Size()
	return q.accept(ctx, w, env)
}
