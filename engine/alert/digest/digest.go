// SPDX-License-Identifier: Apache-2.0

// Package digest writes the message that tells the owner of a held domain how much mail
// waits, and why it is told now.
package digest

import (
	"bytes"
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"time"

	ours "restante/engine/mail"
)

// A Reason is why a digest is sent.
type Reason string

// The reasons.
const (
	Quota   Reason = "quota"   // what waits has come to a threshold of the quota
	Ending  Reason = "ending"  // the oldest message is close to its end
	Silence Reason = "silence" // the host does not call any more
	Daily   Reason = "daily"   // mail waits for a day or longer
)

// A Digest is what is told of a held domain.
type Digest struct {
	Domain  string // as its key is called: example.com, or *.example.com
	To      []ours.Address
	Reasons []Reason // one at least
	ID      ours.MessageID
	At      time.Time

	Messages int
	Bytes    int64
	Percent  int // of the quota; 0: there is none, or too little
	Oldest   time.Time
	Ends     time.Time // when the oldest message is at its end; zero: it is not
	LastCall time.Time // zero: none is known
	NextCall time.Time // zero: not known
}

// A From is who sends it.
type From struct {
	Name    string
	Address ours.Address
	Host    string // our name
}

// Build writes the message, header and body, with CRLF line ends.
func Build(d Digest, from From) []byte {
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	sender := mail.Address{Name: from.Name, Address: "postmaster@" + from.Host}
	if a := from.Address; !a.IsNull() && a.ASCII() {
		sender.Address = a.Local + "@" + string(a.Domain)
	}
	line("From: %s", sender.String())
	var to []string
	for _, a := range d.To {
		to = append(to, "<"+a.String()+">")
	}
	line("To: %s", strings.Join(to, ",\r\n "))
	line("Subject: %s", mime.QEncoding.Encode("utf-8", subject(d)))
	line("Date: %s", d.At.Format(time.RFC1123Z))
	line("Message-ID: <%s@%s>", d.ID, from.Host)
	line("Auto-Submitted: auto-generated") // RFC 3834 §5: no responder answers it
	line("MIME-Version: 1.0")
	line("Content-Type: text/plain; charset=utf-8")
	line("Content-Transfer-Encoding: 7bit")
	line("")
	line("This is the mail system of %s. It holds the mail for %s until its host calls.", from.Host, d.Domain)
	line("")
	for _, r := range d.Reasons {
		line("%s", sentence(d, r))
	}
	line("")
	line("  messages waiting    %d", d.Messages)
	line("  bytes               %d", d.Bytes)
	if d.Percent > 0 {
		line("  of the quota        %d %%", d.Percent)
	}
	line("  oldest came         %s", when(d.Oldest, "-"))
	line("  oldest ends         %s", when(d.Ends, "never"))
	line("  last call           %s", when(d.LastCall, "none is known"))
	line("  next call expected  %s", when(d.NextCall, "not known"))
	return b.Bytes()
}

func subject(d Digest) string {
	switch d.Reasons[0] {
	case Quota:
		return fmt.Sprintf("Mail for %s: %d %% of the quota", d.Domain, d.Percent)
	case Ending:
		return fmt.Sprintf("Mail for %s is close to its end", d.Domain)
	case Silence:
		return fmt.Sprintf("The host of %s has not called", d.Domain)
	}
	return fmt.Sprintf("Mail for %s: %d waiting", d.Domain, d.Messages)
}

func sentence(d Digest, r Reason) string {
	switch r {
	case Quota:
		return fmt.Sprintf("What waits is %d %% of its quota. Beyond the quota, senders are told to try again later.", d.Percent)
	case Ending:
		return "The oldest message is close to its end. What happens then is set on the server: it is returned or archived."
	case Silence:
		return "The host has not called for twice the time that it is expected to call in."
	}
	return "Mail has waited for a day or longer."
}

func when(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format("2006-01-02 15:04:05 MST")
}
