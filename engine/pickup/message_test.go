// SPDX-License-Identifier: Apache-2.0

package pickup

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"restante/engine/mail"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":        "the SMTP packages know nothing of paths",
		"/engine/settings": "what is set comes as Settings",
		"/engine/queue":    "an Intake is all it knows of the queue",
		"/engine/session":  "the Intake knows who may send what",
		"/engine/site":     "the site runs it",
		"/engine/spool":    "the Intake stores messages",
		"go-smtp":          "only engine/wire speaks SMTP",
	})
}

var hub = Settings{Default: "hub.test", Stuffed: true}

// A file that another host's mail is in is told from one of this machine, whose mail is
// signed.
func TestForeignFiles(t *testing.T) {
	const envelope = "x-sender: a@x.test\nx-receiver: b@y.test\n"
	for file, want := range map[string]bool{
		envelope + "From: a@x.test\n\nReceived: r\n":                 false,
		envelope + "Received: r\nFrom: a@x.test\n\n":                 true,
		envelope + "From: a@x.test\nreceived : by a\n\tb\nTo: c\n\n": true,
		"X-Receiver: b@y.test\nFrom: a@x.test\nRECEIVED:\n\n":        true,
	} {
		m, err := parse(strings.NewReader(file), hub)
		if err != nil || m.Foreign != want {
			t.Errorf("%q: foreign %v, %v, want %v", file, m.Foreign, err, want)
		}
	}
}

// told is an envelope and a text in words.
func told(m Message, text string) string {
	var b strings.Builder
	b.WriteString("<" + m.From.String() + ">")
	for _, to := range m.To {
		b.WriteString(" " + to.String())
	}
	return b.String() + "\n" + strings.ReplaceAll(text, "\r\n", "\n")
}

