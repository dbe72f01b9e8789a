// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// A chunk is one BDAT of RFC 3030. Go-smtp never sees it: the whole series is
// one DATA there, and the commands between the chunks are answered while the
// Session waits for more of the body.
type chunk struct {
	size, left int64
	last       bool
}

// parseChunk reads what stands behind BDAT.
func parseChunk(arg string) (*chunk, bool) {
	words := strings.Fields(arg)
	if len(words) == 0 || len(words) > 2 {
		return nil, false
	}
	n, err := strconv.ParseUint(words[0], 10, 62)
	if err != nil || len(words) == 2 && params.Upper(words[1]) != "LAST" {
		return nil, false
	}
	return &chunk{size: int64(n), left: int64(n), last: len(words) == 2}, true
}

func (c *conn) bdat(arg string) string {
	if r := c.checkRecipients(); r.Code != 0 {
		return c.rejectChunk(arg, r)
	}
	ch, ok := parseChunk(arg)
	if !ok {
		c.outOfSync(arg)
		return ""
	}
	if ch.size == 0 && !ch.last && !c.allowJunk() {
		return ""
	}
	c.now.chunk = ch
	return c.forward("DATA\r\n")
}

// outOfSync ends the connection. The number of message octets behind this BDAT
// is unknown, and none of them may run as a command.
func (c *conn) outOfSync(arg string) {
	c.now.verb, c.now.arg, c.now.reported = "BDAT", arg, false
	c.endUntrusted(params.Syntax("BDAT size [LAST]"))
}

// rejectChunk answers a BDAT with r after its octets have been thrown away.
func (c *conn) rejectChunk(arg string, r mail.Reply) string {
	ch, ok := parseChunk(arg)
	switch {
	case !ok:
		c.outOfSync(arg)
	case ch.size > maxDrain:
		c.disconnect(r)
	default:
		if err := c.skip(ch.size); err != nil {
			c.readError(err)
			return ""
		}
		if c.inRefusedBDAT {
			c.now.reported = true // with the first of the series
			c.respond(r)
		} else {
			c.reject(r)
		}
		c.inRefusedBDAT = !ch.last
	}
	return ""
}

func (s *stream) skip(n int64) error {
	s.enter(inBody)
	defer s.enter(atCommands)
	p, whole := minimumRate{mark: time.Now()}, n
	for n > 0 {
		if len(s.in.bytes()) == 0 {
			if err := p.fill(s, whole-n); err != nil {
				return err
			}
		}
		k := min(n, int64(len(s.in.bytes())))
		s.in.take(int(k))
		n -= k
	}
	return nil
}

// nextChunk ends the message after its last chunk, and else answers for the
// one that has come and waits for the next.
func (b *body) nextChunk() {
	c := b.c
	if b.chunk.last {
		if b.pendingCR {
			b.pendingCR = false
			b.bareLineEnd(0)
			return
		}
		b.err = io.EOF
		return
	}
	c.now.received += b.chunk.size
	c.respond(mail.Reply{Code: 250, Enhanced: "0.0", Text: fmt.Sprintf("%d octets received", b.chunk.size)})
	session := c.bound
	c.bound = b.rate.bound(&c.stream, b.size)
	defer func() { c.bound = session }()
	for b.err == nil && !c.closed {
		line, err := c.line(maxLine)
		switch {
		case err == errLong:
			c.readError(err)
		case err != nil:
			b.broken(err)
		case b.betweenChunks(string(line)):
			return
		}
	}
	if c.closed && b.err == nil {
		b.err = errGone
	}
}

// between runs a command between two chunks and says whether it was a BDAT.
func (b *body) betweenChunks(line string) bool {
	c := b.c
	verb, arg := splitVerb(line)
	switch verb {
	case "BDAT":
		ch, ok := parseChunk(arg)
		if !ok {
			c.outOfSync(arg)
			return false
		}
		if ch.size == 0 && !ch.last && !c.allowJunk() {
			return false
		}
		b.chunk, c.now.arg = ch, arg
		c.beginRequest(line)
		return true
	case "RSET", "EHLO", "HELO", "QUIT":
		// These end the transaction: they run when the Session knows.
		c.now.nextLine = line
		b.err = errAborted
	default:
		b.answerBetween(line, verb, arg)
	}
	return false
}

// answerBetween answers a command that has no part in the series.
func (b *body) answerBetween(line, verb, arg string) {
	c, series := b.c, b.c.now
	defer func() { c.now = series }()
	c.now = request{}
	c.beginRequest(line)
	if _, known := commandOf(verb); known {
		c.now.verb, c.now.arg = verb, arg
	}
	if verb != "NOOP" {
		c.reject(mail.Reply{Code: 503, Enhanced: "5.1", Text: "Need BDAT or RSET command"})
	} else if c.allowJunk() {
		c.respond(okReply)
	}
}
