// SPDX-License-Identifier: Apache-2.0

package header

import (
	"bytes"
	"unicode/utf8"
)

// A Scanner looks for characters beyond ASCII in the headers of a message that is written
// to it: its own, those of its MIME parts, and those of messages in it. It knows no
// boundaries: what follows a line that begins with two hyphens and looks like a header is
// one, so that it finds too much rather than too little.
type Scanner struct {
	found   bool
	started bool
	body    bool   // the present line is in no header
	fields  bool   // the present header has one already
	message bool   // it is that of a part that is a message
	digest  bool   // all parts are, unless they say otherwise
	inner   bool   // the present header is that of a message in a part
	wide    bool   // the present line has an octet beyond ASCII
	line    []byte // its beginning
}

// Found reports whether a header has such a character.
func (s *Scanner) Found() bool { return s.found }

// Write takes the next octets of the message. It keeps none of them and never fails.
func (s *Scanner) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && !s.found; {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		s.wide = s.wide || bytes.ContainsFunc(line, func(r rune) bool { return r >= utf8.RuneSelf })
		s.line = append(s.line, line[:min(len(line), maxFieldName-len(s.line))]...)
		if rest = after; whole {
			s.endLine()
		}
	}
	return len(p), nil
}

func (s *Scanner) endLine() {
	line := bytes.TrimSuffix(s.line, []byte{'\r'})
	switch {
	case s.body:
		s.begin(line)
	case len(line) == 0: // a message in the part begins with a header
		s.inner = s.message || s.digest && !s.inner
		s.body, s.fields, s.message = !s.inner, false, false
	case s.fields && isBlank(line[0]), isFieldLine(line):
		s.fields = true
		s.found = s.wide
		s.noteType(line)
	case s.started || !isMailboxLine(line): // text without a header
		s.begin(line)
	}
	s.started = true
	s.line, s.wide = s.line[:0], false
}

// begin looks whether a line that is in no header begins a part.
func (s *Scanner) begin(line []byte) {
	s.body, s.fields, s.message, s.inner = !bytes.HasPrefix(line, []byte("--")), false, false, false
}

// isFieldLine reports whether a line begins a field.
func isFieldLine(line []byte) bool {
	name, _, ok := bytes.Cut(line, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	return ok && len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// noteType looks whether a field says that messages follow: message/rfc822, message/global,
// multipart/digest.
func (s *Scanner) noteType(line []byte) {
	if line = bytes.ToLower(line); bytes.HasPrefix(line, []byte("content-type")) {
		s.message = s.message || bytes.Contains(line, []byte("message/"))
		s.digest = s.digest || bytes.Contains(line, []byte("/digest"))
	}
}