func TestFilesThatAreSent(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"an envelope", "X-Sender: a@x.test\nX-Receiver: b@y.test\nx-receiver: <c@y.test>\nTo: d@y.test\nBcc: e@y.test\n\ntext\n",
			"<a@x.test> b@y.test c@y.test\nTo: d@y.test\n\ntext\n"},
		{"a stranger's envelope below ours", "x-sender: a@x.test\nx-receiver: b@y.test\nReceived: r\nX-Receiver: victim@z.test\nx-sender: c@z.test\nBcc: d@z.test\n\n",
			"<a@x.test> b@y.test\nReceived: r\n\n"},
		{"a stranger's Bcc below ours", "x-receiver: b@y.test\nx-sender: \nReceived: r\nTo: c@z.test\nBcc: d@z.test\n\n", "<> b@y.test\nReceived: r\nTo: c@z.test\n\n"},
		{"as a Drop folder has a report", "x-sender: \nx-receiver: b@y.test\n\n", "<> b@y.test\n\n"},
		{"recipients of the header", "From: A <a@x.test>\nTo: b@y.test, \"C, D\" <c@y.test>\nCc: team: d@y.test, e@y.test;\nTo: f@y.test\nBcc: g@y.test\n\n",
			"<a@x.test> b@y.test c@y.test f@y.test d@y.test e@y.test g@y.test\nFrom: A <a@x.test>\nTo: b@y.test, \"C, D\" <c@y.test>\nCc: team: d@y.test, e@y.test;\nTo: f@y.test\n\n"},
		{"Sender before From", "From: a@x.test, b@x.test\nSender: c@x.test\nTo: d@y.test\n\n", "<c@x.test> d@y.test\nFrom: a@x.test, b@x.test\nSender: c@x.test\nTo: d@y.test\n\n"},
		{"the sender alone in the envelope", "X-Sender: bounce@x.test\nFrom: a@x.test\nTo: b@y.test\n\n", "<bounce@x.test> b@y.test\nFrom: a@x.test\nTo: b@y.test\n\n"},
		{"no domain", "X-Sender: app\nX-Receiver: root\nX-Receiver: <postmaster>\n\n", "<app@hub.test> root@hub.test postmaster@hub.test\n\n"},
		{"no domain in a list", "From: app\nTo: root, b@y.test, R <ann>,bob , \"x, y, z\" <joe>\nCc: t: one, two;\n\n",
			"<app@hub.test> root@hub.test b@y.test ann@hub.test bob@hub.test joe@hub.test one@hub.test two@hub.test\nFrom: app\nTo: root, b@y.test, R <ann>,bob , \"x, y, z\" <joe>\nCc: t: one, two;\n\n"},
		{"a quoted local part", "X-Sender: \"a b\"@x.test\nTo: \"c d\"@y.test\n\n", "<\"a b\"@x.test> \"c d\"@y.test\nTo: \"c d\"@y.test\n\n"},
		{"a charset that is not known", "From: a@x.test\nTo: =?iso-2022-jp?B?GyRCRnwbKEI=?= <b@y.test>\n\n", "<a@x.test> b@y.test\nFrom: a@x.test\nTo: =?iso-2022-jp?B?GyRCRnwbKEI=?= <b@y.test>\n\n"},
		{"beyond ASCII", "X-Sender: señor@bücher.test\nX-Receiver: bär@y.test\nX-Receiver: <\"bär b\"@y.test>\n\n", "<señor@xn--bcher-kva.test> bär@y.test \"bär b\"@y.test\n\n"},
		{"beyond ASCII in a list", "From: señor@x.test\nTo: Bär <bär@bücher.test>, c@y.test\n\n", "<señor@x.test> bär@xn--bcher-kva.test c@y.test\nFrom: señor@x.test\nTo: Bär <bär@bücher.test>, c@y.test\n\n"},
		{"empty lists", "From: a@x.test\nTo: undisclosed-recipients:;\nCc:\nBcc: b@y.test\n\n", "<a@x.test> b@y.test\nFrom: a@x.test\nTo: undisclosed-recipients:;\nCc:\n\n"},
		{"folded", "From: a@x.test\nTo: b@y.test,\n c@y.test\nBcc:\n d@y.test\nSubject: s\n\tt\n\n", "<a@x.test> b@y.test c@y.test d@y.test\nFrom: a@x.test\nTo: b@y.test,\n c@y.test\nSubject: s\n\tt\n\n"},
		{"the mark of UTF-8", "\xef\xbb\xbfFrom: a@x.test\nTo: b@y.test\n\n", "<a@x.test> b@y.test\nFrom: a@x.test\nTo: b@y.test\n\n"},
		{"all kinds of line ends", "From: a@x.test\rTo: b@y.test\n\r\none\rtwo\r\rthree\nfour", "<a@x.test> b@y.test\nFrom: a@x.test\nTo: b@y.test\n\none\ntwo\n\nthree\nfour\n"},
		{"a Bcc behind a carriage return", "From: a@x.test\nTo: b@y.test\nSubject: s\rBcc: c@y.test\n\n", "<a@x.test> b@y.test c@y.test\nFrom: a@x.test\nTo: b@y.test\nSubject: s\n\n"},
		{"semicolons", "From: a@x.test\nTo: b@y.test; \"C; D\" <c@y.test>;\nCc: <d@y.test>; <e@y.test>\n\n",
			"<a@x.test> b@y.test c@y.test d@y.test e@y.test\nFrom: a@x.test\nTo: b@y.test; \"C; D\" <c@y.test>;\nCc: <d@y.test>; <e@y.test>\n\n"},
		{"names that must be quoted", "From: John Doe [shop] <a@x.test>\nTo: info@y.test <b@y.test>, J. (a, b) R <c@y.test>\n\n", "<a@x.test> b@y.test c@y.test\nFrom: John Doe [shop] <a@x.test>\nTo: info@y.test <b@y.test>, J. (a, b) R <c@y.test>\n\n"},
		{"names in Latin-1", "From: M\xfcller <a@x.test>\nTo: M\xfcller <b@y.test>, \"M\xfc, ller\" <c@y.test>\n\n", "<a@x.test> b@y.test c@y.test\nFrom: M\xfcller <a@x.test>\nTo: M\xfcller <b@y.test>, \"M\xfc, ller\" <c@y.test>\n\n"},
		{"names and lists of receivers", "X-Sender: a@x.test\nX-Receiver: B <b@y.test>\nX-Receiver: c@y.test, D <d@y.test>\n\n", "<a@x.test> b@y.test c@y.test d@y.test\n\n"},
		{"dots", "X-Sender: <>\nX-Receiver: b@y.test\n\n..\n.\n.one\n...three\na..\n..", "<> b@y.test\n\n.\n.\n.one\n..three\na..\n.\n"},
		{"dots of a Drop file", "x-sender: \nx-receiver: b@y.test\nReceived: r\n\n..\n.\n.one\n...three\n..", "<> b@y.test\nReceived: r\n\n..\n.\n.one\n...three\n..\n"},
	}
	for _, tt := range tests {
		for _, read := range []func(io.Reader) io.Reader{iotest.OneByteReader, func(r io.Reader) io.Reader { return r }} {
			m, err := parse(read(strings.NewReader(tt.file)), hub)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			text, err := io.ReadAll(m.Text)
			if got := told(m, string(text)); got != tt.want || err != nil {
				t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, got, tt.want)
			}
			if bare := strings.ReplaceAll(string(text), "\r\n", ""); strings.ContainsAny(bare, "\r\n") {
				t.Errorf("%s: bare line ends in %q", tt.name, text)
			}
		}
	}
}

