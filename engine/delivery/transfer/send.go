// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"cmp"
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
	Begun int            // transactions, as limit counts them
	Done  bool           // no message is left
	Cut   mail.MessageID // the message at which it broke, or ""
	Err   error          // why it ended early: the peer's reply as a mail.Reply, a broken connection, or a settlement that failed
}

// Send hands messages to the peer called host until none is left, limit (0:
// none) are sent, or the conversation breaks. The message at which it breaks is
// kept for the next Send, and so are those behind it that the peer has not got to their
// end. All that the peer confirmed is on stable storage when Send returns. The caller
// sends QUIT.
func (b *Batch) Send(ctx context.Context, c Client, host string, limit int) Result {
	s := &conversation{Batch: b, ctx: ctx, client: c, host: host, limit: limit}
	talk, end := b.talkContext(ctx, c)
	defer end()
	for again := true; again && s.res.Err == nil; again = len(s.again) > 0 && s.may() {
		err := c.SendAll(talk, s.next)
		if s.body != nil {
			s.body.close()
		}
		if err = cmp.Or(err, s.cut); err != nil {
			s.res.Err = err
		}
	}
	s.leaveRest()
	b.settles.Wait()
	if err := b.Err(); err != nil {
		s.res.Done, s.res.Err = false, err
	}
	return s.res
}

// A conversation is the work of one Send.
type conversation struct {
	*Batch
	ctx    context.Context
	client Client
	host   string
	limit  int
	body   *body
	again  []*flight   // whose peer takes fewer recipients at once
	left   []mail.Item // that the next Send begins with
	cut    error       // what ended the conversation
	res    Result
}

// A flight is a message under way.
type flight struct {
	it       mail.Item // To is those that have no outcome yet
	outcomes []mail.Outcome
	body     *body
}

// may says whether one more message may go out; if not, res may say why.
func (s *conversation) may() bool {
	switch {
	case s.cut != nil || s.res.Err != nil || s.Err() != nil || s.limit > 0 && s.res.Begun >= s.limit:
		return false
	case s.ctx.Err() != nil:
		s.res.Err = context.Cause(s.ctx)
	case s.guard != nil:
		s.res.Err = s.guard()
	}
	return s.res.Err == nil
}

// next gives the next message, in as many transactions as the peer's limit of recipients
// demands.
func (s *conversation) next() (wire.Outgoing, bool) {
	if s.body != nil {
		s.body.close()
	}
	for s.may() {
		f := &flight{}
		if len(s.again) > 0 {
			f, s.again = s.again[0], s.again[1:]
		} else if f.it, s.res.Done = s.nextItem(); s.res.Done {
			return wire.Outgoing{}, false
		}
		body, err := s.open(f.it)
		if err != nil {
			f.outcomes = append(f.outcomes, outcomesForAll(f.it.To, mail.Deferred, unreadable(err), "")...)
			s.finish(f, nil)
			continue
		}
		s.body, f.body, body.guard = body, body, s.guard
		s.res.Begun++
		env := f.it.Env
		return wire.Outgoing{
			From: s.masquerade.Sender(env.From), To: f.it.To, Size: env.Size, Body8Bit: env.Body8Bit,
			Ret: env.Ret, EnvID: env.EnvID, Priority: env.Priority, RequireTLS: env.RequireTLS,
			UTF8: env.UTF8, UTF8Header: env.UTF8Header, Binary: env.Binary, By: env.By, Held: s.held, Keep: f.it.Keep, Body: body,
			Alone: env.ID == s.lastBreak.ID, Done: func(replies []mail.Reply) { s.done(f, replies) },
		}, true
	}
	return wire.Outgoing{}, false
}

func (s *conversation) nextItem() (it mail.Item, none bool) {
	it, ok := s.Batch.next()
	return it, !ok
}

// leaveRest keeps the messages that the next Send begins with, in their order.
func (s *conversation) leaveRest() {
	for _, f := range s.again {
		s.settle(s.ctx, f.it.Env.ID, f.outcomes)
		s.left = append(s.left, f.it)
	}
	for i, it := range slices.Backward(s.left) {
		if i == 0 && it.Env.ID == s.res.Cut {
			s.requeue(it)
		} else {
			s.retryFirst = append(s.retryFirst, it)
		}
	}
	s.res.Done = s.res.Done && len(s.left) == 0 && s.res.Err == nil
}

