// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"restante/engine/mail"
)

// Outgoing is one message to hand over.
type Outgoing struct {
	From     mail.Address
	To       []mail.Recipient // in Notify and ORcpt as RFC 3461 writes them
	Size     int64            // octets of Body, 0 when not known
	Body8Bit bool
	Ret      string
	EnvID    string
	Priority int8 // RFC 6710

	By         mail.Deadline
	RequireTLS bool // RFC 8689: it goes over TLS alone, to a peer that offers REQUIRETLS and has proved who it is
	UTF8       bool // RFC 6531: SMTPUTF8 was given for it,
	UTF8Header bool // and a header in it needs that
	Binary     bool // RFC 3030: it goes by BDAT, octet for octet, to a peer that offers BINARYMIME; Size is exact

	Keep bool      // a permanent refusal before the body is given as a temporary one
	Held bool      // what the peer lacks for it is a temporary failure: the mail is held for this host
	Body io.Reader // lines end in CRLF; dots are not stuffed

	Alone bool                       // nothing else is under way with it
	Done  func(replies []mail.Reply) // of SendAll: gets the replies, as Send gives them
}

// A sending is one message under way.
type sending struct {
	*Client
	m        Outgoing
	replies  []mail.Reply // code 0: not known yet
	mail     mail.Reply
	refused  mail.Reply // to a chunk before the last one
	accepted []int      // recipients that were accepted
	wide     bool       // MAIL has SMTPUTF8
	ended    bool       // the peer has all of it
	answered bool       // the peer has replied to the body
}

// Send hands m over. With a nil error it gives one reply for each recipient,
// in order: the peer's refusal of the sender or of the recipient, or its reply
// to the message. With an error the conversation is over, and nothing is known
// for the recipients whose reply has code 0. If the final dot was out, the
// accepted recipients have a reply that is in doubt. After a 421 the error is nil
// and the next Send's is not.
//
// RET, ENVID, NOTIFY and ORCPT go to a peer that offers DSN only. A message
// that is declared 8-bit goes as it is to a peer without 8BITMIME, undeclared:
// every server of today takes it, and converting would break signatures.
//
// What has UTF-8 in its sender or a header goes to a peer that offers SMTPUTF8 only,
// and so does that for a recipient who has it (RFC 6531 §3.2). Domains are A-labels,
// which every peer takes.
//
// What in Body is no line end of CRLF becomes one, and a last line gets its
// end: no peer can take part of a message for something else. A binary one, which
// goes by BDAT, stays as it is.
func (c *Client) Send(ctx context.Context, m Outgoing) (replies []mail.Reply, err error) {
	given := false
	replies = make([]mail.Reply, len(m.To))
	m.Done = func(got []mail.Reply) { replies = got }
	err = c.SendAll(ctx, func() (Outgoing, bool) {
		first := !given
		given = true
		return m, first
	})
	if given && saidSo(err) {
		err = nil
	}
	return replies, err
}

// end ends the conversation if err does.
func (c *Client) end(ctx context.Context, err error) error {
	if err != nil {
		err = c.reason(ctx, err)
		c.err = err
		c.Close()
	}
	return err
}

// cannotTake says why the peer cannot have the message, or gives the zero Reply.
func (s *sending) cannotTake() mail.Reply {
	if s.limit > 0 && s.m.Size > s.limit {
		return mail.Reply{Code: 552, Enhanced: "3.4", Text: fmt.Sprintf("%d octets are more than the %d that the peer takes", s.m.Size, s.limit)}
	}
	if r := s.lacks(); r.Code != 0 {
		return r
	}
	s.wide = s.Supports("SMTPUTF8") && (s.m.UTF8 || !s.m.From.ASCII() || slices.ContainsFunc(s.m.To, func(r mail.Recipient) bool { return !r.Address.ASCII() }))
	return s.lacksExtension()
}

// envelope lists the commands up to DATA; nil when nothing can be sent.
func (s *sending) envelope() (steps []step) {
	if steps = s.sender(); steps == nil {
		s.fillReplies(s.mail)
		return nil
	}
	listed := 0
	for i, to := range s.m.To {
		addr, ok := path(to.Address)
		if !ok || to.Address.IsNull() {
			s.replies[i] = mail.Reply{Code: 553, Enhanced: "1.3", Text: "the address cannot be written"}
			continue
		}
		if !to.Address.ASCII() && !s.wide {
			s.replies[i] = s.missing("SMTPUTF8", "6.7", "the recipient's address")
			continue
		}
		if most, _ := s.Limits(); most > 0 && listed == most {
			s.replies[i] = mail.Reply{Code: 452, Enhanced: "5.3", Text: "the host takes no more recipients at once (LIMITS)", Phase: "RCPT"}
			continue
		}
		listed++
		line := "RCPT TO:" + addr + s.rcptParams(to) + "\r\n"
		steps = append(steps, s.step(line, func(r mail.Reply) { s.recordRcpt(i, r) }))
	}
	if listed == 0 {
		return nil
	}
	return steps
}

