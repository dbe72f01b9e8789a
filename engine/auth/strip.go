// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// Strip passes a message on without the Authentication-Results fields that claim to
// be of the host of that name (RFC 8601 §5), which are not ours: nothing before us
// had that name.
func Strip(message io.Reader, host string) io.Reader {
	return &stripper{in: bufio.NewReaderSize(message, 32<<10), host: host}
}

type stripper struct {
	in     *bufio.Reader
	host   string
	out    []byte // to be given next
	field  []byte // the present Authentication-Results field
	inLine bool   // the line before has no end yet
	done   bool   // the header is over
	err    error
}

// maxField bounds the field that is held back. A longer one is dropped.
const maxField = 64 << 10

func (s *stripper) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		if s.done {
			return s.in.Read(p)
		}
		if s.err != nil {
			return 0, s.err
		}
		s.next()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// next takes the next line, or a part of a long one.
func (s *stripper) next() {
	line, err := s.in.ReadSlice('\n')
	begins := !s.inLine
	if s.inLine = errors.Is(err, bufio.ErrBufferFull); s.inLine {
		err = nil
	}
	if begins {
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		if !folded {
			s.endField()
			name, _, ok := bytes.Cut(line, []byte(":"))
			switch {
			case ok && strings.EqualFold(strings.TrimRight(string(name), " \t"), "Authentication-Results"):
				s.field = append(s.field, ' ') // not nil
				s.field = s.field[:0]
			case !ok && err == nil && !s.inLine: // an empty line, or what begins the body
				s.done = true
			}
		}
	}
	switch {
	case s.field == nil:
		s.out = append(s.out, line...)
	case len(s.field) <= maxField:
		s.field = append(s.field, line...)
	}
	if s.err = err; err != nil {
		s.endField()
	}
}

// endField gives the field that was held back, unless it claims to be ours.
func (s *stripper) endField() {
	if s.field != nil && len(s.field) <= maxField && !s.claims(string(s.field)) {
		s.out = append(s.out, s.field...)
	}
	s.field = nil
}

func (s *stripper) claims(field string) bool {
	_, value, _ := strings.Cut(field, ":")
	words := strings.FieldsFunc(withoutComments(value), func(r rune) bool { return strings.ContainsRune(" \t\r\n;\"", r) })
	return len(words) == 0 || strings.EqualFold(strings.TrimSuffix(words[0], "."), s.host)
}

// withoutComments leaves the comments of RFC 5322 §3.2.2 out.
func withoutComments(s string) string {
	var b strings.Builder
	depth, escaped := 0, false
	for _, c := range []byte(s) {
		switch {
		case escaped:
			escaped = false
			continue
		case c == '\\':
			escaped = true
			continue
		case c == '(':
			depth++
			continue
		case c == ')' && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			b.WriteByte(c)
		}
	}
	return b.String()
}
