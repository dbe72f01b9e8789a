// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"restante/engine/mail"
)

// Limits of one pipelined group: neither side's socket buffers can fill up
// with commands or replies that the other does not read (RFC 2920 §3.1).
const (
	maxGroup         = 100
	lateReplyTimeout = 5 * time.Second // for a reply to come from a peer that takes no more
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
}

// A sending is one message under way.
type sending struct {
	*Client
	m        Outgoing
	replies  []mail.Reply // code 0: not known yet
	mail     mail.Reply
	accepted []int // recipients that were accepted
	wide     bool  // MAIL has SMTPUTF8
	answered bool  // the peer has replied to the body
}

// A step is a command, and what to do with its reply.
type step struct {
	line string
	got  func(mail.Reply)
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
func (c *Client) Send(ctx context.Context, m Outgoing) ([]mail.Reply, error) {
	if c.err != nil {
		return make([]mail.Reply, len(m.To)), c.err
	}
	defer context.AfterFunc(ctx, func() { c.peer.Close() })()
	s := &sending{Client: c, m: m, replies: make([]mail.Reply, len(m.To))}
	err := s.run()
	if m.Keep {
		s.keep()
	}
	return s.replies, c.end(ctx, err)
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

func (s *sending) run() error {
	if r := s.cannotTake(); r.Code != 0 {
		s.fillReplies(r)
		return nil
	}
	steps := s.envelope()
	if steps == nil {
		return nil
	}
	var data mail.Reply
	pipelined := s.Supports("PIPELINING")
	group := 1
	if pipelined {
		group = maxGroup
	}
	if pipelined && !s.m.Binary {
		steps = append(steps, step{"DATA\r\n", func(r mail.Reply) { data = r }})
	}
	for len(steps) > 0 {
		n := min(group, len(steps))
		if err := s.exchange(steps[:n]); err != nil || s.err != nil {
			return err
		}
		steps = steps[n:]
		if s.mail.Code != 0 && !s.mail.Positive() && data.Code == 0 {
			s.fillReplies(s.mail)
			return nil
		}
	}
	if s.m.Binary {
		return s.chunk()
	}
	if !pipelined && len(s.accepted) > 0 {
		if err := s.exchange([]step{{"DATA\r\n", func(r mail.Reply) { data = r }}}); err != nil || s.err != nil {
			return err
		}
	}
	return s.message(data)
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
		steps = append(steps, step{line, func(r mail.Reply) { s.recordRcpt(i, r) }})
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
		steps = append(steps, step{"RSET\r\n", func(mail.Reply) {}})
	}
	line := "MAIL FROM:" + from + s.mailParams() + "\r\n"
	return append(steps, step{line, func(r mail.Reply) { s.mail, s.reset = r, r.Positive() }})
}

func (s *sending) recordRcpt(i int, r mail.Reply) {
	switch {
	case r.Positive():
		s.accepted = append(s.accepted, i)
	case s.mail.Positive(): // else it is the sender that was refused
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

// sendGroup sends the lines of the steps: in one write, or in one each.
func (s *sending) sendGroup(steps []step) error {
	var out []byte
	for i, st := range steps {
		out = append(out, st.line...)
		if s.opts.LineWrites || i+1 == len(steps) {
			if err := s.peer.send(out, s.opts.Timeouts.Command); err != nil {
				return err
			}
			out = out[:0]
		}
	}
	return nil
}

// exchange sends the steps together and reads all replies. After a 421 there are
// no more.
func (s *sending) exchange(steps []step) error {
	if err := s.unasked(); err != nil || s.err != nil {
		return err
	}
	sent := s.sendGroup(steps)
	for _, st := range steps {
		if sent == nil {
			s.peer.logCommand(st.line)
		}
	}
	limit := s.opts.Timeouts.Command
	if sent != nil { // perhaps it said why before it hung up
		limit = lateReplyTimeout
	}
	for i, st := range steps {
		s.peer.enter(st.line)
		isData := st.line == "DATA\r\n"
		if isData {
			limit = min(limit, s.opts.Timeouts.DataInit)
		}
		r, err := s.peer.answer(limit)
		switch {
		case err != nil:
			s.stuck = i > 0 && sent == nil && errors.Is(err, os.ErrDeadlineExceeded)
			return errors.Join(sent, err)
		case r.Code == 421:
			s.closeAfter421(r)
			return nil
		case isData != (r.Code == 354) && !r.Temporary() && !r.Permanent(), r.Code/100 == 3 && r.Code != 354:
			return &PhaseError{s.peer.phase, fmt.Errorf("%w: %.60q to %.60q", ErrProtocol, r.String(), st.line)}
		}
		st.got(r)
	}
	return sent
}

// unasked takes a reply that stands there before anything was asked. Who has said more
// than the commands ask for answers the next ones with what belongs to others; a 421
// may come at any time (RFC 5321 §3.8).
func (s *sending) unasked() error {
	if s.peer.r.Buffered() == 0 {
		return nil
	}
	r, err := s.peer.answer(lateReplyTimeout)
	switch {
	case err != nil:
		return err
	case r.Code == 421:
		s.closeAfter421(r)
		return nil
	}
	return &PhaseError{s.peer.phase, fmt.Errorf("%w: %.60q before it was asked", ErrProtocol, r.String())}
}

// closeAfter421 ends the conversation after a 421: this message is not with the peer.
func (s *sending) closeAfter421(r mail.Reply) {
	s.fillReplies(r)
	s.err = r
	s.Close()
}

// message goes on after the reply to DATA.
func (s *sending) message(data mail.Reply) error {
	switch {
	case data.Code == 354 && len(s.accepted) == 0:
		// RFC 2920 §3.1: the peer waits for a message without recipients.
		s.reset = false
		if err := s.exchange([]step{{".\r\n", func(mail.Reply) {}}}); err != nil {
			return err
		}
		s.fillReplies(s.mail)
		return nil
	case data.Code != 354:
		if !s.mail.Positive() {
			data = s.mail
		}
		s.fillReplies(data) // no recipient is left where DATA was not sent
		return nil
	}
	return s.body(s.stuffed)
}

// chunk sends a binary message after the replies to its envelope.
func (s *sending) chunk() error {
	if len(s.accepted) == 0 {
		s.fillReplies(s.mail) // no recipient is left where MAIL was accepted
		return nil
	}
	return s.body(s.raw)
}

// body sends the message by write, and takes the reply to it.
func (s *sending) body(write func(func([]byte) error) error) error {
	s.peer.phase = mail.AtBody
	if s.peer.r.Buffered() > 0 {
		return s.answeredBefore()
	}
	if err := s.write(write); err != nil {
		return err
	}
	if s.err != nil { // an early refusal
		return nil
	}
	s.peer.phase = mail.AfterDot
	answers := 1
	if s.opts.LMTP { // RFC 2033 §4.2: one for each accepted recipient
		answers = len(s.accepted)
	}
	for i := range answers {
		r, err := s.peer.answer(s.opts.Timeouts.DataDone)
		if err == nil && r.Code/100 == 3 {
			err = &PhaseError{mail.AfterDot, fmt.Errorf("%w: %.60q to the message", ErrProtocol, r.String())}
		}
		if err != nil {
			// RFC 5321 §4.2.5: the message is the peer's with its reply, and only that is lost.
			what := "its answer did not come"
			if errors.Is(err, ErrProtocol) {
				what = "its answer is no reply"
			}
			s.fillReplies(mail.Reply{Code: 451, Enhanced: "4.2", Text: "in doubt: the host has the whole message, and " + what, Phase: mail.AfterDot, Cause: err})
			return err
		}
		if s.opts.LMTP {
			s.replies[s.accepted[i]] = r
		}
		if s.finalReply(r); s.err != nil {
			return nil
		}
	}
	return nil
}

// answeredBefore takes the reply to a message that was not sent: a refusal counts, and
// nobody can have taken it.
func (s *sending) answeredBefore() error {
	r, err := s.peer.answer(lateReplyTimeout)
	switch {
	case err != nil:
		return err
	case r.Temporary() || r.Permanent():
		s.closeAfter421(r)
		return nil
	}
	return &PhaseError{mail.AtBody, fmt.Errorf("%w: %.60q before the message", ErrProtocol, r.String())}
}

// finalReply takes the peer's reply to the message.
func (s *sending) finalReply(r mail.Reply) {
	if r.Code == 421 {
		s.closeAfter421(r)
		return
	}
	s.reset, s.answered = false, true
	if !s.opts.LMTP {
		s.fillReplies(r)
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

// stuffed gives the body as DATA has it.
func (s *sending) stuffed(send func([]byte) error) error {
	return s.Client.body.Copy(send, s.m.Body)
}

// raw gives the body as one chunk of RFC 3030.
func (s *sending) raw(send func([]byte) error) error {
	line := fmt.Sprintf("BDAT %d LAST\r\n", s.m.Size)
	if err := send([]byte(line)); err != nil {
		return err
	}
	s.peer.logCommand(line)
	n, err := io.Copy(writerFunc(send), io.LimitReader(s.m.Body, s.m.Size))
	if err == nil && n != s.m.Size {
		err = fmt.Errorf("body: %d octets instead of %d", n, s.m.Size)
	}
	return err
}

// A writerFunc is an io.Writer that sends.
type writerFunc func([]byte) error

func (f writerFunc) Write(b []byte) (int, error) { return len(b), f(b) }

// write sends the body by write. A peer that stops reading may have sent a reply first.
func (s *sending) write(write func(func([]byte) error) error) error {
	var broken error
	err := write(func(b []byte) error {
		broken = s.peer.send(b, s.opts.Timeouts.DataBlock)
		return broken
	})
	if broken == nil || errors.Is(broken, os.ErrDeadlineExceeded) {
		return err
	}
	r, late := s.peer.answer(lateReplyTimeout)
	if late != nil || !r.Temporary() && !r.Permanent() {
		return broken
	}
	s.closeAfter421(r)
	return nil
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
