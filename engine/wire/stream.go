// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/mail"
)

const (
	smallBuffer = 1 << 10  // an idle caller costs no more
	largeBuffer = 32 << 10 // while a body or a long line comes
	maxLineSkip = 64 << 10 // how much of an overlong line is thrown away before we hang up
	maxLinger   = time.Second

	// maxUntrusted bounds the wait for a caller whose input is only dropped.
	maxUntrusted = 30 * time.Second
)

// Errors of a read that was ended from here. All others are the socket's.
var (
	errIdle         = errors.New("the caller was idle for too long")
	errSlow         = errors.New("the caller sends too slowly")
	errStale        = errors.New("the caller has brought no message for too long")
	errDrain        = errors.New("the service shuts down")
	errDisconnected = errors.New("the connection was ended from here")
	errLong         = errors.New("the line is too long")
	errFlood        = errors.New("the caller does not stop sending")
	errBareLine     = errors.New("a bare CR or LF in a command")
)

// A stream is the socket with its two buffers. One goroutine uses it; drain
// and disconnectWith may come from others.
type stream struct {
	raw    net.Conn // the socket, never replaced
	sock   net.Conn // raw, or TLS over it
	idle   time.Duration
	bareLF bool // a lone LF ends a line, too
	// lineSize has the octets of the last line that could not be read, as far as
	// they were.
	lineSize int64
	in       inbuf
	out      []byte
	until    time.Time          // when the present wait ends
	bound    waitBound          // of the waits for lines
	minRate  int64              // of a body, octets per second; 0: none
	cancel   context.CancelFunc // ends the context of all calls

	disconnected atomic.Pointer[mail.Reply]

	mu       sync.Mutex // guards what follows
	draining bool
	phase    phase
}

// A waitBound is when a wait ends with err, however recent the last octet is.
type waitBound struct {
	at  time.Time // zero: never
	err error
}

// apply shortens the wait that ends at until; ended is its error then.
func (b waitBound) apply(until time.Time) (shorter time.Time, ended error) {
	if b.at.IsZero() || until.Before(b.at) {
		return until, errIdle
	}
	return b.at, b.err
}

// An inbuf is what was read and not yet used: buf[r:w].
type inbuf struct {
	buf   []byte // small[:], big[:] or nil
	r, w  int
	body  bool               // a body comes: read in large pieces
	big   *[largeBuffer]byte // from pool, or nil
	pool  *sync.Pool
	small [smallBuffer]byte
}

type phase int

const (
	atCommands phase = iota
	inBody
	reversed
)

