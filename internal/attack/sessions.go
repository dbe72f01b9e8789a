// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"restante/internal/testpeer"
)

// words is what a random caller may say. All have one reply.
var words = []string{
	"EHLO x", "HELO x", "EHLO", "MAIL FROM:<a@hub.test>", "MAIL FROM:<>", "MAIL FROM:<a@evil.test>", "MAIL FROM:<a@hub.test> SIZE=100", "MAIL FROM:<a@hub.test> BODY=8BITMIME RET=HDRS ENVID=x",
	"RCPT TO:<x@hub.test>", "RCPT TO:<x@held.test>", "RCPT TO:<x@fwd.test>", "RCPT TO:<x@evil.test>", "RCPT TO:<x%evil.test@hub.test>", "RCPT TO:<x@hub.test> NOTIFY=NEVER ORCPT=rfc822;x",
	"DATA", "DATA x", "RSET", "NOOP", "NOOP \xff", "VRFY x", "EXPN x", "HELP", "TURN", "ATRN held.test", "ETRN held.test", "ETRN @test", "ETRN #x", "STARTTLS x", "AUTH PLAIN AA==", "AUTH CRAM-MD5", "AUTH LOGIN", "AUTH",
	"XCLIENT ADDR=127.0.0.1", "QUIT x", "", " ", "\x00", "MAIL", "RCPT", "BDAT 0", "BDAT 0 LAST", "BDAT 3\r\na\r\n", "BDAT 5 LAST\r\n.\r\nab",
}

// sessions holds random conversations at several connections at once, with whole
// messages between, which must arrive.
func sessions(ctx context.Context, a *attack) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var first error
	for i := range 8 {
		rnd := a.random()
		all.Go(func() {
			for n := 0; time.Now().Before(a.until) && ctx.Err() == nil; n++ {
				if err := a.session(rnd, fmt.Sprintf("127.%d.%d.%d", 40+i, n/250%250, 1+n%250)); err != nil {
					mu.Lock()
					defer mu.Unlock()
					first = err
					return
				}
			}
		})
	}
	all.Wait()
	return first
}

func (a *attack) session(rnd *rand.Rand, from string) error {
	c, err := a.dial(from)
	if err != nil {
		return err
	}
	defer c.Close()
	a.count("conversations")
	for range rnd.IntN(20) {
		if !a.babble(c, rnd) {
			a.count("ended by the service")
			return nil
		}
		if rnd.IntN(4) == 0 {
			a.send(c, rnd, []string{"hub.test", "held.test", "fwd.test"}[rnd.IntN(3)])
		}
	}
	if rnd.IntN(2) == 0 { // octets, and whatever comes
		b := make([]byte, rnd.IntN(3000))
		for i := range b {
			b[i] = "\r\n\x00\xff .<>:@AMRDQ"[rnd.IntN(15)]
			if rnd.IntN(3) == 0 {
				b[i] = byte(rnd.Uint32())
			}
		}
		a.count("ended by random octets")
		_, _ = c.Write(b)
		_ = closeWrite(c.Conn)
		_, _ = io.Copy(io.Discard, c.R)
	}
	return nil
}

// babble sends one command, and reads one reply; false ends the conversation.
func (a *attack) babble(c *testpeer.Client, rnd *rand.Rand) bool {
	word := words[rnd.IntN(len(words))]
	if !strings.HasPrefix(word, "BDAT ") || !strings.Contains(word, "\r\n") {
		word += "\r\n"
	}
	a.count("commands")
	switch r := say(c, word); {
	case strings.HasPrefix(r, "334"):
		return say(c, "*\r\n") != ""
	case strings.HasPrefix(r, "354"):
		return say(c, "x\r\n.\r\n") != ""
	default:
		return r != "" && !strings.HasPrefix(r, "421")
	}
}

// send sends one message with a marker, in one of the ways there are.
func (a *attack) send(c *testpeer.Client, rnd *rand.Rand, domain string) (taken bool) {
	marker := a.marker()
	text := "X-Marker: " + marker + "\r\nSubject: x\r\n\r\n"
	for range rnd.IntN(30) {
		text += []string{"text", ".", "..", "", "MAIL FROM:<smuggled@evil.test>", "QUIT", "\xff\x80\x00", strings.Repeat("y", 990), "RCPT TO:<x@evil.test>"}[rnd.IntN(9)] + "\r\n"
	}
	say(c, "RSET\r\n")
	begin := []string{"EHLO caller.test\r\n", "MAIL FROM:<a@hub.test>\r\n", "RCPT TO:<x@" + domain + ">\r\n"}
	body := "DATA\r\n"
	if chunked := rnd.IntN(3) == 0; chunked {
		at := rnd.IntN(len(text) + 1)
		body = fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", at, text[:at], len(text)-at, text[at:])
	}
	for _, line := range begin {
		if r := say(c, line); !strings.HasPrefix(r, "250") {
			a.count("messages refused")
			return false
		}
	}
	r := say(c, body)
	if strings.HasPrefix(r, "354") {
		r = say(c, string(testpeer.DotStuff([]byte(text))))
	} else if body != "DATA\r\n" && strings.HasPrefix(r, "250") {
		r, _ = c.Reply() // that to the last chunk
	}
	if !strings.HasPrefix(r, "250") {
		a.count("messages refused")
		return false
	}
	a.count("messages accepted")
	a.accepted(marker, domain)
	return true
}
