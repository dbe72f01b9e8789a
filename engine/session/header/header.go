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

// maxHeld bounds the header that is held back to write fields above it.
const maxHeld = 64 << 10

// maxFieldName bounds how much of a line is held back to find its colon (RFC 5322 §2.1.1).
const maxFieldName = 998

// A Writer passes a message on behind our trace field and keeps the two
// apart. The header ends where the sender's fields end: before a line that is
// neither a field nor the continuation of one, it writes the empty line that
// the sender left out. A body may come in pieces cut anywhere.
type Writer struct {
	to       io.Writer
	received int // Received fields so far

	// Trace, if it is set, is called with each Received field at its end; of a long one
	// with the beginning. It does not keep the octets.
	Trace func(field []byte)
	keep  func(field []byte) // of the present field: is told of it at its end; nil: none is
	kept  []byte             // of it
	id    string             // see MessageID

	complete []*Field // these are added above the header where it lacks them
	holding  bool     // the header is held back until its end
	head     []byte   // what is held back
	signed   bool     // there is a DKIM-Signature

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
// lacks above it; behind it, where the header is longer than 64 KiB. A field that a
// DKIM signature covers is not added: its absence is signed (RFC 6376 §5.4.2).
func NewWriter(to io.Writer, complete ...*Field) Writer {
	return Writer{to: to, complete: complete, holding: len(complete) > 0}
}

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
				h.keepField(p[at:])
				break
			}
			h.keepField(p[at : at+end+1])
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
			if err := h.write(p[:at]); err != nil {
				return err
			}
			if err := h.before(k); err != nil {
				return err
			}
			p, at = p[at:], 0
		}
	}
	return h.write(p)
}

// maxKept is how much of a field is kept: a Received field of this program is shorter.
const maxKept = 4 << 10

func (h *Writer) keepField(p []byte) {
	if h.keep != nil {
		h.kept = append(h.kept, p[:min(len(p), maxKept-len(h.kept))]...)
	}
}

func (h *Writer) endField() {
	if h.keep != nil {
		h.keep(h.kept)
	}
	h.keep, h.kept = nil, h.kept[:0]
}

// noteID notes the first Message-ID field.
func (h *Writer) noteID(field []byte) {
	_, value, _ := strings.Cut(unfold.Replace(string(field)), ":")
	h.id = strings.Trim(strings.TrimSpace(value), "<>")
}

// MessageID is that of the header, without brackets, once the header is over; "" where it
// has none.
func (h *Writer) MessageID() string { return h.id }

// before writes what stands before a line that is no field.
func (h *Writer) before(k kind) error {
	if k == mailbox {
		h.inField = true
		h.fields++
		return h.write([]byte("X-Mailbox-Line: "))
	}
	h.done = true
	if err := h.endHeader(); err != nil || k == empty {
		return err
	}
	return h.write([]byte("\r\n"))
}

// Close writes what is held back at the end of the message.
func (h *Writer) Close() error {
	if h.done {
		return nil
	}
	h.done = true
	if err := h.endHeader(); err != nil || len(h.held) == 0 {
		return err
	}
	return h.write([]byte("\r\n" + string(h.held)))
}

// endHeader writes the fields that the header lacks, and the header if it was held
// back.
func (h *Writer) endHeader() error {
	h.endField()
	head := append([]byte(h.missing()), h.head...)
	h.holding, h.head = false, nil
	return h.write(head)
}

func (h *Writer) missing() string {
	var b strings.Builder
	for _, f := range h.complete {
		if !f.there && !h.signs(f.Name) {
			if f.Name == messageID {
				h.id = strings.Trim(f.Value, "<>")
			}
			b.WriteString(f.Name + ": " + f.Value + "\r\n")
		}
	}
	return b.String()
}

// unfold makes one line of each field.
var unfold = strings.NewReplacer("\r\n ", " ", "\r\n\t", " ")

// signs reports whether a signature may cover the field name. That of a header that
// is not at hand does.
func (h *Writer) signs(name string) bool {
	if !h.signed || !h.holding {
		return h.signed
	}
	for line := range strings.Lines(unfold.Replace(string(h.head))) {
		field, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(strings.TrimSpace(field), dkimSignature) {
			continue
		}
		for tag := range strings.SplitSeq(value, ";") {
			key, list, _ := strings.Cut(tag, "=")
			for one := range strings.SplitSeq(list, ":") {
				if strings.TrimSpace(key) == "h" && strings.EqualFold(strings.TrimSpace(one), name) {
					return true
				}
			}
		}
	}
	return false
}

const (
	dkimSignature = "DKIM-Signature"
	messageID     = "Message-ID"
)

func (h *Writer) write(p []byte) error {
	if h.holding {
		if h.head = append(h.head, p...); len(h.head) <= maxHeld {
			return nil
		}
		p, h.head, h.holding = h.head, nil, false
	}
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
	case h.fields == 0 && isMailboxLine(line):
		return mailbox
	}
	return text
}

func (h *Writer) note(name string) {
	h.endField()
	switch {
	case strings.EqualFold(name, "Received"):
		h.received++
		h.keep = h.Trace
	case strings.EqualFold(name, messageID) && h.id == "":
		h.keep = h.noteID
	}
	h.signed = h.signed || strings.EqualFold(name, dkimSignature)
	for _, f := range h.complete {
		f.there = f.there || strings.EqualFold(name, f.Name)
	}
}

// isMailboxLine reports whether a line is one that stands above a message in an mbox file.
func isMailboxLine(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From "))
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
