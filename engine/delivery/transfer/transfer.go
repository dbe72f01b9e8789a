// SPDX-License-Identifier: Apache-2.0

// Package transfer hands the messages of a lease to one peer over one
// conversation, and has each remembered as the peer confirms it.
//
// What the peer said of a message is settled while the next one is being sent:
// at most a window of confirmed messages is not yet on stable storage, and all
// are before Run returns. A crash may therefore send these few twice; it loses
// none. Delivery and release share this loop; who the peer is, and who opened
// the connection, is their business.
package transfer

import (
	"context"
	"io"

	"restante/engine/mail"
	"restante/engine/wire"
)

// An Item is one message of a lease, with those recipients that are to be
// handed over now.
type Item struct {
	Env      mail.Envelope
	To       []mail.Recipient
	Attempts int
	Open     func() (io.ReadSeekCloser, error)
}

// A Lease gives the messages of one destination to one holder.
type Lease interface {
	// Next takes the next message; false when there is none any more.
	Next() (Item, bool)

	// Settle remembers what became of recipients of message id; when it
	// returns nil that survives a crash. Recipients without an outcome stay as
	// they were. It may be called from several goroutines.
	Settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) error

	// Close ends the lease; what was taken and not settled is there again.
	Close()
}

// A Client is a conversation in which the greetings are done: *wire.Client.
type Client interface {
	Send(ctx context.Context, m wire.Outgoing) ([]mail.Reply, error)
	Supports(ext string) bool
}
