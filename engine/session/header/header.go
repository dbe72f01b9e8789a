// SPDX-License-Identifier: Apache-2.0

// Package header finds the end of a message's header as the message comes,
// counts its Received fields, and adds the fields that a submitted message lacks.
// It knows nothing of envelopes and trace fields.
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

	complete []*Field // these are added at the end of the header where it lacks them

	fields  int    // fields so far
	inField bool   // the present line belongs to a field
	done    bool   // the header is over
	held    []byte // the beginning of a line, before its kind is known
}

// A Field is one that each message has.
type Field struct {
	Name, Value string
	there       bool
}

// NewWriter passes the message on to to, with each of complete that its header
// lacks.
func NewWriter(to io.Writer, complete ...*Field) Writer { return Writer{to: to, complete: complete} }

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
		case empty, mailbox, text:
			var insert string
			switch k {
			case mailbox:
				insert, h.inField = "X-Mailbox-Line: ", true
				h.fields++
			case empty:
				insert, h.done = h.missing(), true
			default:
				insert, h.done = h.missing()+"\r\n", true
			}
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
	if h.done {
		return nil
	}
	h.done = true
	end := h.missing()
	if len(h.held) > 0 {
		end += "\r\n" + string(h.held)
	}
	return h.write([]byte(end))
}

// missing has the fields that the header lacks at its end.
func (h *Writer) missing() string {
	var b strings.Builder
	for _, f := range h.complete {
		if !f.there {
			b.WriteString(f.Name + ": " + f.Value + "\r\n")
		}
	}
	return b.String()
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
		h.note(string(line[:name]))
		return field
	case h.fields == 0 && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")):
		return mailbox
	}
	return text
}

func (h *Writer) note(name string) {
	if strings.EqualFold(name, "Received") {
		h.received++
	}
	for _, f := range h.complete {
		f.there = f.there || strings.EqualFold(name, f.Name)
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