// sender lists the commands that begin the transaction; nil, with a reply, when the
// sender cannot be written.
func (s *sending) sender() (steps []step) {
	from, ok := path(s.m.From)
	if !ok {
		s.mail = mail.Reply{Code: 553, Enhanced: "1.7", Text: "the sender's address cannot be written"}
		return nil
	}
	if s.reset {
		steps = append(steps, s.step("RSET\r\n", func(mail.Reply) {}))
	}
	line := "MAIL FROM:" + from + s.mailParams() + "\r\n"
	return append(steps, s.step(line, func(r mail.Reply) {
		s.mail = r
		s.reset = r.Positive() || s.rides() // what rides behind it may have begun the next one
	}))
}

func (s *sending) recordRcpt(i int, r mail.Reply) {
	switch {
	case !s.mail.Positive(): // it is the sender that was refused
	case r.Positive():
		s.accepted = append(s.accepted, i)
	default:
		s.replies[i] = r
	}
}

// fillReplies gives r to the recipients that have no reply yet.
func (s *sending) fillReplies(r mail.Reply) {
	for i := range s.replies {
		if s.replies[i].Code == 0 {
			s.replies[i] = r
		}
	}
}

// keep makes the permanent refusals temporary, in the peer's words, but for
// those of the message itself.
func (s *sending) keep() {
	for i, r := range s.replies {
		if r.Permanent() && !(s.answered && slices.Contains(s.accepted, i)) {
			s.replies[i] = mail.Reply{Code: r.Code - 100, Enhanced: r.Enhanced, Text: "kept, since the owner did not ask for it; the host said " + r.String(), Cause: r.Cause}
		}
	}
}

// mailParams are MAIL's, as far as the peer knows them.
func (s *sending) mailParams() string {
	var b strings.Builder
	if s.m.Size > 0 && s.Supports("SIZE") {
		fmt.Fprintf(&b, " SIZE=%d", s.m.Size)
	}
	switch {
	case s.m.Binary:
		b.WriteString(" BODY=BINARYMIME")
	case s.m.Body8Bit && s.Supports("8BITMIME"):
		b.WriteString(" BODY=8BITMIME")
	}
	if s.wide {
		b.WriteString(" SMTPUTF8")
	}
	if s.m.RequireTLS {
		b.WriteString(" REQUIRETLS")
	}
	if by := s.m.By; !by.At.IsZero() && s.Supports("DELIVERBY") {
		fmt.Fprintf(&b, " BY=%d;%s", s.secondsLeft(), byMode(by))
	}
	if s.m.Priority != 0 && s.Supports("MT-PRIORITY") {
		fmt.Fprintf(&b, " MT-PRIORITY=%d", s.m.Priority)
	}
	if s.Supports("DSN") {
		param(&b, "RET", s.m.Ret)
		param(&b, "ENVID", s.m.EnvID)
	}
	return b.String()
}

// secondsLeft is the time until the message is to be delivered, as BY has it.
func (s *sending) secondsLeft() int64 {
	return min(max(int64(time.Until(s.m.By.At)/time.Second), -maxBySeconds), maxBySeconds)
}

const maxBySeconds = 999_999_999 // RFC 2852 §4

// byMode is the mode of a deadline as BY has it.
func byMode(by mail.Deadline) string {
	mode := "N"
	if by.Return {
		mode = "R"
	}
	if by.Trace {
		mode += "T"
	}
	return mode
}

func (s *sending) rcptParams(to mail.Recipient) string {
	var b strings.Builder
	if s.Supports("DSN") {
		param(&b, "NOTIFY", to.Notify)
		param(&b, "ORCPT", to.ORcpt)
	}
	return b.String()
}

// param leaves out what would break the command: it never came over our wire.
func param(b *strings.Builder, key, value string) {
	if value != "" && isGraphic(value) {
		b.WriteString(" " + key + "=" + value)
	}
}

// path writes an address between its brackets, quoted where that is needed; ok
// is false where no quoting would help.
func path(a mail.Address) (s string, ok bool) {
	if a.IsNull() {
		return "<>", true
	}
	return "<" + a.String() + ">", isPrintable(a.Local) && utf8.ValidString(a.Local) && a.Domain != "" && isGraphic(string(a.Domain)) &&
		!strings.ContainsAny(string(a.Domain), "<>@")
}

func isPrintable(s string) bool { return !strings.ContainsFunc(s, unicode.IsControl) }

func isGraphic(s string) bool {
	return isPrintable(s) && mail.IsASCII(s) && !strings.Contains(s, " ")
}
