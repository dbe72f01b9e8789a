// SPDX-License-Identifier: Apache-2.0

package pull

import (
	"context"
	"errors"
	"fmt"
	"time"

	"restante/engine/mail"
	"restante/engine/wire"
)

// A localServer is the connection to the server that gets the mail. It is made anew
// where it was lost between two messages.
type localServer struct {
	opts *Options
	c    *wire.Client // nil: none
}

func (l *localServer) connect(ctx context.Context) error {
	conn, err := l.opts.Dial(ctx, "tcp", l.opts.Local)
	if err != nil {
		return err
	}
	l.c, err = wire.NewClient(ctx, conn, wire.ClientOptions{Hello: l.opts.Name, TLSPolicy: wire.TLSNever, LMTP: l.opts.LMTP})
	return err
}

// answerTime is how long the local server has to answer MAIL, over a new connection where
// need be, and RCPT: a little less than the holder waits (RFC 5321 §4.5.3.2).
const answerTime = 4 * time.Minute

var errSilent = fmt.Errorf("it is silent for %s", answerTime)

func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, answerTime, errSilent)
}

func (l *localServer) named(err error) error {
	return fmt.Errorf("local server %s: %w", l.opts.Local, err)
}

// quitTime is how long a peer has for the answer to QUIT, on which nothing depends.
const quitTime = 5 * time.Second

func quit(ctx context.Context, c *wire.Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTime)
	defer cancel()
	_ = c.Quit(ctx)
}

func (l *localServer) quit(ctx context.Context) {
	if l.c != nil {
		quit(ctx, l.c)
	}
}

func (l *localServer) close() {
	if l.c != nil {
		_ = l.c.Close()
		l.c = nil
	}
}

// mail begins a transaction, over a new connection where the present one is gone: a
// server may have closed it while the holder was silent.
func (l *localServer) mail(ctx context.Context, m wire.Outgoing) (*wire.Relay, mail.Reply, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	if l.c != nil {
		t, r, err := l.c.Mail(ctx, m)
		if err == nil || ctx.Err() != nil {
			return t, r, err
		}
		l.close()
	}
	if err := l.connect(ctx); err != nil {
		l.c = nil
		return nil, mail.Reply{}, err
	}
	return l.c.Mail(ctx, m)
}

// verbs are what the local server can take, as the holder may use it.
func (l *localServer) verbs() mail.Verbs {
	return mail.Verbs{
		Pipelining: true, Chunking: true, EnhancedCodes: true, Limits: true,
		EightBit: l.c.Supports("8BITMIME"), UTF8: l.c.Supports("SMTPUTF8"), DSN: l.c.Supports("DSN"),
	}
}

// lost is the reply to the holder when the local server cannot be reached: the holder
// keeps its mail.
func lost(err error) mail.Reply {
	var r mail.Reply
	if errors.As(err, &r) && r.Code == 421 {
		r.Enhanced, r.Peer = "3.2", false
		return r
	}
	return mail.Reply{Code: 421, Enhanced: "4.1", Text: "the local server is out of reach", Cause: err}
}
