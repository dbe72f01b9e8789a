// SPDX-License-Identifier: Apache-2.0

// Package dotstuff writes messages as SMTP's DATA has them: dots at the beginning
// of lines doubled, and a dot on its own line at the end (RFC 5321 §4.5.2). It
// knows nothing of connections and replies.
package dotstuff

import (
	"bytes"
	"fmt"
	"io"
)

const bufferSize = 32 << 10

// A Stuffer makes DATA of messages, one after the other; it keeps its buffers.
type Stuffer struct{ in, out []byte }

// Copy reads a message and gives it to send in large pieces as DATA has it:
// dots at the beginning of lines are doubled (RFC 5321 §4.5.2), every line
// ends in CRLF, and a dot on its own line stands behind the last. The error is
// send's, or r's: then the end mark was not sent.
func (s *Stuffer) Copy(send func([]byte) error, r io.Reader) error {
	s.prepare()
	in, out := s.in, s.out
	defer func() { s.out = out }()
	bol, held := true, 0 // held octets at the front of in await the next ones
	for {
		n, err := r.Read(in[held:])
		piece := in[:held+n]
		if err != nil && err != io.EOF {
			return fmt.Errorf("body: %w", err)
		}
		var used int
		out, used, bol = appendLines(out[:0], piece, bol, true, err == io.EOF)
		if err == io.EOF {
			if !bol {
				out = append(out, '\r', '\n')
			}
			return send(append(out, '.', '\r', '\n'))
		}
		if len(out) > 0 {
			if err := send(out); err != nil {
				return err
			}
		}
		held = copy(in, piece[used:])
	}
}

// Chunks reads a message and gives it to send in large pieces as BDAT has it: every line
// ends in CRLF, and no dot is doubled (RFC 3030 §2). One is the last, if only an empty one.
// The error is send's, or r's: then there was no last one.
func (s *Stuffer) Chunks(send func(b []byte, last bool) error, r io.Reader) error {
	s.prepare()
	in, out := s.in, s.out
	defer func() { s.out = out }()
	bol, held := true, 0
	for {
		n := held
		var err error
		for n < len(in) && err == nil {
			var k int
			k, err = r.Read(in[n:])
			n += k
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("body: %w", err)
		}
		var used int
		out, used, bol = appendLines(out[:0], in[:n], bol, false, err == io.EOF)
		if err == io.EOF {
			if !bol {
				out = append(out, '\r', '\n')
			}
			return send(out, true)
		}
		if err := send(out, false); err != nil {
			return err
		}
		held = copy(in, in[used:n])
	}
}

func (s *Stuffer) prepare() {
	if s.in == nil {
		s.in = make([]byte, bufferSize)
		s.out = make([]byte, 0, bufferSize+bufferSize/64) // it grows where there are many dots
	}
}

// appendLines writes what it can of b; a CR at the end waits for what comes
// next, unless that is nothing. Dots has those that begin a line doubled. Used is how
// much of b is done.
func appendLines(dst, b []byte, bol, dots, last bool) (out []byte, used int, isBOL bool) {
	for used < len(b) {
		n, next := PlainPrefix(b[used:], bol, dots)
		dst = append(dst, b[used:used+n]...)
		used, bol = used+n, next
		if used == len(b) {
			break
		}
		switch b[used] {
		case '.': // doubled; the run goes on behind it
			dst = append(dst, '.', '.')
			bol = false
		case '\r':
			if used+1 == len(b) && !last {
				return dst, used, bol
			}
			dst = append(dst, '\r', '\n')
			bol = true
		default:
			dst = append(dst, '\r', '\n')
			bol = true
		}
		used++
	}
	return dst, used, bol
}

// PlainPrefix gives the length of what at the front of b goes as it is: lines that
// end in CRLF and, where dots matter, do not begin with one. It stops before
//
//   - a dot that begins a line,
//   - a CR that no LF follows, or that is the last octet,
//   - a LF without its CR.
//
// Bol says that b begins a line; the answer's says that what follows the run
// does. Only CRLF begins a line: a lone CR or LF is an octet like others, or
// two servers could disagree about where a message ends.
func PlainPrefix(b []byte, bol, dots bool) (int, bool) {
	at := 0
	for at < len(b) {
		if bol && dots && b[at] == '.' {
			return at, true
		}
		lf := bytes.IndexByte(b[at:], '\n')
		if lf < 0 {
			if cr := bytes.IndexByte(b[at:], '\r'); cr >= 0 {
				return at + cr, bol && cr == 0
			}
			return len(b), false
		}
		cr := bytes.IndexByte(b[at:at+lf], '\r')
		switch {
		case cr < 0:
			return at + lf, bol && lf == 0
		case cr < lf-1:
			return at + cr, bol && cr == 0
		}
		at, bol = at+lf+1, true
	}
	return at, bol
}
