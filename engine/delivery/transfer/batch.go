// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"context"
	"sync"

	"restante/engine/mail"
)

// maxUnsettled is how many confirmed messages may wait to be settled: enough that
// one commit serves many, and the most that a crash sends twice.
const maxUnsettled = 64

// A Batch is what is left of a lease. It outlives conversations: what one
// could not hand over, the next one begins with. Its methods are for one
// goroutine.
type Batch struct {
	lease      Lease
	retryFirst []mail.Item // taken, and to be taken again first
	retryLast  []mail.Item // taken, and to be taken again when all else is gone
	buf        []byte      // of the small body under way
	lastBreak  Break

	slots   chan struct{}
	settles sync.WaitGroup

	mu  sync.Mutex // guards what follows
	err error      // the first settle that went wrong
}

// A Break is the message under which conversations broke, and how many in a
// row.
type Break struct {
	ID    mail.MessageID
	Times int
}

// NewBatch begins with what l gives. It does not close l.
func NewBatch(l Lease) *Batch {
	return &Batch{lease: l, slots: make(chan struct{}, maxUnsettled)}
}

// Err is the first settle that went wrong. After it nothing more is sent: what
// cannot be remembered would be sent again and again.
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
		if it.Env.ID != b.lastBreak.ID || b.lastBreak.Times < maxBreaks {
			return it, true
		}
		b.retryLast = append(b.retryLast, it)
	}
}

// LastBreak gives the message under which the last conversation broke; the zero
// Break if none did.
func (b *Batch) LastBreak() Break { return b.lastBreak }

// SetLastBreak tells a new Batch what an earlier one of the same destination broke
// under: a message that is too much for the line must not keep the others from
// the peer, call after call.
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

// settle remembers outcomes in the background, where there is room in the
// maxUnsettled. What a peer has said stands, even when ctx has ended since.
func (b *Batch) settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) {
	if len(outcomes) == 0 {
		return
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

// Each has do decide about every message that is left, without a peer, and
// settles what it gives back. It ends early with ctx or when a settle goes
// wrong, and returns when all is on stable storage.
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
// asked about it: r is why, host the last one tried or "".
func (b *Batch) GiveUp(ctx context.Context, s mail.Status, r mail.Reply, host string) error {
	if s == mail.Deferred {
		b.retryFirst, b.retryLast = nil, nil
		return b.lease.Defer(ctx, r, host)
	}
	return b.Each(ctx, func(_ context.Context, it mail.Item) []mail.Outcome {
		return outcomesForAll(it.To, s, r, host)
	})
}

// outcomesForAll gives every recipient the same outcome.
func outcomesForAll(to []mail.Recipient, s mail.Status, r mail.Reply, host string) []mail.Outcome {
	out := make([]mail.Outcome, len(to))
	for i, rcpt := range to {
		out[i] = mail.Outcome{To: rcpt.Address, Status: s, Reply: r, Host: host}
	}
	return out
}
