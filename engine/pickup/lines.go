// SPDX-License-Identifier: Apache-2.0

package pickup

import (
	"bufio"
	"io"
)

// A lines reads a text with CRLF at the end of each line, whatever ends it there: a
// carriage return, a line feed or both. The last line has an end, too.
type lines struct {
	r *bufio.Reader

	out      []byte
	err      error
	cr       bool // the last octet was a carriage return
	eightBit bool
	tail     [4]byte // the last ones written
}

func newLines(r io.Reader) *lines {
	return &lines{r: bufio.NewReader(r), tail: [4]byte{0, 0, '\r', '\n'}}
}

// endsHeader reports whether an empty line is the last one.
func (l *lines) endsHeader() bool { return l.tail == [4]byte{'\r', '\n', '\r', '\n'} }

func (l *lines) Read(p []byte) (int, error) {
	for len(l.out) == 0 && l.err == nil {
		l.fill()
	}
	if len(l.out) == 0 {
		return 0, l.err
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	return n, nil
}

// fill converts what is read next.
func (l *lines) fill() {
	_, err := l.r.Peek(1)
	in, _ := l.r.Peek(l.r.Buffered())
	l.out = make([]byte, 0, len(in)+len(in)/32+4)
	for _, c := range in {
		l.add(c)
	}
	_, _ = l.r.Discard(len(in))
	if l.err = err; err == io.EOF && l.tail[3] != '\n' {
		l.put('\r', '\n')
	}
}

func (l *lines) add(c byte) {
	cr := l.cr
	l.cr = c == '\r'
	if c == '\n' && cr {
		return
	}
	switch {
	case c == '\r' || c == '\n':
		l.put('\r', '\n')
	default:
		l.eightBit = l.eightBit || c >= 0x80
		l.put(c)
	}
}

func (l *lines) put(octets ...byte) {
	l.out = append(l.out, octets...)
	for _, c := range octets {
		l.tail = [4]byte{l.tail[1], l.tail[2], l.tail[3], c}
	}
}

// An unstuffed reads a text from the beginning of a line on, in which lines that
// begin with two dots lose one.
type unstuffed struct {
	io.Reader
	inLine, dot bool // the last octet: begins no line; was a dot at the beginning of one
}

func (u *unstuffed) Read(p []byte) (int, error) {
	for {
		n, err := u.Reader.Read(p)
		out := p[:0]
		for _, c := range p[:n] {
			second := u.dot && c == '.'
			u.dot = c == '.' && !u.inLine
			u.inLine = c != '\n'
			if !second {
				out = append(out, c)
			}
		}
		if len(out) > 0 || err != nil || n == 0 {
			return len(out), err
		}
	}
}
