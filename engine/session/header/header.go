// SPDX-License-Identifier: Apache-2.0

// Package header finds the end of a message's header as the message comes, and
// counts its Received fields. It knows nothing of envelopes and trace fields.
package header

import (
	"bytes"
	"io"
	"strings"
)

// maxFieldName bounds how much of a line is held back to find its colon (RFC 5322 §2.1.1).
const maxFieldName = 998

// A Writer passes a message on behind our trace field and keeps the two
// apart. The header ends where the sender's fields end: before a line that is
// neither a field nor the continuation of one, it writes the empty line that
// the sender left out. A body may come in pieces cut anywhere.
type Writer struct {
	to       io.Writer
	received int // Received fields so far

	fields  int    // fields so far
	inField bool   // the present line belongs to a field
	done    bool   // the header is over
	held    []byte // the beginning of a line, before its kind is known
}

// NewWriter passes the message on to to.
func NewWriter(to io.Writer) Writer { return Writer{to: to} }

// Received counts the Received fields so far.
func (h *Writer) Received() int { return h.received }

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
func (h *Writer) Write(p []byte) error {
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
func (h *Writer) Close() error {
	if len(h.held) == 0 {
		return nil
	}
	h.done = true
	return h.write(append([]byte("\r\n"), h.held...))
}

func (h *Writer) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := h.to.Write(p)
	return err
}

// kind looks at the beginning of a line and counts the field that it begins.
func (h *Writer) kind(line []byte) kind {
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
