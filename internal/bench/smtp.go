// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/md5" // CRAM-MD5 is made of it
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"time"
)

// takenLine is what takeIn answers a message with, and nothing else.
const takenLine = "250 taken\r\n"

const (
	heldDomain = "held.test"
	account    = "caller"
	password   = "correct horse"
)

// A conn is one plain SMTP conversation of a sender that waits for each reply.
type conn struct {
	net.Conn
	r    *bufio.Reader
	body []byte
}

func dial(addr string) (*conn, error) {
	raw, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, r: bufio.NewReader(raw)}
	_ = raw.SetDeadline(time.Now().Add(10 * time.Minute))
	if err := c.expect("220"); err != nil {
		return nil, err
	}
	return c, c.say("EHLO bench.test", "250")
}

func (c *conn) close() {
	_, _ = c.Write([]byte("QUIT\r\n"))
	_ = c.Conn.Close()
}

// say sends one command and wants a reply that begins with code.
func (c *conn) say(line, code string) error {
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	return c.expect(code)
}

func (c *conn) expect(code string) error {
	line, err := c.reply()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, code) {
		return fmt.Errorf("wanted %s, got %q", code, line)
	}
	return nil
}

// reply gives the last line of a reply.
func (c *conn) reply() (string, error) {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimSpace(string(line)), nil
		}
	}
}

// send hands over one message of size octets for the held domain.
func (c *conn) send(size, session int) error {
	if len(c.body) == 0 {
		c.body = message(size, session)
	}
	if err := c.say("MAIL FROM:<bench@sender.test>", "250"); err != nil {
		return err
	}
	if err := c.say("RCPT TO:<someone@"+heldDomain+">", "250"); err != nil {
		return err
	}
	if err := c.say("DATA", "354"); err != nil {
		return err
	}
	if _, err := c.Write(c.body); err != nil {
		return err
	}
	return c.expect("250")
}

// message makes the octets of a message with its end marker.
func message(size, session int) []byte {
	head := fmt.Sprintf("From: <bench@sender.test>\r\nTo: <someone@%s>\r\nSubject: session %d\r\n\r\n", heldDomain, session)
	line := strings.Repeat("x", 70) + "\r\n"
	var b bytes.Buffer
	b.WriteString(head)
	for b.Len()+len(line) <= size {
		b.WriteString(line)
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// signIn uses CRAM-MD5 (RFC 2195), which needs no TLS.
func (c *conn) signIn() error {
	if _, err := c.Write([]byte("AUTH CRAM-MD5\r\n")); err != nil {
		return err
	}
	line, err := c.reply()
	if err != nil {
		return err
	}
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "334 "))
	if err != nil {
		return fmt.Errorf("challenge %q: %w", line, err)
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write(challenge)
	answer := account + " " + hex.EncodeToString(mac.Sum(nil))
	return c.say(base64.StdEncoding.EncodeToString([]byte(answer)), "235")
}

// takeIn plays the receiving server on c until the other side quits, and
// gives how many messages came. Greets, offers PIPELINING, keeps nothing.
func (c *conn) takeIn() (int, error) {
	n := 0
	out := bufio.NewWriter(c)
	fmt.Fprint(out, "220 sink.test\r\n")
	for {
		if c.r.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return n, err
			}
		}
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return n, err
		}
		switch verb := strings.ToUpper(string(line[:min(4, len(line))])); verb {
		case "EHLO":
			fmt.Fprint(out, "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n")
		case "DATA":
			fmt.Fprint(out, "354 go\r\n")
			if err := out.Flush(); err != nil {
				return n, err
			}
			if err := c.skipBody(); err != nil {
				return n, err
			}
			n++
			fmt.Fprint(out, takenLine)
		case "QUIT":
			fmt.Fprint(out, "221 bye\r\n")
			return n, out.Flush()
		default:
			fmt.Fprint(out, "250 ok\r\n")
		}
	}
}

func (c *conn) skipBody() error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if string(line) == ".\r\n" {
			return nil
		}
	}
}
