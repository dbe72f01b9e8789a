// SPDX-License-Identifier: Apache-2.0

// Package dsn writes the report that tells a sender the outcome of a message: a
// multipart/report with a part for people, a message/delivery-status part for
// programs, and the message or its header (RFC 3461, 3462, 3464).
//
// Foreign input is never trusted. A report has lines of at most
// 998 octets, whatever the peer answered and whatever the message holds, and
// nothing in either can add a field or end a part. They are 7-bit, unless the sender's
// address is not: then it is a report of RFC 6533, for hosts that offer SMTPUTF8. The package reads no disk
// and no clock.
package dsn

import (
	"bytes"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"restante/engine/mail"
)

// MaxReturn is the size up to which a report returns the whole message; of a
// larger one it returns the header.
const MaxReturn = 64 << 10

// An Action is the outcome that a report states for one recipient, RFC 3464
// §2.3.3.
type Action string

const (
	Failed    Action = "failed"    // given up
	Delayed   Action = "delayed"   // still trying
	Delivered Action = "delivered" // it is in the mailbox
	Relayed   Action = "relayed"   // handed to a host that makes no reports
	Expanded  Action = "expanded"  // delivered to a list, which goes on from there
)

// A RecipientStatus is what a report states about one recipient.
type RecipientStatus struct {
	To     mail.Recipient
	Action Action
	Status string     // RFC 3463 with its class; "" takes the one of Reply
	Reply  mail.Reply // the last one; code 0: none
	Host   string     // that was spoken to, or ""; its words are those of a Reply with Peer
	Tried  time.Time  // the last attempt; zero: none
	Until  time.Time  // Delayed only: when it expires
}

// A Sender is whom a report is from, to its readers.
type Sender struct {
	Name    string       // "": Mail Delivery System
	Address mail.Address // null: postmaster at the reporting host
}

// A Report is the content of one message to a sender.
type Report struct {
	ID         mail.MessageID    // of the report itself
	At         time.Time         // its date
	MTA        string            // the reporting host's name
	From       Sender            // of the report itself
	To         mail.Address      // the sender, or of a message without one the address that is told of bad mail
	About      mail.Envelope     // of the message reported on
	Recipients []RecipientStatus // at least one
	Message    io.Reader         // that message; nil: it cannot be read
}

// global reports whether the report cannot do without UTF-8.
func (r Report) global() bool { return !r.To.ASCII() }

// Wanted reports whether a sender who gave notify for a recipient (RFC 3461
// §4.1) is to be told of action. Without a NOTIFY these are failures and
// delays.
func Wanted(notify string, action Action) bool {
	if notify == "" {
		return action == Failed || action == Delayed
	}
	keyword := "SUCCESS"
	switch action {
	case Failed:
		keyword = "FAILURE"
	case Delayed:
		keyword = "DELAY"
	}
	for word := range strings.SplitSeq(notify, ",") {
		if strings.EqualFold(strings.TrimSpace(word), keyword) {
			return true
		}
	}
	return false
}

// writeReturned writes the third part: the message, if a recipient failed, the
// sender did not ask for the header alone, and it is small and plain; otherwise
// its header.
func writeReturned(w *multipart.Writer, r Report) {
	if r.Message == nil {
		return
	}
	text, err := io.ReadAll(io.LimitReader(r.Message, MaxReturn+1))
	whole := err == nil && int64(len(text)) <= MaxReturn
	// RFC 3461 §4.3: RET counts only where a recipient failed, and a report
	// of anything else returns the header alone.
	full := whole && r.About.Ret != "HDRS" && !r.About.RequireTLS && // RFC 8689 §5
		slices.ContainsFunc(r.Recipients, func(s RecipientStatus) bool { return s.Action == Failed })
	switch {
	case full && plain(text, false):
		part := create(w, "message/rfc822", "7bit", "The message")
		_, _ = part.Write(text)
		return
	case full && r.global() && plain(text, true):
		part := create(w, "message/global", "8bit", "The message")
		_, _ = part.Write(text)
		return
	}
	header, ok := headerOf(text, whole)
	if !ok {
		return
	}
	// RFC 6522 §4: a text type, so that it may be encoded, which the whole
	// message may not (RFC 2046 §5.2.1). Eight-bit octets and long lines of
	// the original survive in it.
	kind := "text/rfc822-headers"
	if r.About.UTF8 && !mail.IsASCII(string(header)) && utf8.Valid(header) { // RFC 6533 §6.2
		kind = "message/global-headers"
	}
	part := create(w, kind, "quoted-printable", "Header of the message")
	qp := quotedprintable.NewWriter(part)
	_, _ = qp.Write(header)
	_ = qp.Close()
}

// plain reports whether text may stand in a part as it is: 7-bit octets, or with wide
// UTF-8, in lines of a legal length that end in CRLF, RFC 2045 §2.7.
func plain(text []byte, wide bool) bool {
	if wide && !utf8.Valid(text) {
		return false
	}
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\r\n"))
		if len(line) > maxLine {
			return false
		}
		for _, c := range line {
			if c == 0 || c == '\r' || c == '\n' || c >= 0x80 && !wide {
				return false
			}
		}
		text = rest
	}
	return true
}

// headerOf is the header of text without the empty line. Of a text that is cut
// within its header, it is the full lines; ok is false if there are none.
func headerOf(text []byte, whole bool) (header []byte, ok bool) {
	if bytes.HasPrefix(text, []byte("\r\n")) {
		return nil, false
	}
	if i := bytes.Index(text, []byte("\r\n\r\n")); i >= 0 {
		return text[:i+2], true
	}
	if !whole {
		text = text[:bytes.LastIndexByte(text, '\n')+1]
	}
	return text, len(text) > 0
}
