// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/md5" // CRAM-MD5 is made of it
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A Client holds one SMTP conversation command by command: as a sender that waits
// for each reply and, after TURN, as the receiving server on the same connection.
type Client struct {
	net.Conn
	R        *bufio.Reader
	Chunking bool // of Receive: offers CHUNKING
}

// Dial connects to an SMTP server and says EHLO. The conversation may take ten
// minutes.
func Dial(addr string) (*Client, error) {
	l, err := Connect(addr)
	if err != nil {
		return nil, err
	}
	return l, l.Say("EHLO caller.test", "250")
}

// Connect connects to an SMTP server and reads its greeting.
func Connect(addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Minute)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Minute))
	l := &Client{Conn: conn, R: bufio.NewReader(conn)}
	if err := l.Expect("220"); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l, nil
}

// Quit says QUIT and closes, without waiting for the answer.
func (l *Client) Quit() {
	_, _ = io.WriteString(l.Conn, "QUIT\r\n")
	_ = l.Conn.Close()
}

// Say sends one command and expects a reply that begins with code.
func (l *Client) Say(command, code string) error {
	if _, err := io.WriteString(l.Conn, command+"\r\n"); err != nil {
		return err
	}
	if err := l.Expect(code); err != nil {
		verb, _, _ := strings.Cut(command, " ")
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// Expect reads a reply that begins with code.
func (l *Client) Expect(code string) error {
	reply, err := l.Reply()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(reply, code) {
		return fmt.Errorf("wanted %s, got %q", code, reply)
	}
	return nil
}

// Reply reads a whole reply and gives its last line.
func (l *Client) Reply() (string, error) {
	for {
		line, err := l.R.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimSpace(string(line)), nil
		}
	}
}

// Send sends one message: dot-stuffed octets with their end marker.
func (l *Client) Send(from, to string, stuffed []byte) error {
	if err := l.Say("MAIL FROM:<"+from+">", "250"); err != nil {
		return err
	}
	if err := l.Say("RCPT TO:<"+to+">", "250"); err != nil {
		return err
	}
	if err := l.Say("DATA", "354"); err != nil {
		return err
	}
	if _, err := l.Write(stuffed); err != nil {
		return err
	}
	return l.Expect("250")
}

// DotStuff gives the octets of a message as DATA sends them, with the end marker
// (RFC 5321 §4.5.2).
func DotStuff(message []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(message) {
		if line[0] == '.' {
			b.WriteByte('.')
		}
		b.Write(line)
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// SignIn uses CRAM-MD5 (RFC 2195), which needs no TLS.
func (l *Client) SignIn(account, password string) error {
	if _, err := io.WriteString(l.Conn, "AUTH CRAM-MD5\r\n"); err != nil {
		return err
	}
	line, err := l.Reply()
	if err != nil {
		return err
	}
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "334 "))
	if err != nil {
		return fmt.Errorf("AUTH: challenge %q: %w", line, err)
	}
	return l.Say(base64.StdEncoding.EncodeToString([]byte(AnswerCRAM(account, password, challenge))), "235")
}

// AnswerCRAM is the response to a challenge of CRAM-MD5.
func AnswerCRAM(account, password string, challenge []byte) string {
	mac := hmac.New(md5.New, []byte(password))
	mac.Write(challenge)
	return account + " " + hex.EncodeToString(mac.Sum(nil))
}

// A Received is one message as a receiving server got it.
type Received struct {
	From string
	To   []string
	Data []byte // without dot-stuffing
}

// AcceptedReply is the reply of Receive to every message.
const AcceptedReply = "250 taken\r\n"

// Receive acts as the receiving server until the other side quits. It greets,
// offers PIPELINING, SIZE and 8BITMIME, with Chunking also CHUNKING, and gives each message
// to keep before the reply. An error of keep closes the conversation without a reply, as a broken
// connection does. A nil keep discards the messages.
func (l *Client) Receive(keep func(Received) error) error {
	out := bufio.NewWriter(l.Conn)
	fmt.Fprint(out, "220 sink.test\r\n")
	var m Received
	for {
		if l.R.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
		line, err := l.R.ReadString('\n')
		if err != nil {
			return err
		}
		switch strings.ToUpper(line[:min(4, len(line))]) {
		case "EHLO":
			fmt.Fprint(out, "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n")
			if l.Chunking {
				fmt.Fprint(out, "250-CHUNKING\r\n")
			}
			fmt.Fprint(out, "250 SIZE\r\n")
		case "MAIL":
			m = Received{From: pathOf(line)}
			fmt.Fprint(out, "250 ok\r\n")
		case "RCPT":
			m.To = append(m.To, pathOf(line))
			fmt.Fprint(out, "250 ok\r\n")
		case "DATA":
			fmt.Fprint(out, "354 go\r\n")
			if err := out.Flush(); err != nil {
				return err
			}
			if m.Data, err = readBody(l.R, keep != nil); err != nil {
				return err
			}
			if err := taken(out, keep, m); err != nil {
				return err
			}
		case "BDAT":
			last, err := readChunk(l.R, line, &m)
			if err != nil {
				return err
			}
			if !last {
				fmt.Fprint(out, "250 more\r\n")
			} else if err := taken(out, keep, m); err != nil {
				return err
			}
		case "QUIT":
			fmt.Fprint(out, "221 bye\r\n")
			return out.Flush()
		default:
			fmt.Fprint(out, "250 ok\r\n")
		}
	}
}

// taken gives a message to keep, and says that it is taken.
func taken(out io.Writer, keep func(Received) error, m Received) error {
	if keep != nil {
		if err := keep(m); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, AcceptedReply)
	return err
}

// readChunk takes the octets of a BDAT (RFC 3030).
func readChunk(r *bufio.Reader, line string, m *Received) (last bool, err error) {
	words := append(strings.Fields(line), "")
	n, err := strconv.ParseInt(words[1], 10, 32)
	if err != nil {
		return false, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	m.Data = append(m.Data, b...)
	return words[2] != "", err
}
