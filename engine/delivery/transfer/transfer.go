// SPDX-License-Identifier: Apache-2.0

// Package transfer hands the messages of a lease to one peer over one
// conversation, and has each settled as the peer confirms it.
//
// The Client asks for the next message as soon as the peer's extensions let it send one;
// outcomes come in order, and a confirmed message is settled while others are under way:
// confirmations that come together share a commit. A bounded number
// of confirmed messages is not yet on stable storage; all are before Send
// returns. A crash may therefore send these, and what is under way, twice; it loses none. Delivery
// and release share this loop; it does not know who opened the connection.
package transfer

import (
	"context"
	"time"

	"restante/engine/mail"
	"restante/engine/wire"
)

// A Lease gives the messages of one destination to one holder: *queue.Lease.
type Lease interface {
	// Next returns the next message; false if there is none now.
	Next() (mail.Item, bool)

	// Settle records the outcomes of recipients of message id; when it returns
	// nil they survive a crash. Recipients without an outcome stay as they
	// were. It may be called from several goroutines.
	Settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) error

	// Defer postpones all that is not settled, because no host can be reached:
	// r is why, host the last one tried or "". Next returns nothing more.
	Defer(ctx context.Context, r mail.Reply, host string) error

	// Until returns a context that ends with ctx, and with the cause
	// mail.ErrTakenOver when the owner of the mail takes the lease over.
	Until(ctx context.Context) (context.Context, context.CancelFunc)

	// Close ends the lease; what is not settled is back in the queue.
	Close()
}

// A Client is a conversation after the greetings: *wire.Client.
type Client interface {
	SendAll(ctx context.Context, next func() (wire.Outgoing, bool)) error
	Supports(ext string) bool
	LastSent() time.Time // when the peer last took what was sent, or answered a message
}
