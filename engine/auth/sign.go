// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"restante/engine/mail"
)

// A Signing makes the DKIM signatures of one message, whose text is written to it as it
// passes: header, empty line, body. It ends with Fields or Close.
//
// A message that has not exactly one author's domain is not signed, nor is one with a
// CR or LF of its own: each verifier would read that in another way.
type Signing struct {
	keys    func(author mail.Domain) []Key
	head    []byte // until the header has ended
	signers []*dkim.Signer
	state   signState

	cr      bool // the last octet was CR
	text    bool // the present line has more than blanks
	pending int  // octets of lines without text so far, which the signers keep
}

type signState int

const (
	inHeader signState = iota
	inBody
	notSigned
)

// maxPending bounds the empty lines that are kept in memory until it is known whether
// they are the body's last ones, which are not signed.
const maxPending = 1 << 20

// Sign begins a message. Keys gives those that sign the mail of a domain; none: it is not
// signed.
func Sign(keys func(author mail.Domain) []Key) *Signing { return &Signing{keys: keys} }

// Write takes the next octets of the message. It never fails.
func (s *Signing) Write(p []byte) (int, error) {
	n := len(p)
	switch {
	case s.state == notSigned:
		return n, nil
	case !s.sound(p):
		s.Close()
		return n, nil
	case s.state == inHeader:
		from := max(len(s.head)-3, 0)
		s.head = append(s.head, p...)
		end := bytes.Index(s.head[from:], []byte("\r\n\r\n"))
		end += from + 4
		switch long := len(s.head) > maxHeader && (end < from+4 || end > maxHeader); {
		case long, bytes.HasPrefix(s.head, []byte("\r\n")):
			s.Close()
			return n, nil
		case end < from+4: // it goes on
			return n, nil
		}
		p = s.head[end:]
		s.begin(s.head[:end])
		s.head = nil
	}
	s.pass(p)
	return n, nil
}

// sound reports whether p goes on with lines that all end in CR LF, and with no more of
// empty ones than can be kept.
func (s *Signing) sound(p []byte) bool {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		line := p
		if end >= 0 {
			line, p = p[:end], p[end+1:]
		} else {
			p = nil
		}
		if s.cr && (len(line) > 0 || end < 0) {
			return false
		}
		cr := bytes.IndexByte(line, '\r')
		switch {
		case cr >= 0 && cr != len(line)-1, end >= 0 && cr < 0 && !s.cr:
			return false
		}
		s.text = s.text || len(bytes.TrimLeft(line, " \t\r")) > 0
		if s.pending += len(line) + 1; s.text {
			s.pending = 0
		}
		if s.pending > maxPending {
			return false
		}
		if s.cr = end < 0 && cr >= 0; end >= 0 {
			s.text = false
		}
	}
	return true
}

func (s *Signing) pass(p []byte) {
	for _, one := range s.signers {
		if _, err := one.Write(p); err != nil {
			s.Close()
			return
		}
	}
}

// begin starts the signers when the header is known.
func (s *Signing) begin(head []byte) {
	s.state = notSigned
	fields := fromFields(head)
	if len(fields) != 1 {
		return
	}
	author, ok := domainOf(fields[0])
	if !ok {
		return
	}
	names := signedFields(head)
	for _, key := range s.keys(author) {
		signer, err := dkim.NewSigner(&dkim.SignOptions{
			Domain: string(author), Selector: key.Selector, Signer: key.signer, HeaderKeys: names,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		})
		if err == nil {
			s.signers = append(s.signers, signer)
		}
	}
	if len(s.signers) > 0 {
		s.state = inBody
		s.pass(head)
	}
}

// Fields ends the message and gives its signatures as fields with their line ends; "" for
// none.
func (s *Signing) Fields() string {
	if s.state == inHeader && !s.cr { // a message without a body
		s.begin(append(s.head, "\r\n"...))
	}
	if s.state != inBody || s.cr {
		s.Close()
		return ""
	}
	var b strings.Builder
	for _, one := range s.signers {
		if err := one.Close(); err == nil {
			b.WriteString(one.Signature())
		}
	}
	s.signers, s.state = nil, notSigned
	return b.String()
}

// Close gives the message up. After Fields it does nothing.
func (s *Signing) Close() {
	for _, one := range s.signers {
		_ = one.Close() // nobody wants its result
	}
	s.signers, s.head, s.state = nil, nil, notSigned
}

// toSign are the fields that a signature covers where the message has them: those of RFC
// 6376 §5.4.1, and those that say what the body is.
var toSign = []string{
	"From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition",
	"In-Reply-To", "References",
	"Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
	"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
}

// maxNames bounds the names in a signature, which has them on one line (RFC 5322 §2.1.1).
const maxNames = 60

// signedFields names each field to sign as often as it is there, and From once more: no
// other one can be put on top of it. A field beyond maxNames is not covered.
func signedFields(head []byte) (names []string) {
	count := map[string]int{}
	for line := range bytes.Lines(head) {
		if name, _, ok := strings.Cut(string(line), ":"); ok {
			count[strings.ToLower(strings.TrimRight(name, " \t"))]++
		}
	}
	count["from"]++
	for _, name := range toSign {
		names = append(names, slices.Repeat([]string{name}, min(count[strings.ToLower(name)], maxNames-len(names)))...)
	}
	return names
}

var _ io.Writer = (*Signing)(nil)