func TestDotsThatAreNotDoubled(t *testing.T) {
	m, err := parse(strings.NewReader("X-Sender: <>\nX-Receiver: b@y.test\n\n..\n.one\n"), Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := io.ReadAll(m.Text); string(text) != "\r\n..\r\n.one\r\n" {
		t.Errorf("%q", text)
	}
}

func TestEightBit(t *testing.T) {
	for body, want := range map[string]bool{"plain": false, "gr\xfc\xdfe": true} {
		m, err := parse(strings.NewReader("X-Sender: <>\nX-Receiver: b@y.test\n\n"+body), hub)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, m.Text); err != nil || m.EightBit() != want {
			t.Errorf("%q: %v, %v", body, m.EightBit(), err)
		}
	}
}

// Those who can be read get the message, and the others are told.
func TestRecipientsThatCannotBeRead(t *testing.T) {
	for file, want := range map[string]string{
		"From: a@x.test\nTo: b@y.test, c@y..test, @, d@y.test\nCc: e\xfc@y.test\n\n":        `b@y.test d@y.test To: address "c@y..test": `,
		"X-Sender: a@x.test\nX-Receiver: b@y.test\nX-Receiver:\nX-Receiver: c d@y.test\n\n": "b@y.test X-Receiver: is empty\nX-Receiver: ",
	} {
		m, err := parse(strings.NewReader(file), hub)
		if err != nil || m.Unread == nil {
			t.Errorf("%q: %v, %v", file, err, m.Unread)
			continue
		}
		got := ""
		for _, to := range m.To {
			got += to.String() + " "
		}
		if got += m.Unread.Error(); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %q, want %q", file, got, want)
		}
	}
}

func TestFilesThatAreNotSent(t *testing.T) {
	const from = "From: a@x.test\n"
	unfinished := errUnfinished.Error()
	tests := []struct{ name, file, want string }{
		{"nothing", "", unfinished},
		{"an empty header", "\n", "names no sender: X-Sender, Sender or From must"},
		{"no sender", "To: b@y.test\n\n", "names no sender"},
		{"no recipient", from + "\n", "names no recipient: X-Receiver, To, Cc or Bcc must"},
		{"an empty group", from + "To: x:;\n\n", "names no recipient"},
		{"cut in the header", from + "To: b@y.te", unfinished},
		{"cut at the end of the header", from + "To: b@y.test\n", unfinished},
		{"cut in a name", from + "To: b@y.test\nSubj", unfinished},
		{"a body without a blank line", from + "To: b@y.test\nsome text\nmore: text\n\n", "header: malformed"},
		{"no address", from + "To: @\n\n", "To: "},
		{"no address in brackets", from + "To: B <>; C <c@@y.test>\n\n", "To: \"B <>\" has no address\nTo: address \"c@@y.test\""},
		{"a receiver that is none", "X-Sender: a@x.test\nX-Receiver: b@y.test c@y.test\n\n", `X-Receiver: address "b@y.test c@y.test"`},
		{"a stranger's receiver", "Received: r\nX-Receiver: b@y.test\n" + from + "\n", "X-Receiver stands below Received: move it above all other fields, or remove it"},
		{"a receiver below other fields", "X-Sender: a@x.test\nTo: b@y.test\nX-Receiver: c@y.test\n\n", "X-Receiver stands below To: "},
		{"a sender below other fields", "X-Receiver: c@y.test\n" + from + "X-Sender: a@x.test\n\n", "X-Sender stands below From: "},
		{"a stranger's To", "Received: r\n" + from + "To: b@y.test\n\n", "came from another host"},
		{"a stranger's To, below a sender", "X-Sender: a@x.test\n" + from + "To: b@y.test\nReceived: r\n\n", "came from another host"},
		{"a receiver that is empty", "X-Sender: a@x.test\nX-Receiver: <>\n\n", "X-Receiver: is empty"},
		{"a sender that is none", "X-Sender: a@\nX-Receiver: b@y.test\n\n", "X-Sender: "},
		{"an address in Latin-1", from + "To: b\xe4r@y.test\n\n", "To: "},
		{"UTF-16", "\xff\xfeF\x00r\x00o\x00m\x00:\x00 \x00a\x00\n\x00\n\x00", "header: malformed"},
		{"a header without end", from + strings.Repeat("X: y\n", maxHeader/5+1) + "\n", "the header is longer than 1048576 octets"},
	}
	for _, tt := range tests {
		_, err := parse(strings.NewReader(tt.file), hub)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if errors.Is(err, errUnfinished) != (tt.want == unfinished) {
			t.Errorf("%s: unfinished: %v", tt.name, err)
		}
	}
	if _, err := parse(strings.NewReader("X-Sender: a\nX-Receiver: b@y.test\n\n"), Settings{}); err == nil {
		t.Error("a sender without a domain, where there is no default")
	}
}

