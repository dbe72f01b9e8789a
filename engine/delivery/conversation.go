// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"crypto/tls"
	"errors"

	"restante/engine/delivery/transfer"
	"restante/engine/mail"
	"restante/engine/wire"
)

// maxBreaks is how often in a row a host may break conversations without
// accepting a message, before the next host is tried.
const maxBreaks = 3

// tryTargets tries the targets until no message of b is left. If it is not
// done, f is what the last target said. An error is internal.
func (d *Delivery) tryTargets(ctx context.Context, targets []target, talk ClientSettings, b *transfer.Batch) (done bool, f failure, err error) {
	f = failure{mail.Deferred, mail.Reply{Code: 451, Enhanced: "4.4", Text: "there is no host to send to"}, ""}
	for _, t := range targets {
		cause := d.sendTo(ctx, t, talk, b)
		switch {
		case b.Err() != nil:
			return false, f, b.Err()
		case cause == nil:
			return true, f, nil
		case ctx.Err() != nil:
			return false, f, context.Cause(ctx)
		}
		d.opts.Log.WarnContext(ctx, "conversation", "host", t.host, "addr", t.addr, "err", cause)
		f = failure{mail.Deferred, refusal(cause, t), t.host}
	}
	return false, f, nil
}

// sendTo holds as many conversations with one target as it takes: some hosts
// hang up after a number of messages. It returns nil if no message of b is
// left, and otherwise why this target is of no further use.
func (d *Delivery) sendTo(ctx context.Context, t target, talk ClientSettings, b *transfer.Batch) error {
	for breaks := 0; ; {
		c, err := d.open(ctx, t, talk)
		if err != nil {
			return err
		}
		res := b.Send(ctx, c, t.host, talk.MaxMessages)
		if res.Err == nil {
			_ = c.Quit(ctx) // all is settled: the answer to QUIT changes nothing
			if res.Done {
				return nil
			}
			continue // the limit of one connection
		}
		_ = c.Close() // broken already
		if breaks++; res.Taken > 0 {
			breaks = 0
		}
		if breaks == maxBreaks || b.Err() != nil || ctx.Err() != nil {
			return res.Err
		}
	}
}

// open connects and greets. If TLS is optional and its handshake fails, it
// connects once more without TLS (RFC 7435), but never with a password.
func (d *Delivery) open(ctx context.Context, t target, talk ClientSettings) (*wire.Client, error) {
	c, err := d.connect(ctx, t, talk, false)
	if errors.Is(err, wire.ErrTLS) && !talk.RequireTLS && talk.Auth == nil && ctx.Err() == nil {
		d.opts.Log.WarnContext(ctx, "TLS handshake; sending in clear", "host", t.host, "addr", t.addr, "err", err)
		return d.connect(ctx, t, talk, true)
	}
	return c, err
}

func (d *Delivery) connect(ctx context.Context, t target, talk ClientSettings, clear bool) (*wire.Client, error) {
	dial, cancel := context.WithTimeout(ctx, d.opts.Connect)
	conn, err := d.opts.Dialer.DialContext(dial, "tcp", t.addr.String())
	cancel()
	if err != nil {
		return nil, err
	}
	opts := wire.ClientOptions{
		Hello: talk.Hello, TLS: tlsConfig(talk, t.host), UseHELO: talk.HELO,
		NoPipelining: talk.NoPipelining, Timeouts: talk.Timeouts, Auth: talk.signIn(),
	}
	switch {
	case talk.RequireTLS:
		opts.TLSPolicy = wire.TLSRequired
	case clear:
		opts.TLSPolicy = wire.TLSNever
	}
	return wire.NewClient(ctx, conn, opts)
}

// tlsConfig completes the TLS settings for one host. Where TLS is optional any
// certificate is accepted: the alternative is no encryption.
func tlsConfig(talk ClientSettings, host string) *tls.Config {
	cfg := talk.TLS.Clone()
	if cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	cfg.ServerName = host
	// A base that skips the verification has one of its own in VerifyConnection.
	cfg.InsecureSkipVerify = cfg.InsecureSkipVerify || !talk.RequireTLS
	return cfg
}

// refusal is the reply for messages that the target did not accept: the peer's
// words, or that there was no answer.
func refusal(cause error, t target) mail.Reply {
	var r mail.Reply
	if errors.As(cause, &r) {
		return r
	}
	if errors.Is(cause, wire.ErrTLS) {
		return mail.Reply{Code: 454, Enhanced: "7.5", Text: "no trusted TLS connection to " + t.host, Cause: cause}
	}
	return mail.Reply{Code: 451, Enhanced: "4.1", Text: "no answer from " + t.host, Cause: cause}
}
