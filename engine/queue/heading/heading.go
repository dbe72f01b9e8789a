// SPDX-License-Identifier: Apache-2.0

// Package heading reads who a message is from and what it is about, off the beginning of
// its text, for lists that people read. It decodes RFC 2047 and does not trust what it
// reads: what does not parse is given as it stands, cut to one short line.
package heading

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"strings"
	"sync"

	"golang.org/x/text/encoding/charmap"
)

// The most octets of a header that are looked at, and characters that are given.
const (
	maxHeader  = 64 << 10
	maxField   = 4 << 10
	maxFrom    = 64
	maxSubject = 78
)

// Read gives the first address of the From field, "" where there is none, and the
// Subject. An error is one of r.
func Read(r io.Reader) (from, subject string, err error) {
	if err := readFields(r, map[string]*string{"from": &from, "subject": &subject}); err != nil {
		return "", "", err
	}
	words := mime.WordDecoder{CharsetReader: charsetReader}
	parser := mail.AddressParser{WordDecoder: &words}
	if list, err := parser.ParseList(from); err == nil && len(list) > 0 {
		from = list[0].Address
	}
	subject = strings.TrimSpace(subject)
	if text, err := words.DecodeHeader(subject); err == nil {
		subject = text
	}
	return short(from, maxFrom), short(subject, maxSubject), nil
}

// MessageID gives that of the header, without brackets, or "".
func MessageID(r io.Reader) (id string, err error) {
	err = readFields(r, map[string]*string{"message-id": &id})
	return strings.Trim(strings.TrimSpace(id), "<>"), err
}

// readFields reads the values of the fields that have the names, in lower case.
func readFields(r io.Reader, to map[string]*string) (err error) {
	in := bufio.NewReaderSize(io.LimitReader(r, maxHeader), 4<<10)
	var field *string // that the line before belongs to; nil: to another one
	for err == nil {
		var line string
		line, err = in.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			if field != nil && len(*field) < maxField {
				*field += line[:min(len(line), maxField)]
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(strings.TrimRight(name, " \t"), " \t") {
			break // the end of the header, or no header
		}
		if field = to[strings.ToLower(strings.TrimRight(name, " \t"))]; field != nil {
			*field = value[:min(len(value), maxField)]
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// charsetReader decodes the character sets of one octet a character, beside those that
// package mime knows.
func charsetReader(name string, r io.Reader) (io.Reader, error) {
	if m := charmaps()[plainName(name)]; m != nil {
		return m.NewDecoder().Reader(r), nil
	}
	return nil, fmt.Errorf("unknown character set %q", name)
}

var charmaps = sync.OnceValue(func() map[string]*charmap.Charmap {
	out := map[string]*charmap.Charmap{}
	for _, e := range charmap.All {
		if m, ok := e.(*charmap.Charmap); ok {
			out[plainName(m.String())] = m
		}
	}
	return out
})

var plainer = strings.NewReplacer(" ", "", "-", "", "_", "", "cp", "windows")

func plainName(charset string) string { return plainer.Replace(strings.ToLower(charset)) }

// short puts a text into one line of at most n characters.
func short(s string, n int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-3]) + "..."
	}
	return s
}
