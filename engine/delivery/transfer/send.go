// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"restante/engine/mail"
	"restante/engine/wire"
)

// A Result is the outcome of one conversation.
type Result struct {
	Taken int            // messages that the peer accepted for at least one recipient
	Done  bool           // no message is left
	Cut   mail.MessageID // the message at which it broke, or ""
	Err   error          // why it ended early: the peer's reply as a mail.Reply, a broken connection, or a settlement that failed
}

// Send hands messages to the peer called host until none is left, limit (0:
// none) are sent, or the conversation breaks. The message at which it breaks is
// kept for the next Send. All that the peer confirmed is on stable storage when
// Send returns. The caller sends QUIT.
func (b *Batch) Send(ctx context.Context, c Client, host string, limit int) (res Result) {
	defer func() {
		b.settles.Wait()
		if err := b.Err(); err != nil {
			res.Done, res.Err = false, err
		}
	}()
	for n := 0; limit == 0 || n < limit; n++ {
		if b.Err() != nil {
			return res
		}
		if ctx.Err() != nil {
			res.Err = context.Cause(ctx)
			return res
		}
		if b.guard != nil {
			if err := b.guard(); err != nil {
				res.Err = err
				return res
			}
		}
		it, ok := b.next()
		if !ok {
			res.Done = true
			return res
		}
		message, end := b.messageContext(ctx, c)
		taken, err := b.sendItem(message, c, host, it)
		end()
		if taken {
			res.Taken++
		}
		if err != nil {
			res.Cut, res.Err = it.Env.ID, err
			return res
		}
	}
	return res
}

// messageContext gives the context of one message. It outlasts a takeover and a stop,
// so that a message which the peer is taking is not sent twice: the stop until its
// grace time is over, the takeover until the peer is silent for too long. Only what it
// takes counts: replies could come by single octets without end.
func (b *Batch) messageContext(ctx context.Context, c Client) (context.Context, context.CancelFunc) {
	message, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		var stop *mail.Stopping
		switch cause := context.Cause(ctx); {
		case errors.As(cause, &stop):
			select {
			case <-message.Done():
			case <-stop.Cut:
				end(cause)
			}
			return
		case cause != mail.ErrTakenOver:
			end(cause)
			return
		}
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-message.Done():
				return
			case <-timer.C:
			}
			silent := time.Since(c.LastSent())
			if silent >= b.patience {
				end(mail.ErrTakenOver)
				return
			}
			timer.Reset(b.patience - silent)
		}
	})
	return message, func() {
		stop()
		end(nil)
	}
}

// unreadable is the reply for a message whose body cannot be read: it waits,
// and the others go on.
func unreadable(err error) mail.Reply {
	return mail.Reply{Code: 451, Enhanced: "3.0", Text: "the message cannot be read now", Cause: err}
}

// sendItem offers one message, in as many transactions as the peer's limit of
// recipients demands.
func (b *Batch) sendItem(ctx context.Context, c Client, host string, it mail.Item) (taken bool, err error) {
	body, err := b.open(it)
	if err != nil {
		b.settle(ctx, it.Env.ID, outcomesForAll(it.To, mail.Deferred, unreadable(err), ""))
		return false, nil
	}
	defer body.close()
	var outcomes []mail.Outcome
	rest, told := it.To, it
	told.Env.From = b.masquerade.Sender(it.Env.From)
	for len(rest) > 0 && err == nil {
		var got []mail.Outcome
		got, rest, err = b.transaction(ctx, c, host, told, rest, body)
		outcomes = append(outcomes, got...)
	}
	for _, o := range outcomes {
		taken = taken || o.Status == mail.Delivered
	}
	if err != nil && body.err != nil {
		// The connection broke because the body could not be read.
		outcomes = append(outcomes, outcomesForAll(rest, mail.Deferred, unreadable(body.err), "")...)
		rest = nil
	}
	b.settle(ctx, it.Env.ID, outcomes)
	inDoubt := slices.ContainsFunc(outcomes, func(o mail.Outcome) bool { return o.Reply.InDoubt() })
	switch {
	case len(rest) > 0:
		it.To = rest
		b.requeue(it)
	case inDoubt: // no further copy before its next time
		b.countBreak(it.Env.ID)
	case b.lastBreak.ID == it.Env.ID:
		b.lastBreak = Break{}
	}
	return taken, err
}

// maxBreaks is how many conversations in a row one message may break before the
// others are sent first.
const maxBreaks = 2

// requeue keeps the message at which a conversation broke.
func (b *Batch) requeue(it mail.Item) {
	if b.countBreak(it.Env.ID) < maxBreaks {
		b.retryFirst = append(b.retryFirst, it)
		return
	}
	b.retryLast = append(b.retryLast, it)
}