// talkContext gives the context of what is under way. It outlasts a takeover and a stop,
// so that messages which the peer is taking are not sent twice: the stop until its
// grace time is over, the takeover until the peer is silent for too long. Only what it
// takes and its replies to messages count: replies could come by single octets without end.
func (b *Batch) talkContext(ctx context.Context, c Client) (context.Context, context.CancelFunc) {
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

// done takes the replies to a transaction. Recipients that have none, or a 421, are kept:
// the conversation is over.
func (s *conversation) done(f *flight, replies []mail.Reply) {
	to := f.it.To
	replies = append(replies, make([]mail.Reply, max(0, len(to)-len(replies)))...)
	noDSN, noBy := !s.client.Supports("DSN"), !s.client.Supports("DELIVERBY")
	decided := false // of some recipient: the others can come next
	for _, r := range replies {
		decided = decided || r.Code != 0 && !overLimit(r)
	}
	var rest []mail.Recipient
	var cut error
	for i, rcpt := range to {
		switch r := replies[i]; {
		case r.Code == 421: // RFC 5321 §3.8: the peer hangs up without a decision
			rest, cut = append(rest, rcpt), r
		case r.Code == 0:
			rest, cut = append(rest, rcpt), errNoReplies
		case decided && overLimit(r):
			rest = append(rest, rcpt)
		default:
			o := mail.OutcomeOf(rcpt.Address, r, s.host)
			o.NoDSN, o.NoBy = noDSN && o.Status == mail.Delivered, noBy && o.Status == mail.Delivered
			f.outcomes = append(f.outcomes, o)
		}
	}
	if f.it.To = rest; len(rest) > 0 && cut == nil {
		s.again = append(s.again, f)
		return
	}
	if len(rest) > 0 && f.body.err != nil { // the connection broke because the body could not be read
		f.outcomes = append(f.outcomes, outcomesForAll(rest, mail.Deferred, unreadable(f.body.err), "")...)
		f.it.To = nil
	}
	if cut == nil && slices.ContainsFunc(f.outcomes, func(o mail.Outcome) bool { return o.Reply.InDoubt() }) {
		cut = errNoReplies
	}
	s.finish(f, cut)
}

// errNoReplies is why a conversation ended whose Client has not said it.
var errNoReplies = errors.New("transfer: the peer's replies are missing")

// finish settles a message, or what is known of one that cut has ended. The first of these is
// the one at which the conversation broke.
func (s *conversation) finish(f *flight, cut error) {
	id := f.it.Env.ID
	s.settle(s.ctx, id, f.outcomes)
	if slices.ContainsFunc(f.outcomes, func(o mail.Outcome) bool { return o.Status == mail.Delivered }) {
		s.res.Taken++
	}
	lost := f.body != nil && f.body.lost != nil
	first := cut != nil && s.res.Cut == "" && !lost
	if lost {
		s.cut = f.body.lost
	}
	if first {
		s.res.Cut, s.cut = id, cut
	}
	switch {
	case cut != nil && len(f.it.To) > 0: // their number decides when they come again
		s.left = append(s.left, f.it)
	case first && f.body.err == nil: // in doubt: no further copy before its next time
		s.countBreak(id)
	case s.lastBreak.ID == id:
		s.lastBreak = Break{}
	}
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

// overLimit reports whether the peer accepts no more recipients in this
// transaction. Old servers say 552 for 452 (RFC 5321 §4.5.3.1.10).
func overLimit(r mail.Reply) bool {
	return (r.Code == 452 || r.Code == 552) && r.Phase == "RCPT" && (r.Enhanced == "" || r.Enhanced == "5.3")
}

// Bodies up to smallBody are read before the transaction begins: a damaged one
// does not break the conversation, and a fast peer does not wait for the disk.
const smallBody = 64 << 10

// A body reads a message and keeps the error of reading it. Its envelope may have gone out
// with the message before: the guard is asked again before the text.
type body struct {
	r   io.Reader
	c   io.Closer // nil: closed already
	err error

	guard func() error // nil: there is none, or it was asked
	lost  error        // of the guard
}

func (b *body) Read(p []byte) (int, error) {
	if b.guard != nil {
		if b.lost = b.guard(); b.lost != nil {
			return 0, b.lost
		}
		b.guard = nil
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
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
			if _, err = io.Copy(io.Discard, out); err == nil {
				_, err = f.Seek(0, io.SeekStart)
			}
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