// drain ends the caller as soon as it waits for a command.
func (s *stream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	if s.phase == atCommands {
		s.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// disconnectWith ends the connection now. Later calls do nothing.
func (s *stream) disconnectWith(r mail.Reply) {
	if r.Code/100 < 4 {
		r = mail.Reply{Code: 421, Enhanced: "3.2", Text: "closing connection", Cause: r.Cause}
	}
	if !s.disconnected.CompareAndSwap(nil, &r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == reversed {
		s.cancel()
		s.raw.Close()
		return
	}
	s.raw.SetReadDeadline(time.Unix(1, 0))
}

// enter changes the phase. A reversed connection starts without deadlines.
func (s *stream) enter(p phase) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = p
	s.in.body = p == inBody
	if p != reversed {
		return
	}
	s.raw.SetDeadline(time.Time{})
	if s.disconnected.Load() != nil {
		s.cancel()
		s.raw.Close()
	}
}

// stopped says why no further wait may begin, or nil.
func (s *stream) stopped() error {
	if s.disconnected.Load() != nil {
		return errDisconnected
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining && s.phase == atCommands {
		return errDrain
	}
	return nil
}

// fill waits until s.until for more input, after all output has gone out.
func (s *stream) fill() error {
	if err := s.flush(); err != nil {
		return err
	}
	s.in.grow()
	for {
		s.raw.SetReadDeadline(s.until)
		// drain and disconnectWith expire the deadline, and may have done so just
		// before it was set: look again only now.
		if err := s.stopped(); err != nil {
			return err
		}
		n, err := s.sock.Read(s.in.buf[s.in.w:])
		s.in.w += n
		switch {
		case n > 0:
			return nil // an error will come again
		case err == nil || errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(s.until):
			continue // drain came by while a body was read
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errIdle
		}
		return err
	}
}

// grow makes space at the end of the buffer: all of a small one when nothing is
// left over and no body comes, else a large one.
func (b *inbuf) grow() {
	left := b.buf[b.r:b.w]
	switch {
	case len(left) == 0 && !b.body:
		b.release()
		b.buf = b.small[:]
	case b.big == nil && (b.body || len(left) == len(b.buf)):
		b.big = b.pool.Get().(*[largeBuffer]byte)
		b.buf = b.big[:]
		copy(b.buf, left)
	case b.r > 0:
		copy(b.buf, left)
	}
	b.r, b.w = 0, len(left)
}

// release gives a large buffer back, with all that is in it.
func (b *inbuf) release() {
	if b.big != nil {
		b.pool.Put(b.big)
	}
	b.buf, b.big, b.r, b.w = nil, nil, 0, 0
}

func (b *inbuf) bytes() []byte { return b.buf[b.r:b.w] }

func (b *inbuf) take(n int) { b.r += n }

// drop forgets all input that was read and not used.
func (b *inbuf) drop() { b.r, b.w = 0, 0 }

// commandLine is line for a command. AUTH may have an initial response, which
// RFC 4954 §4 gives the room of any other.
func (s *stream) commandLine() ([]byte, error) {
	return s.limitedLine(func(b []byte) int {
		if len(b) > len("AUTH ") && strings.EqualFold(string(b[:len("AUTH ")]), "AUTH ") {
			return maxAuthLine
		}
		return maxLine
	})
}

// line is limitedLine for a line whose limit does not depend on it.
func (s *stream) line(limit int) ([]byte, error) {
	return s.limitedLine(func([]byte) int { return limit })
}

// limitedLine gives the next line without its end, in the buffer: it holds until
// the next read. The caller has the idle time for all of it, so that octets that
// trickle in buy nothing. A line with more octets than limit gives for it, or for
// what is there of it, is thrown away with errLong. RFC 5321 §2.3.8 knows one line
// end, CRLF: another one is errBareLine.
func (s *stream) limitedLine(limit func([]byte) int) ([]byte, error) {
	s.until = time.Time{}
	ended := errIdle
	seen := 0
	for {
		b := s.in.bytes()
		if i := bytes.IndexByte(b[seen:], '\n'); i >= 0 {
			n := seen + i + 1
			s.in.take(n)
			s.lineSize = int64(n)
			line, whole := bytes.CutSuffix(b[:n-1], []byte{'\r'})
			switch {
			case !s.bareLF && (!whole || bytes.IndexByte(line, '\r') >= 0):
				return nil, errBareLine
			case n > limit(b):
				return nil, errLong
			}
			return line, nil
		}
		if seen = len(b); seen >= limit(b) {
			return nil, s.skipLine()
		}
		if s.until.IsZero() {
			s.until, ended = s.bound.apply(time.Now().Add(s.idle))
		}
		if err := s.fill(); err == errIdle {
			return nil, ended
		} else if err != nil {
			return nil, err
		}
	}
}

// skipLine throws the rest of an overlong line away.
func (s *stream) skipLine() error {
	s.until = time.Now().Add(s.idle)
	afterCR := false // the last octet was a CR
	for s.lineSize = 0; s.lineSize < maxLineSkip; {
		b := s.in.bytes()
		for i, octet := range b {
			s.lineSize++
			if !s.bareLF && afterCR != (octet == '\n') {
				return errBareLine
			}
			if octet == '\n' {
				s.in.take(i + 1)
				return errLong
			}
			afterCR = octet == '\r'
		}
		s.in.drop()
		if err := s.fill(); err != nil {
			return err
		}
	}
	return errFlood
}

// flush writes what is buffered for the caller.
func (s *stream) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	s.raw.SetWriteDeadline(time.Now().Add(s.idle))
	_, err := s.sock.Write(s.out)
	if s.out = s.out[:0]; cap(s.out) > smallBuffer {
		s.out = nil
	}
	return err
}

// linger lets the caller read the last reply: closing a socket with unread
// input would throw them away at the other end.
func (s *stream) linger() {
	if s.closeWrite() {
		s.raw.SetReadDeadline(time.Now().Add(maxLinger))
		io.CopyN(io.Discard, s.raw, maxLineSkip)
	}
}

// closeWrite ends our side of the connection; false if only closing does.
func (s *stream) closeWrite() bool {
	if s.sock != s.raw {
		closeWrite(s.sock) // TLS has its own close_notify
	}
	return closeWrite(s.raw)
}

func closeWrite(nc net.Conn) bool {
	half, ok := nc.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
