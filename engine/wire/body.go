// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"io"
	"time"

	"restante/engine/mail"
	"restante/engine/wire/dotstuff"
	"restante/engine/wire/params"
)

const (
	// maxDrain is how much of a message that was refused is still read, so
	// that the caller sees the refusal. What is longer ends the connection.
	maxDrain = 256 << 20
)

var (
	errGone    = fmt.Errorf("the message was broken off: %w", io.ErrUnexpectedEOF)
	errAborted = errors.New("the caller took the message back")
	errClosed  = errors.New("the message is over")
)

var bareLineEnding = mail.Reply{Code: 550, Enhanced: "6.0", Text: "Bare CR or LF in message: lines must end in CRLF"}

// A body is a message on its way in, decoded straight from the stream. Its
// err is nil while there may be more, io.EOF after the end, a mail.Reply when
// we refuse the message, and else what broke the connection.
type body struct {
	c           *conn
	chunk       *chunk // where it comes by BDAT
	clean       int    // octets at the front of the input that go on as they are
	pendingCRLF string // the line end that is given for a lone CR or LF, or what is left of it
	bol         bool   // what follows the clean ones begins a line,
	bareBOL     bool   // behind a lone CR or LF
	pendingCR   bool   // the last chunk ended in a CR
	discard     bool   // the rest is read and dropped
	bare        bool   // it has a bare CR or LF that is not accepted
	size        int64
	rate        minimumRate
	err         error
}

// openBody begins the message for which DATA or BDAT was taken.
func (c *conn) openBody() *body {
	c.enter(inBody)
	b := &body{c: c, chunk: c.now.chunk, bol: true, rate: minimumRate{mark: time.Now()}}
	if b.chunk == nil {
		c.now.pending = false
		c.respond(mail.Reply{Code: 354, Text: "Start mail input; end with <CRLF>.<CRLF>"})
	}
	if c.closed {
		b.err = errGone
	}
	return b
}

// closeBody ends the message, to which the Session said r: it drains what was
// not read and sets the reply.
func (c *conn) closeBody(b *body, r mail.Reply) {
	if c.closed { // a panic: all is said
		return
	}
	refusal, refused := b.err.(mail.Reply)
	if refused {
		r = refusal
	}
	if !b.bare && (b.err == nil || refused) {
		b.drain(r)
	}
	c.enter(atCommands)
	if b.chunk == nil {
		c.now.received += b.size
	} else {
		c.now.received += b.chunk.size - b.chunk.left
	}
	switch err := b.err; {
	case b.bare && !c.closed:
		c.endUntrusted(r)
	case err == errAborted:
		c.now.pending = false
	case err == io.EOF || err == errClosed:
		c.setReply(r, 0)
		c.inRefusedBDAT = b.chunk != nil && !b.chunk.last
	case err == errFlood:
		c.disconnect(r)
	default:
		c.now.reply = r
		c.readError(err)
	}
	b.err = errClosed
}

// drain reads a refused message to its end. A refused chunk is read to its own
// end only: its reply is the refusal.
func (b *body) drain(r mail.Reply) {
	b.err, b.discard = nil, true
	from := b.size
	for b.err == nil {
		if b.chunk != nil && b.chunk.left == 0 && !r.Positive() {
			b.err = errClosed
			return
		}
		if b.advance(); b.clean > 0 {
			b.take(b.clean)
		}
		b.pendingCRLF = ""
		if b.size-from > maxDrain {
			b.err = errFlood
		}
	}
}

// Read gives decoded octets. It waits for the client only if it has none.
func (b *body) Read(p []byte) (n int, err error) {
	for n < len(p) && (n == 0 || len(b.available()) > 0 || b.pendingCRLF != "") {
		if b.advance(); b.err != nil {
			break
		}
		k := copy(p[n:], b.pendingCRLF)
		if b.pendingCRLF = b.pendingCRLF[k:]; k == 0 {
			k = copy(p[n:], b.c.in.bytes()[:b.clean])
			b.take(k)
		}
		n += k
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

// WriteTo gives all of the message without copying it on the way.
func (b *body) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if b.advance(); b.err == io.EOF {
			return n, nil
		} else if b.err != nil {
			return n, b.err
		}
		out := b.c.in.bytes()[:b.clean]
		if b.pendingCRLF != "" {
			out = []byte(b.pendingCRLF)
		}
		k, err := w.Write(out)
		n += int64(k)
		if err != nil {
			return n, err
		}
		if b.pendingCRLF != "" {
			b.pendingCRLF = ""
		} else {
			b.take(k)
		}
	}
}

// available is the input that belongs to the message so far.
func (b *body) available() []byte {
	in := b.c.in.bytes()
	if b.chunk != nil && int64(len(in)) > b.chunk.left {
		in = in[:b.chunk.left]
	}
	return in
}

