// SPDX-License-Identifier: Apache-2.0

package session

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/netip"
	"strings"

	"restante/engine/mail"
)

// maxFieldName bounds how much of a line is held back to find its colon (RFC 5322 §2.1.1).
const maxFieldName = 998

// A headerWriter passes a message on behind our trace field and keeps the two
// apart. The header ends where the sender's fields end: before a line that is
// neither a field nor the continuation of one, it writes the empty line that
// the sender left out. A body may come in pieces cut anywhere.
type headerWriter struct {
	to       io.Writer
	received int // Received fields so far

	fields  int    // fields so far
	inField bool   // the present line belongs to a field
	done    bool   // the header is over
	held    []byte // the beginning of a line, before its kind is known
}

// kind is what a line of a header is.
type kind int

const (
	undecided kind = iota // more octets are needed
	field
	continuation
	mailbox // the From line of an mbox file
	empty
	text // the line begins the body
)

// Write takes the next octets of the message. It reports an error of the
// writer behind it and none of its own.
func (h *headerWriter) Write(p []byte) error {
	if len(h.held) > 0 {
		p = append(h.held, p...)
		h.held = nil
	}
	for at := 0; !h.done; {
		if h.inField {
			end := bytes.IndexByte(p[at:], '\n')
			if end < 0 {
				break
			}
			at, h.inField = at+end+1, false
		}
		switch k := h.kind(p[at:]); k {
		case undecided:
			h.held = bytes.Clone(p[at:])
			p = p[:at]
			return h.write(p)
		case field, continuation:
			h.inField = true
		case empty:
			h.done = true
		case mailbox, text:
			insert := "\r\n"
			if h.inField = k == mailbox; h.inField {
				insert = "X-Mailbox-Line: "
				h.fields++
			}
			h.done = !h.inField
			if err := h.write(p[:at]); err != nil {
				return err
			}
			if err := h.write([]byte(insert)); err != nil {
				return err
			}
			p, at = p[at:], 0
		}
	}
	return h.write(p)
}

// Close writes what is held back at the end of the message.
func (h *headerWriter) Close() error {
	if len(h.held) == 0 {
		return nil
	}
	h.done = true
	return h.write(append([]byte("\r\n"), h.held...))
}

func (h *headerWriter) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := h.to.Write(p)
	return err
}

// kind looks at the beginning of a line and counts the field that it begins.
func (h *headerWriter) kind(line []byte) kind {
	switch {
	case len(line) == 0 || len(line) == 1 && line[0] == '\r':
		return undecided
	case line[0] == '\n' || line[0] == '\r' && line[1] == '\n':
		return empty
	case isBlank(line[0]) && h.fields > 0:
		return continuation
	}
	start := line[:min(len(line), maxFieldName)]
	name := 0
	for name < len(start) && line[name] > ' ' && line[name] <= '~' && line[name] != ':' {
		name++
	}
	colon := name
	for colon < len(start) && isBlank(line[colon]) { // RFC 5322 §4.5: blanks may precede the colon
		colon++
	}
	switch {
	case colon == len(line) && colon < maxFieldName:
		return undecided
	case name > 0 && colon < len(start) && line[colon] == ':':
		h.fields++
		if strings.EqualFold(string(line[:name]), "Received") {
			h.received++
		}
		return field
	case h.fields == 0 && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")):
		return mailbox
	}
	return text
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// maxTraceAddress keeps the line with the recipient within the 998 octets of
// RFC 5322 §2.1.1.
const maxTraceAddress = 900

// trace is the Received field of RFC 5321 §4.4.
func trace(hostname string, env mail.Envelope, extended bool, state tls.ConnectionState) string {
	var b strings.Builder
	b.WriteString("Received: from " + helloName(env.Helo, env.Client) + " (" + mail.AddressLiteral(env.Client) + ")\r\n")
	b.WriteString("\tby " + hostname + " with " + protocol(env, extended) + " id " + string(env.ID))
	if env.TLS {
		b.WriteString("\r\n\t(" + strings.ReplaceAll(tls.VersionName(state.Version), " ", "") + ", " + tls.CipherSuiteName(state.CipherSuite) + ")")
	}
	if len(env.To) == 1 { // the field would show each recipient the others
		if to := env.To[0].Address.String(); len(to) <= maxTraceAddress {
			b.WriteString("\r\n\tfor <" + to + ">")
		}
	}
	b.WriteString("; " + env.Received.Format("Mon, 2 Jan 2006 15:04:05 -0700") + "\r\n")
	return b.String()
}

// protocol is the WITH word of RFC 3848.
func protocol(env mail.Envelope, extended bool) string {
	if !extended && !env.TLS && env.Account == "" {
		return "SMTP"
	}
	p := "ESMTP"
	if env.TLS {
		p += "S"
	}
	if env.Account != "" {
		p += "A"
	}
	return p
}

// helloName is the name of the greeting if it is a domain, and else the
// client's address: nothing else of a client's enters our field.
func helloName(name string, ip netip.Addr) string {
	if d, err := mail.ParseDomain(name); err == nil {
		return string(d)
	}
	return mail.AddressLiteral(ip)
}
