// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"restante/engine/mail"
)

// A Relay is one message that is handed over verb by verb, as it comes from somebody
// else: each answer of the peer is known before the next verb. An error of a method
// ends the conversation, as one of [Client.Send] does.
type Relay struct{ s *sending }

// Mail begins a transaction with the sender and the parameters of m; its To and Body
// are not used. The Relay is good until the next Mail.
func (c *Client) Mail(ctx context.Context, m Outgoing) (*Relay, mail.Reply, error) {
	m.To = nil
	s := &sending{Client: c, m: m}
	if c.err != nil {
		return nil, mail.Reply{}, c.err
	}
	if r := s.cannotTake(); r.Code != 0 {
		return nil, r, nil
	}
	steps := s.sender()
	if steps == nil {
		return nil, s.mail, nil
	}
	reply, err := s.say(ctx, steps...)
	return &Relay{s}, reply, err
}

// Rcpt names a recipient.
func (r *Relay) Rcpt(ctx context.Context, to mail.Recipient) (mail.Reply, error) {
	s := r.s
	addr, ok := path(to.Address)
	if !ok || to.Address.IsNull() {
		return mail.Reply{Code: 553, Enhanced: "1.3", Text: "the address cannot be written"}, nil
	}
	if !to.Address.ASCII() && !s.wide {
		return s.missing("SMTPUTF8", "6.7", "the recipient's address"), nil
	}
	n := len(s.replies)
	s.replies = append(s.replies, mail.Reply{})
	line := "RCPT TO:" + addr + s.rcptParams(to) + "\r\n"
	return s.say(ctx, s.step(line, func(r mail.Reply) { s.recordRcpt(n, r) }))
}

// Data sends the message, and gives a reply for each accepted recipient, in order. With
// an error, those of whom nothing is known have code 0, and those whose reply was still
// to come are in doubt. An error of body is given as it is: then the peer has not got
// the end of the message.
func (r *Relay) Data(ctx context.Context, body io.Reader) (replies []mail.Reply, err error) {
	s := r.s
	if s.Client.err != nil {
		return nil, s.Client.err
	}
	defer context.AfterFunc(ctx, func() { s.peer.Close() })()
	s.m.Body = body
	var data mail.Reply
	err = s.ask(s.step("DATA\r\n", func(r mail.Reply) { data = r }))
	if err == nil {
		err = s.drain()
	}
	if err == nil {
		err = s.message(data)
	}
	if err == nil {
		err = s.drain()
	}
	if saidSo(err) {
		err = nil
	}
	if err != nil {
		s.doubt(err, true)
	}
	for _, i := range s.accepted {
		replies = append(replies, s.replies[i])
	}
	return replies, s.end(ctx, err)
}

// say sends steps and gives the last reply.
func (s *sending) say(ctx context.Context, steps ...step) (last mail.Reply, err error) {
	if s.Client.err != nil {
		return mail.Reply{}, s.Client.err
	}
	defer context.AfterFunc(ctx, func() { s.peer.Close() })()
	for _, st := range steps {
		do := st.got
		st.got = func(r mail.Reply) {
			last = r
			do(r)
		}
		err := s.ask(st)
		if err == nil {
			err = s.drain()
		}
		if saidSo(err) { // 421
			return mail.Reply{}, err
		}
		if err != nil {
			return last, s.end(ctx, err)
		}
	}
	return last, nil
}

// Ask says TURN, ATRN or ETRN with its argument, and gives the reply.
func (c *Client) Ask(ctx context.Context, line string) (mail.Reply, error) {
	if c.err != nil {
		return mail.Reply{}, c.err
	}
	defer context.AfterFunc(ctx, func() { c.peer.Close() })()
	r, err := c.peer.command(line + "\r\n")
	return r, c.end(ctx, err)
}

// Reverse gives the connection after a positive reply to TURN or ATRN: its user greets,
// and closes it. The Client is over.
func (c *Client) Reverse() (net.Conn, error) {
	if c.err != nil {
		return nil, c.err
	}
	if c.peer.r.Buffered() > 0 {
		c.Close()
		return nil, fmt.Errorf("%w: more stands behind the reply that reverses the roles", ErrProtocol)
	}
	c.err = errOver
	_ = c.peer.raw.SetDeadline(time.Time{})
	return c.peer.nc, nil
}
