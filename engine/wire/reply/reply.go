// SPDX-License-Identifier: Apache-2.0

// Package reply reads and writes replies as they go over the wire (RFC 5321 §4.2).
package reply

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"restante/engine/mail"
)

// Limits on what a peer may say. RFC 5321 §4.5.3.1.5 has 512 octets to a line: of a
// longer one than MaxLine, the rest is read and dropped.
const (
	MaxLine  = 2 << 10 // the least buffer of Read's reader
	maxReply = 32 << 10
)

// ErrProtocol means that the peer does not speak SMTP, or too much of it.
var ErrProtocol = errors.New("the peer's reply is no SMTP")

// A Reply is a reply as it came.
type Reply struct {
	Code  int
	Lines []string // text of each, of printable characters alone
	First string   // the first line with its code, as it came
	Size  int      // in octets
}

// Read reads one reply.
func Read(r *bufio.Reader) (out Reply, err error) {
	for {
		line, n, err := readLine(r, maxReply-out.Size)
		if out.Size += n; err != nil {
			return Reply{}, readError(err, out.Size > 0)
		}
		said := strings.TrimRight(line, "\r\n")
		code, text, more, ok := parseLine(said)
		if !ok {
			return Reply{}, fmt.Errorf("%w: %.60q", ErrProtocol, line)
		}
		if code/100 >= out.Code/100 { // codes that differ: the worst class counts
			out.Code = code
		}
		out.Lines, out.First = append(out.Lines, text), cmp.Or(out.First, said)
		if !more {
			return out, nil
		}
	}
}

// readLine reads one line of at most max octets, and gives the first MaxLine of it
// and how many it has.
func readLine(r *bufio.Reader, max int) (line string, n int, err error) {
	for {
		b, err := r.ReadSlice('\n')
		if n += len(b); line == "" {
			line = string(b)
		}
		switch {
		case n > max:
			return "", n, fmt.Errorf("%w: it does not end", ErrProtocol)
		case err != bufio.ErrBufferFull:
			return line, n, err
		}
	}
}

func readError(err error, begun bool) error {
	switch {
	case err == io.EOF && begun:
		return fmt.Errorf("the peer hung up within a reply: %w", io.ErrUnexpectedEOF)
	case err == io.EOF:
		return fmt.Errorf("the peer hung up: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// parseLine reads code, text and whether more lines follow. RFC 5321
// §4.2; a code alone is taken as well.
func parseLine(line string) (code int, text string, more, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, "", false, false
	}
	for _, d := range []byte(line[:3]) {
		if d < '0' || d > '9' {
			return 0, "", false, false
		}
		code = code*10 + int(d-'0')
	}
	if len(line) == 3 {
		return code, "", false, true
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, "", false, false
	}
	return code, string(appendPrintable(nil, line[4:], false)), line[3] == '-', true
}

// Mail takes the status code off the lines, where they have one.
func (r Reply) Mail() mail.Reply {
	out := mail.Reply{Code: r.Code, Peer: true}
	for i, line := range r.Lines {
		status, rest, _ := strings.Cut(line, " ")
		if isStatus(status, r.Code) && (i == 0 || status[2:] == out.Enhanced) {
			out.Enhanced = status[2:]
			line = rest
		}
		if i > 0 {
			out.Text += "\n"
		}
		out.Text += line
	}
	return out
}

// isStatus says that s is a status code of RFC 3463 §2 of the same class.
func isStatus(s string, code int) bool {
	part := strings.Split(s, ".")
	if len(part) != 3 || part[0] != string(rune('0'+code/100)) {
		return false
	}
	for _, p := range part[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// Keyword writes a line of the reply to EHLO as RFC 5321 §4.1.1.1 has it: the keyword
// in upper case, where IIS says 8bitmime, and AUTH without the equals sign.
func Keyword(line string) string {
	word, rest, some := strings.Cut(line, " ")
	word = strings.ToUpper(word)
	if mechanism, ok := strings.CutPrefix(word, "AUTH="); ok {
		return strings.TrimRight("AUTH "+mechanism+" "+rest, " ")
	}
	if some {
		return word + " " + rest
	}
	return word
}

// maxText keeps a reply line with its code within the 512 octets of RFC
// 5321 §4.5.3.1.5.
const maxText = 490

// Append writes r as it goes over the wire. With enhanced, each line of a
// 2xx, 4xx and 5xx reply carries its status code (RFC 2034 §4). With wide, the client
// takes UTF-8 (RFC 6531 §3.7.4).
func Append(dst []byte, r mail.Reply, enhanced, wide bool) []byte {
	status := ""
	if class := r.Code / 100; enhanced && (class == 2 || class == 4 || class == 5) {
		status = r.Status()
	}
	for text := r.Text; ; {
		line, rest, more := strings.Cut(text, "\n")
		if n := maxText; len(line) > n {
			for n > maxText-utf8.UTFMax && !utf8.RuneStart(text[n]) {
				n--
			}
			line, rest, more = text[:n], text[n:], true
		}
		dst = strconv.AppendInt(dst, int64(r.Code), 10)
		if more {
			dst = append(dst, '-')
		} else {
			dst = append(dst, ' ')
		}
		if status != "" {
			dst = append(dst, status...)
			dst = append(dst, ' ')
		}
		dst = appendPrintable(dst, line, wide)
		dst = append(dst, '\r', '\n')
		if !more {
			return dst
		}
		text = rest
	}
}

// appendPrintable writes text with a question mark for each octet that has no
// place in a reply. With wide, characters of UTF-8 have one.
func appendPrintable(dst []byte, text string, wide bool) []byte {
	if wide && !mail.IsASCII(text) {
		for _, r := range text {
			if r != '\t' && unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || r == utf8.RuneError {
				r = '?'
			}
			dst = utf8.AppendRune(dst, r)
		}
		return dst
	}
	start := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[start:] {
		if c < ' ' && c != '\t' || c > '~' {
			dst[start+i] = '?'
		}
	}
	return dst
}
