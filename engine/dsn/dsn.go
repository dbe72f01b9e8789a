// SPDX-License-Identifier: Apache-2.0

// Package dsn writes the report that tells a sender the outcome of a message: a
// multipart/report with a part for people, a message/delivery-status part for
// programs, and the message or its header (RFC 3461, 3462, 3464).
//
// Nothing that a stranger sent is trusted. A report has 7-bit lines of at most
// 998 octets, whatever the peer answered and whatever the message holds, and
// nothing in either can add a field or end a part. The package reads no disk
// and no clock.
package dsn

import (
	"io"
	"strings"
	"time"

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
	Host   string     // that answered, or "" for this host
	Tried  time.Time  // the last attempt; zero: none
	Until  time.Time  // Delayed only: when it expires
}

// A Report is the content of one message to a sender.
type Report struct {
	ID         mail.MessageID    // of the report itself
	At         time.Time         // its date
	MTA        string            // the reporting host's name
	About      mail.Envelope     // of the message reported on
	Recipients []RecipientStatus // at least one
	Message    io.Reader         // that message; nil: it cannot be read
}

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