// take uses up n octets of input that were passed on, skip n that were not.
func (b *body) take(n int) {
	b.skip(n)
	b.clean -= n
	b.size += int64(n)
}

func (b *body) skip(n int) {
	b.c.in.take(n)
	if b.chunk != nil {
		b.chunk.left -= int64(n)
	}
}

// advance makes clean octets or a CRLF available, or sets err.
func (b *body) advance() {
	for b.err == nil && b.clean == 0 && b.pendingCRLF == "" {
		in := b.available()
		n, bol := 0, false
		switch {
		case b.c.binary: // it comes by BDAT, and has no line ends
			n = len(in)
		case !b.pendingCR:
			n, bol = dotstuff.PlainPrefix(in, b.bol, b.chunk == nil)
		}
		if n == 0 {
			b.handleSpecial(in)
		} else if b.fits(n) { // else the same octets are looked at again
			b.clean, b.bol, b.bareBOL = n, bol, false
		}
	}
}

// fits refuses what would make the message too big. RFC 1870 counts line ends,
// and neither stuffed dots nor the end mark.
func (b *body) fits(n int) bool {
	limit := b.c.cfg.MaxSize
	if b.discard || limit <= 0 || b.size+int64(n) <= limit {
		return true
	}
	b.err = params.TooBig(limit)
	return false
}

// handleSpecial looks at the octet that run stopped at.
func (b *body) handleSpecial(in []byte) {
	switch {
	case len(in) == 0:
		b.fill()
	case b.pendingCR:
		b.pendingCR = false
		if in[0] != '\n' {
			b.bareLineEnd(0)
		} else {
			b.skip(1)
			b.lineEnd()
		}
	case in[0] == '.':
		b.dot(in)
	case in[0] == '\n' || len(in) > 1: // a CR that is followed by no LF
		b.bareLineEnd(1)
	case b.chunk == nil:
		b.fill()
	default: // the LF may be in the next chunk
		b.skip(1)
		b.pendingCR = true
	}
}

// dot removes a stuffed dot, or finds the end of the message. A dot between a lone CR
// or LF and the next line end is neither.
func (b *body) dot(in []byte) {
	switch {
	case len(in) < 2 || len(in) < 3 && in[1] == '\r':
		b.fill()
	case b.bareBOL && (in[1] == '\r' || in[1] == '\n'):
		if b.fits(1) {
			b.clean, b.bol = 1, false
		}
	case in[1] == '\r' && in[2] == '\n':
		b.skip(3)
		b.err = io.EOF
	default:
		b.skip(1)
		b.bol = false
	}
}

// bareLineEnd meets a lone CR or LF, which takes n octets of input. Where it is
// refused, the connection ends: to another server, it may have ended the message.
func (b *body) bareLineEnd(n int) {
	if b.bare = b.bare || !b.c.bareLF; b.bare && !b.discard {
		b.err = bareLineEnding
		return
	}
	b.skip(n)
	b.bol, b.bareBOL = true, true
	b.lineEnd()
}

// lineEnd gives a CRLF that the input has in another form.
func (b *body) lineEnd() {
	if b.fits(2) {
		b.pendingCRLF, b.size = "\r\n", b.size+2
	}
}

// fill waits for input, or for the next chunk.
func (b *body) fill() {
	if b.chunk != nil && b.chunk.left == 0 {
		b.nextChunk()
		return
	}
	b.broken(b.rate.fill(&b.c.stream, b.size))
}

// broken ends the message with what ended the wait for more of it.
func (b *body) broken(err error) {
	switch limit := b.c.limit(err); {
	case err == io.EOF:
		b.err = errGone
	case limit != nil:
		b.err = fmt.Errorf("%w: %w", err, limit)
	default:
		b.err = err
	}
}

// A minimumRate ends the wait for a client that sends too slowly: within twice
// the idle time, the least rate times the idle time must have come.
type minimumRate struct {
	mark   time.Time // when they last had come fast enough,
	marked int64     // and how many there were at that time
}

// fill waits for more when size octets have come; errSlow says that there were
// too few of them.
func (p *minimumRate) fill(s *stream, size int64) error {
	var ended error
	s.until, ended = p.bound(s, size).apply(time.Now().Add(s.idle))
	if err := s.fill(); err != errIdle {
		return err
	}
	return ended
}

// bound is when size octets become too few.
func (p *minimumRate) bound(s *stream, size int64) waitBound {
	if s.minRate <= 0 {
		return waitBound{}
	}
	if size-p.marked >= int64(s.idle.Seconds()*float64(s.minRate)) {
		p.mark, p.marked = time.Now(), size
	}
	return waitBound{p.mark.Add(2 * s.idle), errSlow}
}
