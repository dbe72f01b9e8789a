// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/d--j/go-milter"

	"restante/engine/mail"
	"restante/engine/session"
)

// maxChanges bounds what a filter may ask for in one answer: each is searched for among
// the others.
const maxChanges = 1000

// apply makes the changes that a filter asks for, and says in words what they are.
// Spaced says that values of fields come with the blank behind the colon.
func apply(asked []milter.ModifyAction, spaced bool, m *message, v *session.Verdict) (done []string, err error) {
	if len(asked) > maxChanges {
		return nil, fmt.Errorf("asks for %d changes, more than %d", len(asked), maxChanges)
	}
	for _, a := range asked {
		switch a.Type {
		case milter.ActionAddHeader, milter.ActionInsertHeader, milter.ActionChangeHeader:
			err = applyField(a, spaced, m)
			done = append(done, "field "+a.HeaderName)
		case milter.ActionAddRcpt:
			var to mail.Address
			if to, err = path(a.Rcpt); err == nil && to.IsNull() {
				err = fmt.Errorf("adds the recipient %.80q", a.Rcpt)
			}
			if !slices.ContainsFunc(v.To, func(r mail.Recipient) bool { return r.Address == to }) {
				v.To = append(v.To, mail.Recipient{Address: to})
			}
			done = append(done, "recipient "+to.String())
		case milter.ActionDelRcpt:
			var to mail.Address
			to, err = path(a.Rcpt)
			v.To = slices.DeleteFunc(v.To, func(r mail.Recipient) bool { return r.Address == to })
			done = append(done, "without recipient "+to.String())
		case milter.ActionChangeFrom:
			v.From, err = path(a.From)
			done = append(done, "sender "+v.From.String())
		case milter.ActionQuarantine:
			v.Quarantine = quarantineReason(a.Reason)
			done = append(done, "quarantine: "+v.Quarantine)
		default:
			err = fmt.Errorf("asks for the change %d", a.Type)
		}
		if err != nil {
			return nil, err
		}
	}
	return done, nil
}

// maxReason bounds the octets of a milter's reason, which is stored with the message.
const maxReason = 500

func quarantineReason(text string) string {
	text = strings.Map(printable, strings.ToValidUTF8(text, "?"))
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "..."
	}
	return cmp.Or(text, "a milter asks for it")
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

func applyField(a milter.ModifyAction, spaced bool, m *message) error {
	value := a.HeaderValue
	if !spaced {
		value = " " + value
	}
	f, err := newField(a.HeaderName, value)
	if err != nil {
		return err
	}
	switch a.Type {
	case milter.ActionInsertHeader:
		m.insert(a.HeaderIndex, f)
	case milter.ActionChangeHeader:
		m.replace(a.HeaderIndex, a.HeaderName, f, a.HeaderValue == "")
	default:
		m.insert(uint32(len(m.fields))+1, f)
	}
	return nil
}

// path reads an address in angle brackets.
func path(text string) (mail.Address, error) {
	inner := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "<"), ">")
	a, err := mail.ParseAddress(inner)
	if err != nil {
		return a, fmt.Errorf("names the address %.80q: %w", text, err)
	}
	return a, nil
}

// newBodyOf takes the new body of a message into a draft, with CRLF at the end of each
// line: a bare CR or LF could hide another message from those who check this one.
type newBodyOf struct {
	create func() (session.Body, error)
	limit  int64
	draft  session.Body // nil: none has come
	last   byte
}

func (b *newBodyOf) Write(p []byte) (int, error) {
	if b.draft == nil {
		draft, err := b.create()
		if err != nil {
			return 0, storeError{err}
		}
		b.draft = draft
	}
	if b.draft.Size()+int64(len(p)) > b.limit {
		return 0, fmt.Errorf("sends a new body of more than %d octets", b.limit)
	}
	var out bytes.Buffer
	for _, c := range p {
		if b.last == '\r' && c != '\n' {
			out.WriteByte('\n')
		} else if c == '\n' && b.last != '\r' {
			out.WriteByte('\r')
		}
		out.WriteByte(c)
		b.last = c
	}
	if _, err := b.draft.Write(out.Bytes()); err != nil {
		return 0, storeError{err}
	}
	return len(p), nil
}

// end ends the last line.
func (b *newBodyOf) end() error {
	if b.last == 0 || b.last == '\n' {
		return nil
	}
	_, err := b.Write([]byte{'\n'})
	return err
}