func (b *Batch) countBreak(id mail.MessageID) int {
	if b.lastBreak.ID != id {
		b.lastBreak = Break{ID: id}
	}
	b.lastBreak.Times++
	return b.lastBreak.Times
}

// transaction offers the message to some recipients. Rest is those of whom the
// peer said nothing final: with no error, those beyond its limit.
func (b *Batch) transaction(ctx context.Context, c Client, host string, it mail.Item, to []mail.Recipient, body *body) (
	outcomes []mail.Outcome, rest []mail.Recipient, err error) {
	if err := body.rewind(); err != nil {
		return outcomesForAll(to, mail.Deferred, unreadable(err), ""), nil, nil
	}
	env := it.Env
	replies, err := c.Send(ctx, wire.Outgoing{
		From: env.From, To: to, Size: env.Size, Body8Bit: env.Body8Bit,
		Ret: env.Ret, EnvID: env.EnvID, Priority: env.Priority, RequireTLS: env.RequireTLS,
		UTF8: env.UTF8, UTF8Header: env.UTF8Header, Binary: env.Binary, By: env.By, Held: b.held, Keep: it.Keep, Body: body,
	})
	replies = append(replies, make([]mail.Reply, max(0, len(to)-len(replies)))...)
	noDSN, noBy := !c.Supports("DSN"), !c.Supports("DELIVERBY")
	decided := false // of some recipient: the others can come next
	for _, r := range replies {
		decided = decided || r.Code != 0 && !overLimit(r)
	}
	for i, rcpt := range to {
		switch r := replies[i]; {
		case r.Code == 421: // RFC 5321 §3.8: the peer hangs up without a decision
			if err == nil {
				err = r
			}
			rest = append(rest, rcpt)
		case r.Code == 0, decided && overLimit(r):
			rest = append(rest, rcpt)
		default:
			o := mail.OutcomeOf(rcpt.Address, r, host)
			o.NoDSN, o.NoBy = noDSN && o.Status == mail.Delivered, noBy && o.Status == mail.Delivered
			outcomes = append(outcomes, o)
		}
	}
	if err == nil && len(rest) == len(to) {
		err = errors.New("transfer: the peer's replies are missing")
	}
	return outcomes, rest, err
}

// overLimit reports whether the peer accepts no more recipients in this
// transaction. Old servers say 552 for 452 (RFC 5321 §4.5.3.1.10).
func overLimit(r mail.Reply) bool {
	return (r.Code == 452 || r.Code == 552) && r.Phase == "RCPT" && (r.Enhanced == "" || r.Enhanced == "5.3")
}

// Bodies up to smallBody are read before the transaction begins: a damaged one
// does not break the conversation, and a fast peer does not wait for the disk.
const smallBody = 64 << 10

// A body reads a message and keeps the error of reading it.
type body struct {
	r   io.ReadSeeker
	c   io.Closer // nil: closed already
	err error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func (b *body) rewind() error {
	_, err := b.r.Seek(0, io.SeekStart)
	return err
}

func (b *body) close() {
	if b.c != nil {
		b.c.Close()
	}
}

// open prepares the body of it. A large one that was deferred before is read
// through first: if it is damaged, it must not break one conversation after the
// other.
func (b *Batch) open(it mail.Item) (*body, error) {
	f, err := it.Open()
	if err != nil {
		return nil, fmt.Errorf("message %s: open: %w", it.Env.ID, err)
	}
	if it.Env.Size > smallBody {
		out := &body{r: f, c: f}
		if it.Attempts > 0 {
			_, err = io.Copy(io.Discard, out)
		}
		if err != nil {
			out.close()
			return nil, fmt.Errorf("message %s: read: %w", it.Env.ID, err)
		}
		return out, nil
	}
	defer f.Close()
	buf := bytes.NewBuffer(b.buf[:0])
	_, err = buf.ReadFrom(f)
	b.buf = buf.Bytes()
	if err != nil {
		return nil, fmt.Errorf("message %s: read: %w", it.Env.ID, err)
	}
	return &body{r: bytes.NewReader(b.buf)}, nil
}

// quitTime is how long a peer has to answer QUIT when we stop.
const quitTime = 5 * time.Second

// End ends a conversation that Send has left with an error: with QUIT where a stop
// came between two messages, and else at once. The stop's grace time bounds it, too.
func End(ctx context.Context, c interface {
	Quit(context.Context) error
	Close() error
}, res Result) {
	var stop *mail.Stopping
	if res.Cut != "" || !errors.As(res.Err, &stop) {
		_ = c.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTime)
	defer cancel()
	go func() {
		select {
		case <-stop.Cut:
			cancel()
		case <-ctx.Done():
		}
	}()
	_ = c.Quit(ctx)
}