// FuzzParse: what is sent has recipients with domains, no field of the envelope, and
// lines that end in CRLF; its body is that of the file.
func FuzzParse(f *testing.F) {
	f.Add([]byte("X-Sender: a@x.test\nX-Receiver: b@y.test\n\n..text\n"))
	f.Add([]byte("From: A <a>\r\nTo: b, \"c, d\" <e@y.test>\rBcc: f\r\n\r\n.\r\n"))
	f.Add([]byte("\xef\xbb\xbfSender: a\nCc: g: b;\n\n\r\r.."))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := parse(bytes.NewReader(file), hub)
		if err != nil {
			return
		}
		text, err := io.ReadAll(m.Text)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.To) == 0 || slices.ContainsFunc(m.To, func(a mail.Address) bool { return a.Domain == "" || a.Local == "" }) {
			t.Errorf("%q goes to %v", file, m.To)
		}
		if bare := bytes.ReplaceAll(text, []byte("\r\n"), nil); bytes.ContainsAny(bare, "\r\n") || !bytes.HasSuffix(text, []byte("\r\n")) {
			t.Errorf("%q has other line ends: %q", file, text)
		}
		head, _, _ := strings.Cut("\r\n"+string(text), "\r\n\r\n")
		for _, field := range []string{"bcc", "x-sender", "x-receiver", "resent-bcc"} {
			if strings.Contains(strings.ToLower(head), "\r\n"+field+":") {
				t.Errorf("%q is sent with %s: %q", file, field, text)
			}
		}
		again, err := parse(bytes.NewReader(append([]byte("X-Sender: <>\r\nX-Receiver: b@y.test\r\n"), text...)), Settings{})
		if err != nil {
			t.Fatalf("%q: its text %q: %v", file, text, err)
		}
		if same, _ := io.ReadAll(again.Text); !bytes.Equal(same, text) {
			t.Errorf("%q: %q, read again %q", file, text, same)
		}
	})
}

// FuzzStrangersHeader: below the envelope of a Drop file, no text of a stranger
// changes whom the message goes to.
func FuzzStrangersHeader(f *testing.F) {
	f.Add([]byte("X-Receiver: victim@z.test\r\nX-Sender: c@z.test\r\n\r\ntext\r\n"))
	f.Add([]byte("Subject: s\rx-receiver: victim@z.test\nBcc: d@z.test\n\n"))
	f.Add([]byte(" for <b@y.test>\r\nX-RECEIVER : victim@z.test\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file := append([]byte("x-sender: a@x.test\r\nx-receiver: b@y.test\r\nReceived: r\r\n"), text...)
		m, err := parse(bytes.NewReader(file), hub)
		if err == nil && told(m, "") != "<a@x.test> b@y.test\n" {
			t.Errorf("%q: %s", file, told(m, ""))
		}
	})
}
