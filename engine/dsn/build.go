// SPDX-License-Identifier: Apache-2.0

package dsn

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	ours "restante/engine/mail"
)

// Build writes the report, header and body, with CRLF line ends. Of a message
// that cannot be read to its end it returns the header, as far as that is
// known: the sender is told in any case.
func Build(r Report) []byte {
	var parts bytes.Buffer
	w := multipart.NewWriter(&parts) // its boundary is 240 random bits: no content can hold it
	writeText(w, r)
	writeStatus(w, r)
	writeReturned(w, r)
	// Writes to a bytes.Buffer do not fail, here and below.
	_ = w.Close()

	var out bytes.Buffer
	from := mail.Address{Name: cmp.Or(r.From.Name, "Mail Delivery System"), Address: "postmaster@" + host(r.MTA)}
	if a := r.From.Address; !a.IsNull() && (a.ASCII() || r.global()) {
		from.Address = a.Local + "@" + string(a.Domain)
	}
	field(&out, "From", from.String())
	field(&out, "To", "<"+r.To.String()+">")
	field(&out, "Subject", subject(r))
	field(&out, "Date", r.At.Format(time.RFC1123Z))
	field(&out, "Message-ID", "<"+token(string(r.ID))+"@"+host(r.MTA)+">")
	// RFC 3834 §5: so that no responder answers a report.
	field(&out, "Auto-Submitted", "auto-replied")
	field(&out, "MIME-Version", "1.0")
	fmt.Fprintf(&out, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n\r\n", w.Boundary())
	out.Write(parts.Bytes())
	return out.Bytes()
}

func subject(r Report) string {
	all := func(actions ...Action) bool {
		return !slices.ContainsFunc(r.Recipients, func(f RecipientStatus) bool { return !slices.Contains(actions, f.Action) })
	}
	switch {
	case r.About.From.IsNull():
		return "A message could be neither delivered nor returned"
	case all(Failed):
		return "Your message could not be delivered"
	case all(Delayed):
		return "Your message is delayed"
	case all(Delivered, Expanded):
		return "Your message was delivered"
	case all(Relayed):
		return "Your message was handed on"
	}
	return "What became of your message"
}

// sentences open the list of recipients of each action in the part for people.
var sentences = []struct {
	action Action
	text   string
}{
	{Failed, "It could not be delivered to the recipients below, and will not be tried again:"},
	{Delayed, "It has not been delivered to the recipients below yet. It will be tried further; there is nothing that you need to do:"},
	{Delivered, "It was delivered to:"},
	{Relayed, "It was handed to a mail host that makes no reports of delivery of its own, for:"},
	{Expanded, "It was handed to the list or alias below, which sends it on and makes no further reports:"},
}

func writeText(w *multipart.Writer, r Report) {
	part := create(w, "text/plain; charset=utf-8", "quoted-printable", "Notification")
	qp := quotedprintable.NewWriter(part)
	say := func(format string, args ...any) { fmt.Fprintf(qp, format+"\r\n", args...) }
	say("This is the mail system of %s.", host(r.MTA))
	say("")
	whose := "your message"
	if r.About.From.IsNull() {
		whose = "a message without a sender,"
	}
	say("It is about %s of %s.", whose, r.About.Received.UTC().Format("2 January 2006 15:04:05 MST"))
	for _, s := range sentences {
		said := false
		for _, f := range r.Recipients {
			if f.Action != s.action {
				continue
			}
			if !said {
				said = true
				say("\r\n%s", s.text)
			}
			say("")
			writeRecipientText(say, f)
		}
	}
	_ = qp.Close()
}

func writeRecipientText(say func(string, ...any), f RecipientStatus) {
	say("  <%s>", f.To.Address)
	if f.Reply.Code != 0 {
		if f.Reply.Peer {
			say("    %s said: %s", clean(f.Host), clean(f.Reply.String()))
		} else {
			say("    This host: %s", clean(f.Reply.String()))
		}
	}
	if f.Action == Delayed && !f.Until.IsZero() {
		say("    It will be tried until %s.", f.Until.UTC().Format("2 January 2006 15:04 MST"))
	}
}

// writeStatus writes the part for programs, RFC 3464 §2.
func writeStatus(w *multipart.Writer, r Report) {
	kind, encoding := "message/delivery-status", "7bit"
	if r.global() {
		kind, encoding = "message/global-delivery-status", "8bit"
	}
	part := create(w, kind, encoding, "Delivery report")
	if v := xtext(r.About.EnvID); v != "" {
		field(part, "Original-Envelope-Id", v)
	}
	field(part, "Reporting-MTA", "dns; "+host(r.MTA))
	if h := clean(r.About.Helo); h != "" {
		field(part, "Received-From-MTA", "dns; "+h)
	}
	field(part, "Arrival-Date", r.About.Received.Format(time.RFC1123Z))
	if by := r.About.By.At; !by.IsZero() { // RFC 2852 §5
		field(part, "Deliver-By-Date", by.Format(time.RFC1123Z))
	}
	for _, f := range r.Recipients {
		_, _ = io.WriteString(part, "\r\n")
		writeRecipient(part, f, r.global())
	}
}

func writeRecipient(part io.Writer, f RecipientStatus, global bool) {
	switch kind, addr, ok := strings.Cut(f.To.ORcpt, ";"); {
	case ok && strings.EqualFold(kind, "utf-8"): // its own encoding, in ASCII
		field(part, "Original-Recipient", "utf-8; "+clean(addr))
	case ok:
		field(part, "Original-Recipient", token(kind)+"; "+xtext(addr))
	}
	field(part, "Final-Recipient", finalRecipient(f.To.Address, global))
	field(part, "Action", string(f.Action))
	field(part, "Status", status(f))
	// RFC 3464 §2.3.5, §2.3.6: both are for what another host has said.
	switch {
	case f.Reply.Code == 0:
	case f.Reply.Peer:
		field(part, "Remote-MTA", "dns; "+clean(f.Host))
		field(part, "Diagnostic-Code", "smtp; "+clean(f.Reply.String()))
	default:
		field(part, "Diagnostic-Code", "X-Restante; "+clean(f.Reply.String()))
	}
	if !f.Tried.IsZero() {
		field(part, "Last-Attempt-Date", f.Tried.Format(time.RFC1123Z))
	}
	// RFC 3464 §2.3.9: only of a recipient that is still tried.
	if f.Action == Delayed && !f.Until.IsZero() {
		field(part, "Will-Retry-Until", f.Until.Format(time.RFC1123Z))
	}
}

// finalRecipient is an address with its type. A report that is not global may pass hosts
// that take ASCII alone (RFC 6533 §3).
func finalRecipient(a ours.Address, global bool) string {
	switch {
	case a.ASCII():
		return "rfc822; " + a.String()
	case global:
		return "utf-8; " + a.String()
	}
	return "utf-8; " + ours.EmbedUnicode(a.String())
}

// status never contradicts the action: a program reads its class.
func status(f RecipientStatus) string {
	class := map[Action]byte{Failed: '5', Delayed: '4'}[f.Action]
	if class == 0 {
		class = '2'
	}
	s := f.Status
	if s == "" && f.Reply.Code != 0 {
		s = f.Reply.Status()
	}
	if !isStatus(s) {
		s = "0.0.0"
	}
	return string(class) + s[1:]
}

// isStatus is RFC 3463 §2: class "." 1*3digit "." 1*3digit.
func isStatus(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 {
		return false
	}
	for _, p := range parts {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

func create(w *multipart.Writer, kind, encoding, what string) io.Writer {
	part, _ := w.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {kind},
		"Content-Transfer-Encoding": {encoding},
		"Content-Description":       {what},
	})
	return part
}

// maxLine is RFC 5322 §2.1.1, without the CRLF.
const maxLine = 998

// field writes one header field and folds it where it would grow too long.
// Value must be clean; a stretch without blanks is cut by the fold.
func field(w io.Writer, name, value string) {
	const at = 76
	line := name + ": " + value
	for len(line) > at {
		fold := strings.LastIndexByte(line[:at], ' ')
		if fold <= len(name)+1 {
			// No blank before the margin: take the next one, as long as the
			// line stays legal.
			next := strings.IndexByte(line[at:], ' ')
			if next < 0 || at+next > maxLine {
				break
			}
			fold = at + next
		}
		fmt.Fprintf(w, "%s\r\n", line[:fold])
		line = line[fold:]
		name = "" // a folded line has no name to stay clear of
	}
	if n := maxLine; len(line) > n {
		for !utf8.RuneStart(line[n]) {
			n--
		}
		line = line[:n]
	}
	fmt.Fprintf(w, "%s\r\n", line)
}

// maxText bounds a peer's text in a report.
const maxText = 900

// clean makes one line of printable ASCII of foreign text.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\r' || r == '\n':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// host is a name fit for a header; without one it is "localhost".
func host(s string) string {
	if s = token(s); s == "" {
		return "localhost"
	}
	return s
}

// token keeps the octets of names and literals, as many as a name has at most.
func token(s string) string {
	s = s[:min(len(s), 255)]
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_[]:", r) {
			return r
		}
		return -1
	}, s)
}

// xtext decodes RFC 3461 §4: "+2B" stands for one octet. Text that is not xtext
// is only cleaned.
func xtext(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			out.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return clean(s)
		}
		var c byte
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02X", &c); err != nil {
			return clean(s)
		}
		out.WriteByte(c)
		i += 2
	}
	return clean(out.String())
}
