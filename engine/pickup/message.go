// SPDX-License-Identifier: Apache-2.0

package pickup

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	netmail "net/mail"
	"regexp"
	"strings"

	"github.com/emersion/go-message/textproto"

	"restante/engine/mail"
)

// maxHeader bounds the header of a file, which is held in memory.
const maxHeader = 1 << 20

// A Message is what a file has to send.
type Message struct {
	ID   mail.MessageID
	From mail.Address
	To   []mail.Address // at least one
	Text io.Reader      // without the fields of the envelope; its lines end in CRLF

	lines *lines
}

// EightBit reports whether Text, when it was read, had octets beyond ASCII.
func (m Message) EightBit() bool { return m.lines.eightBit }

// errUnfinished says that the rest of the file may still come.
var errUnfinished = errors.New("the header has no end: an empty line must follow it")

// parse reads the envelope of a file. X-Sender and X-Receiver are the envelope
// where they stand above all other fields; without X-Receiver, To, Cc and Bcc name
// the recipients, and without X-Sender, Sender or From the sender. An error of the
// file system is an [fs.PathError].
func parse(file io.Reader, set Settings) (Message, error) {
	l := newLines(file)
	r := bufio.NewReader(io.LimitReader(l, maxHeader))
	if mark, _ := r.Peek(3); string(mark) == "\xef\xbb\xbf" { // of UTF-8, by Windows's editors
		_, _ = r.Discard(len(mark))
	}
	h, err := textproto.ReadHeader(r)
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return Message{}, err
	}
	if _, end := r.Peek(1); end == io.EOF {
		switch {
		case l.err != io.EOF || len(l.out) > 0:
			return Message{}, fmt.Errorf("the header is longer than %d octets", maxHeader)
		case err != nil || !l.endsHeader():
			return Message{}, errUnfinished
		}
	}
	if err != nil {
		return Message{}, fmt.Errorf("header: %s", strings.TrimPrefix(err.Error(), "message: "))
	}
	m := Message{lines: l}
	top, err := readTop(h)
	if err != nil {
		return Message{}, err
	}
	if m.From, err = sender(top, h, set.Default); err != nil {
		return Message{}, err
	}
	if m.To, err = recipients(top, h, set.Default); err != nil {
		return Message{}, err
	}
	for _, name := range []string{"X-Sender", "X-Receiver", "Bcc", "Resent-Bcc"} {
		h.Del(name)
	}
	var head bytes.Buffer
	if err := textproto.WriteHeader(&head, h); err != nil {
		return Message{}, err
	}
	body := io.MultiReader(r, l)
	if set.Stuffed && !h.Has("Received") { // the files of a Drop folder have their lines as they came
		body = &unstuffed{Reader: body}
	}
	m.Text = io.MultiReader(&head, body)
	return m, nil
}

// topFields are those of the envelope, as they stand above all others.
type topFields map[string][]string

// readTop reads them. The header below them may be a stranger's, as in a file of a
// Drop folder: what it says of the envelope does not count, and is no substitute.
func readTop(h textproto.Header) (topFields, error) {
	top, below := topFields{}, ""
	for f := h.Fields(); f.Next(); {
		name := f.Key()
		switch isEnvelope := name == "X-Sender" || name == "X-Receiver"; {
		case !isEnvelope:
			below = cmp.Or(below, name)
		case below == "":
			top[name] = append(top[name], f.Value())
		case top[name] == nil:
			return nil, fmt.Errorf("%s stands below %s: move it above all other fields, or remove it", name, below)
		}
	}
	if top["X-Receiver"] == nil && h.Has("Received") {
		return nil, errors.New("came from another host (it has Received): write X-Receiver above all other fields, because its To, Cc and Bcc are a stranger's")
	}
	return top, nil
}

func sender(top topFields, h textproto.Header, d mail.Domain) (mail.Address, error) {
	if from := top["X-Sender"]; len(from) > 0 {
		a := mailbox(from[0])
		if a == "" {
			return mail.Address{}, nil // the null address, of a report
		}
		return envelope("X-Sender", a, d)
	}
	for _, name := range []string{"Sender", "From"} {
		list, err := addresses(h, name, d)
		if err != nil {
			return mail.Address{}, err
		}
		if len(list) > 0 {
			return list[0], nil
		}
	}
	return mail.Address{}, errors.New("names no sender: X-Sender, Sender or From must")
}

func recipients(top topFields, h textproto.Header, d mail.Domain) (to []mail.Address, err error) {
	for _, text := range top["X-Receiver"] {
		a, err := envelope("X-Receiver", mailbox(text), d)
		if err == nil && a.IsNull() {
			err = errors.New("X-Receiver: is empty")
		}
		if err != nil {
			return nil, err
		}
		to = append(to, a)
	}
	if len(to) > 0 {
		return to, nil
	}
	for _, name := range []string{"To", "Cc", "Bcc"} {
		list, err := addresses(h, name, d)
		if err != nil {
			return nil, err
		}
		to = append(to, list...)
	}
	if len(to) == 0 {
		return nil, errors.New("names no recipient: X-Receiver, To, Cc or Bcc must")
	}
	return to, nil
}

// mailbox is a path of the envelope without its angle brackets.
func mailbox(text string) string {
	text = strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(text, "<"); ok {
		return strings.TrimSuffix(inner, ">")
	}
	return text
}

func envelope(field, text string, d mail.Domain) (mail.Address, error) {
	a, err := mail.ParseAddressIn(text, d)
	if err != nil {
		return a, fmt.Errorf("%s: %w", field, err)
	}
	return a, nil
}

// addressParser takes every charset: the names that it decodes are not used.
var addressParser = netmail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil },
}}

// addresses lists those of a field, also where it stands more than once.
func addresses(h textproto.Header, field string, d mail.Domain) (out []mail.Address, err error) {
	for _, text := range h.Values(field) {
		if strings.TrimSpace(text) == "" {
			continue
		}
		list, err := addressParser.ParseList(text)
		if err != nil && d != "" {
			list, err = addressParser.ParseList(withDomain(text, d))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s", field, strings.TrimPrefix(err.Error(), "mail: "))
		}
		for _, one := range list {
			// String quotes a local part where that is needed.
			quoted := netmail.Address{Address: one.Address}
			a, err := mail.ParseAddress(mailbox(quoted.String()))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", field, err)
			}
			out = append(out, a)
		}
	}
	return out, nil
}

// alone matches a local part that stands as an address of a list.
var alone = regexp.MustCompile("(^|[,:<])(\\s*)([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+)(\\s*)($|[,;>])")

// withDomain gives the local parts that stand alone in a list of addresses a domain:
// RFC 5322, and so its parser, knows no address without one. In a quoted name it
// may change words, which are not used.
func withDomain(list string, d mail.Domain) string {
	for range 2 { // a comma between two of them is part of both matches
		list = alone.ReplaceAllString(list, "$1$2$3@"+strings.ReplaceAll(string(d), "$", "")+"$4$5")
	}
	return list
}
