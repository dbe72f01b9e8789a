// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Message is what an MX took.
type Message struct {
	From, To string   // the paths of MAIL and RCPT without brackets; To is the first
	Rcpts    []string // the whole of To
	Params   []string // the lines MAIL and RCPT as they came
	Body     []byte   // without dot-stuffing, else octet for octet
	TLS      bool
	Hello    string
	Conn     int // the number of the connection, from 0
}

// MXOptions adjusts NewMX.
type MXOptions struct {
	TLS   *tls.Config // offered by STARTTLS; nil: none
	Plain bool        // offer no extension at all

	// Answer gives the reply to a line, or to the end of a body (line "."); ""
	// is the usual one, "HANGUP" closes. It is called by one connection at a
	// time and may be nil.
	Answer func(line string) string
}

// An MX is a receiving server whose replies the options decide; it keeps the
// accepted messages. A Sink accepts everything.
type MX struct {
	Addr string // host:port; "" when it does not listen
	opts MXOptions

	mu       sync.Mutex // guards what follows
	messages []Message
	conns    int
}

// NewMX starts an MX that ends with the test.
func NewMX(t testing.TB, opts MXOptions) *MX {
	t.Helper()
	s := &MX{opts: opts}
	s.Addr = listen(t, func(_ int, c net.Conn) { s.Serve(c) }).String()
	return s
}

// Messages gives the accepted messages so far, in order.
func (s *MX) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Conns counts the connections so far.
func (s *MX) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// Serve receives mail on one connection until QUIT or its end. It greets first, as
// on a reversed connection, and does not close c.
func (s *MX) Serve(c net.Conn) {
	s.mu.Lock()
	conv := &conversation{mx: s, c: c, r: bufio.NewReader(c), msg: Message{Conn: s.conns}}
	s.conns++
	s.mu.Unlock()
	conv.say("220 mx.test ESMTP")
	for conv.step() {
	}
}

type conversation struct {
	mx  *MX
	c   net.Conn
	r   *bufio.Reader
	w   bytes.Buffer
	msg Message
}

// say holds replies back while more commands are buffered.
func (v *conversation) say(reply string) bool {
	if reply == "HANGUP" {
		return false
	}
	v.w.WriteString(reply + "\r\n")
	if v.r.Buffered() > 0 {
		return true
	}
	_, err := v.c.Write(v.w.Bytes())
	v.w.Reset()
	return err == nil
}

func (v *conversation) answer(line, usual string) (reply string) {
	if v.mx.opts.Answer != nil {
		v.mx.mu.Lock()
		defer v.mx.mu.Unlock()
		if reply = v.mx.opts.Answer(line); reply != "" {
			return reply
		}
	}
	return usual
}

// step takes one command; false ends the conversation.
func (v *conversation) step() bool {
	line, err := v.r.ReadString('\n')
	if err != nil {
		return false
	}
	line = strings.TrimRight(line, "\r\n")
	verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
	switch verb {
	case "EHLO", "HELO":
		v.msg.Hello = line[5:]
		return v.say(v.answer(line, v.greeting(verb)))
	case "STARTTLS":
		return v.startTLS(line)
	case "MAIL":
		v.msg = Message{From: pathOf(line), Params: []string{line}, Hello: v.msg.Hello, TLS: v.msg.TLS, Conn: v.msg.Conn}
		return v.say(v.answer(line, "250 2.1.0 ok"))
	case "RCPT":
		reply := v.answer(line, "250 2.1.5 ok")
		if strings.HasPrefix(reply, "2") {
			v.msg.Rcpts, v.msg.Params = append(v.msg.Rcpts, pathOf(line)), append(v.msg.Params, line)
			v.msg.To = v.msg.Rcpts[0]
		}
		return v.say(reply)
	case "DATA":
		return v.data(line)
	case "QUIT":
		v.say(v.answer(line, "221 2.0.0 bye"))
		return false
	case "RSET", "NOOP":
		return v.say(v.answer(line, "250 2.0.0 ok"))
	}
	return v.say(v.answer(line, "500 5.5.1 what?"))
}

func (v *conversation) greeting(verb string) string {
	switch {
	case verb == "HELO" || v.mx.opts.Plain:
		return "250 mx.test"
	case v.mx.opts.TLS != nil && !v.msg.TLS:
		return "250-mx.test\r\n250-PIPELINING\r\n250-STARTTLS\r\n250-8BITMIME\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE"
	}
	return "250-mx.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE"
}

func (v *conversation) startTLS(line string) bool {
	reply := v.answer(line, "220 2.0.0 go ahead")
	if !v.say(reply) || !strings.HasPrefix(reply, "220") {
		return reply != "HANGUP"
	}
	c := tls.Server(v.c, v.mx.opts.TLS)
	if c.Handshake() != nil {
		return false
	}
	v.c, v.r, v.msg.TLS = c, bufio.NewReader(c), true
	return true
}

func (v *conversation) data(line string) bool {
	usual := "354 go on"
	if len(v.msg.Rcpts) == 0 {
		usual = "554 5.5.1 no recipient"
	}
	reply := v.answer(line, usual)
	if !v.say(reply) || !strings.HasPrefix(reply, "354") {
		return reply != "HANGUP"
	}
	body, err := readBody(v.r, true)
	if err != nil {
		return false
	}
	reply = v.answer(".", "250 2.0.0 taken")
	if strings.HasPrefix(reply, "2") && len(v.msg.Rcpts) > 0 {
		v.msg.Body = body
		v.mx.mu.Lock()
		v.mx.messages = append(v.mx.messages, v.msg)
		v.mx.mu.Unlock()
	}
	return v.say(reply)
}

// readBody takes a message up to its dot and undoes the stuffing. Without keep
// it returns nothing of the message.
func readBody(r *bufio.Reader, keep bool) ([]byte, error) {
	var body []byte
	start := true
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return nil, io.ErrUnexpectedEOF
		}
		if start && line[0] == '.' {
			if string(line) == ".\r\n" {
				return body, nil
			}
			line = line[1:]
		}
		if keep {
			body = append(body, line...)
		}
		start = err == nil
	}
}

// pathOf gives the text between the angle brackets.
func pathOf(line string) string {
	_, rest, _ := strings.Cut(line, "<")
	if end := strings.LastIndexByte(rest, '>'); end >= 0 {
		rest = rest[:end]
	}
	return rest
}
