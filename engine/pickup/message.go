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

	Foreign bool // its header has a Received field: another host brought it

	Unread error // why further recipients cannot be read, or nil

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
	var bad []error
	if m.To, bad = recipients(top, h, set.Default); len(m.To) == 0 {
		return Message{}, errors.Join(bad...)
	}
	m.Unread = errors.Join(bad...)
	for _, name := range []string{"X-Sender", "X-Receiver", "Bcc", "Resent-Bcc"} {
		h.Del(name)
	}
	var head bytes.Buffer
	if err := textproto.WriteHeader(&head, h); err != nil {
		return Message{}, err
	}
	body := io.MultiReader(r, l)
	m.Foreign = h.Has("Received")
	if set.Stuffed && !m.Foreign { // the files of a Drop folder have their lines as they came
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
		a, err := mail.ParseAddressIn(mailbox(from[0]), d)
		if err != nil {
			return a, fmt.Errorf("X-Sender: %w", err)
		}
		return a, nil // also the null address, of a report
	}
	for _, name := range []string{"Sender", "From"} {
		list, bad := addresses(h, name, d)
		switch {
		case len(list) > 0:
			return list[0], nil
		case len(bad) > 0:
			return mail.Address{}, bad[0]
		}
	}
	return mail.Address{}, errors.New("names no sender: X-Sender, Sender or From must")
}

// recipients gives those that can be read, and why others cannot.
func recipients(top topFields, h textproto.Header, d mail.Domain) (to []mail.Address, bad []error) {
	if texts := top["X-Receiver"]; texts != nil {
		for _, text := range texts {
			if mailbox(text) == "" {
				bad = append(bad, errors.New("X-Receiver: is empty"))
			} else if a, err := mail.ParseAddressIn(mailbox(text), d); err == nil {
				to = append(to, a)
			} else {
				list, why := readList("X-Receiver", text, d)
				to, bad = append(to, list...), append(bad, why...)
			}
		}
		return to, bad
	}
	for _, name := range []string{"To", "Cc", "Bcc"} {
		list, why := addresses(h, name, d)
		to, bad = append(to, list...), append(bad, why...)
	}
	if len(to)+len(bad) == 0 {
		bad = []error{errors.New("names no recipient: X-Receiver, To, Cc or Bcc must")}
	}
	return to, bad
}

// mailbox is a path of the envelope without its angle brackets.
func mailbox(text string) string {
	text = strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(text, "<"); ok {
		return strings.TrimSuffix(inner, ">")
	}
	return text
}

// addresses reads those of a field, also where it stands more than once.
func addresses(h textproto.Header, field string, d mail.Domain) (list []mail.Address, bad []error) {
	for _, text := range h.Values(field) {
		more, why := readList(field, text, d)
		list, bad = append(list, more...), append(bad, why...)
	}
	return list, bad
}

// addressParser takes every charset: the names that it decodes are not used.
var addressParser = netmail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil },
}}

// readList reads a list of RFC 5322. Where it is none, each item is read by itself, as
// programs write them: with semicolons between them, in names what must be quoted, and
// without a domain.
func readList(field, text string, d mail.Domain) (list []mail.Address, bad []error) {
	text = strings.ToValidUTF8(text, "\uFFFD") // names in Latin-1; no address has it
	add := func(a mail.Address, err error) {
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", field, err))
			return
		}
		list = append(list, a)
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if parsed, err := addressParser.ParseList(text); err == nil {
		for _, one := range parsed {
			add(ours(one))
		}
		return list, bad
	}
	for _, item := range splitList(text) {
		add(readItem(item, d))
	}
	return list, bad
}

// ours converts an address that net/mail has read.
func ours(one *netmail.Address) (mail.Address, error) {
	quoted := netmail.Address{Address: one.Address} // String quotes a local part where that is needed
	return mail.ParseAddress(mailbox(quoted.String()))
}

// readItem reads one address: the whole item, or what its angle brackets hold.
func readItem(item string, d mail.Domain) (mail.Address, error) {
	if one, err := addressParser.Parse(item); err == nil {
		return ours(one)
	}
	text := item
	if i := strings.LastIndexByte(text, '<'); i >= 0 && strings.HasSuffix(text, ">") {
		text = text[i:]
	}
	a, err := mail.ParseAddressIn(mailbox(text), d)
	if err == nil && a.IsNull() {
		err = fmt.Errorf("%q has no address", item)
	}
	return a, err
}

// splitList splits a list at commas and semicolons, and leaves out the names of groups.
// What is quoted or in brackets of any kind is not split.
func splitList(text string) (items []string) {
	begin, until := 0, []byte(nil) // until: what ends the quotes and brackets that are open
	item := func(end int) {
		if s := strings.TrimSpace(text[begin:end]); s != "" {
			items = append(items, s)
		}
		begin = end + 1
	}
	closing := map[byte]byte{'"': '"', '(': ')', '<': '>', '[': ']'}
	for i := 0; i < len(text); i++ {
		c, open := text[i], len(until) > 0
		switch {
		case open && c == until[len(until)-1]:
			until = until[:len(until)-1]
		case c == '\\':
			i++ // the next octet is itself
		case open && until[len(until)-1] != ')': // only comments hold others
		case open && c == '(' || !open && closing[c] != 0:
			until = append(until, closing[c])
		case open:
		case c == ':':
			begin = i + 1
		case c == ',' || c == ';':
			item(i)
		}
	}
	item(len(text))
	return items
}
