// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"sync"
	"time"

	"restante/engine/mail"
)

// maxUnsettled is the number of confirmed messages that may wait to be settled:
// enough to share commits, and the most that a crash sends twice.
const maxUnsettled = 64

// A Batch is the rest of a lease. It outlives conversations: the next one
// begins with what the last one could not hand over. Its methods must not be
// called concurrently.
type Batch struct {
	lease      Lease
	retryFirst []mail.Item // to be sent first
	retryLast  []mail.Item // to be sent last
	buf        []byte      // of the current small body
	lastBreak  Break
	patience   time.Duration        // see SetPatience
	guard      func() error         // see SetGuard
	skip       func(mail.Item) bool // see SetSkip
	held       bool                 // see SetHeld
	masquerade mail.Masquerade
	via        mail.Via // see SetVia

	slots   chan struct{}
	settles sync.WaitGroup

	mu  sync.Mutex // guards what follows
	err error      // the first settlement that failed
}

// A Break is the message at which conversations broke, and how many in a row.
type Break struct {
	ID    mail.MessageID
	Times int
}

// NewBatch makes a Batch of the messages of l. It does not close l.
func NewBatch(l Lease) *Batch {
	return &Batch{lease: l, slots: make(chan struct{}, maxUnsettled), patience: time.Minute}
}

// SetPatience sets how long a peer may be silent in the middle of a message when
// the owner of the mail wants to take the lease over.
func (b *Batch) SetPatience(d time.Duration) {
	if d > 0 {
		b.patience = d
	}
}

// SetGuard has Send ask before each message; an error of guard ends it.
func (b *Batch) SetGuard(guard func() error) { b.guard = guard }

// SetSkip has Send leave out the messages for which skip is true: they go back
// with the lease as they were.
func (b *Batch) SetSkip(skip func(mail.Item) bool) { b.skip = skip }

// SetHeld says that the mail is held for its host: a message that needs an extension which
// the peer does not offer waits for another call, and is not returned.
func (b *Batch) SetHeld(held bool) { b.held = held }

// SetMasquerade sets how senders are told to the peer.
func (b *Batch) SetMasquerade(m mail.Masquerade) { b.masquerade = m }

// SetVia sets what outcomes say of the conversation of the next Send.
func (b *Batch) SetVia(v mail.Via) { b.via = v }

// Err is the first settlement that failed. Nothing is sent after it: a message
// whose outcome is not recorded would be sent again.
func (b *Batch) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *Batch) next() (mail.Item, bool) {
	if it, ok := pop(&b.retryFirst); ok {
		return it, true
	}
	for {
		it, ok := b.lease.Next()
		if !ok {
			return pop(&b.retryLast)
		}
		if b.skip != nil && b.skip(it) {
			continue
		}
		if it.Env.ID != b.lastBreak.ID || b.lastBreak.Times < maxBreaks {
			return it, true
		}
		b.retryLast = append(b.retryLast, it)
	}
}

// More reports whether a message is left.
func (b *Batch) More() bool {
	it, ok := b.next()
	if ok {
		b.retryFirst = append(b.retryFirst, it)
	}
	return ok
}

// LastBreak is the message at which the last conversation broke; the zero Break
// if none did.
func (b *Batch) LastBreak() Break { return b.lastBreak }

// SetLastBreak tells a new Batch where an earlier one of the same destination
// broke: a message that always breaks the connection must not keep the others
// from the peer.
func (b *Batch) SetLastBreak(bad Break) { b.lastBreak = bad }

func pop(list *[]mail.Item) (it mail.Item, ok bool) {
	n := len(*list)
	if n == 0 {
		return mail.Item{}, false
	}
	it = (*list)[n-1]
	*list = (*list)[:n-1]
	return it, true
}

// settle records outcomes in the background, at most maxUnsettled at a time.
// The end of ctx does not interrupt it: the peer's answer stands.
func (b *Batch) settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) {
	if len(outcomes) == 0 {
		return
	}
	for i := range outcomes {
		if outcomes[i].Host != "" {
			outcomes[i].Via = b.via
		}
	}
	b.slots <- struct{}{}
	b.settles.Go(func() {
		defer func() { <-b.slots }()
		if err := b.lease.Settle(context.WithoutCancel(ctx), id, outcomes); err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.err == nil {
				b.err = err
			}
		}
	})
}

// Each calls do for every message that is left, without a peer, and settles the
// outcomes. It ends early with ctx or when a settlement fails, and returns when
// all is on stable storage.
func (b *Batch) Each(ctx context.Context, do func(context.Context, mail.Item) []mail.Outcome) error {
	defer b.settles.Wait()
	for {
		if err := b.Err(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		it, ok := b.next()
		if !ok {
			b.settles.Wait()
			return b.Err()
		}
		b.settle(ctx, it.Env.ID, do(ctx, it))
	}
}

// GiveUp settles all that is left with the same outcome, because no peer can be
// asked: r is why, host the last one tried or "".
func (b *Batch) GiveUp(ctx context.Context, s mail.Status, r mail.Reply, host string) error {
	if s == mail.Deferred {
		b.retryFirst, b.retryLast = nil, nil
		return b.lease.Defer(ctx, r, host)
	}
	return b.Each(ctx, func(_ context.Context, it mail.Item) []mail.Outcome {
		return outcomesForAll(it.To, s, r, host)
	})
}

// outcomesForAll is the same outcome for every recipient.
func outcomesForAll(to []mail.Recipient, s mail.Status, r mail.Reply, host string) []mail.Outcome {
	out := make([]mail.Outcome, len(to))
	for i, rcpt := range to {
		out[i] = mail.Outcome{To: rcpt.Address, Status: s, Reply: r, Host: host}
	}
	return out
}
