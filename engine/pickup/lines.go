// SPDX-License-Identifier: Apache-2.0

package pickup

import (
	"bufio"
	"io"
)

// A lines reads a text with CRLF at the end of each line, whatever ends it there: a
// carriage return, a line feed or both. The last line has an end, too.
type lines struct {
	r       *bufio.Reader
	stuffed bool // a line that begins with two dots loses one

	out      []byte
	err      error
	cr       bool // the last octet was a carriage return
	dot      bool // a dot at the beginning of the line is not written yet
	eightBit bool
	tail     [4]byte // the last ones written
}

func newLines(r io.Reader, stuffed bool) *lines {
	return &lines{r: bufio.NewReader(r), stuffed: stuffed, tail: [4]byte{0, 0, '\r', '\n'}}
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
	if l.err = err; err == io.EOF {
		if l.dot {
			l.put('.')
		}
		if !l.atStart() {
			l.put('\r', '\n')
		}
	}
}

func (l *lines) add(c byte) {
	cr := l.cr
	l.cr = c == '\r'
	if c == '\n' && cr {
		return
	}
	if l.dot {
		l.dot = false
		l.put('.')
		if c == '.' {
			return
		}
	}
	switch {
	case c == '\r' || c == '\n':
		l.put('\r', '\n')
	case c == '.' && l.stuffed && l.atStart():
		l.dot = true
	default:
		l.eightBit = l.eightBit || c >= 0x80
		l.put(c)
	}
}

func (l *lines) atStart() bool { return l.tail[3] == '\n' }

func (l *lines) put(octets ...byte) {
	l.out = append(l.out, octets...)
	for _, c := range octets {
		l.tail = [4]byte{l.tail[1], l.tail[2], l.tail[3], c}
	}
}
