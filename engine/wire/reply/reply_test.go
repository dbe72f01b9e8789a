// SPDX-License-Identifier: Apache-2.0

package reply

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"restante/engine/mail"
)

// FuzzRead holds what a peer says to a form: it is read whole or refused, and
// says the same when it is written again.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 2.1.0 b\r\n", "550-5.1.1 no\r\n550 5.1.1 way\r\n", "354\r\n", "250-a\r\n251 b\r\n", "999 x\n", "250\tx\r\n", "421 4.3.2 \xff\x00\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(b), MaxLine)
		for range 3 {
			said, err := Read(in)
			if err != nil {
				if said.Code != 0 {
					t.Errorf("%q: half a reply: %v", b, said)
				}
				return
			}
			r := said.Mail()
			if r.Code < 200 || r.Code > 599 || strings.ContainsFunc(strings.ReplaceAll(r.Text, "\n", ""), func(c rune) bool { return c < ' ' && c != '\t' || c > '~' }) {
				t.Errorf("%q is read as %#v", b, r)
			}
			written := Append(nil, r, r.Enhanced != "", false)
			more, err := Read(bufio.NewReaderSize(bytes.NewReader(written), MaxLine))
			again := more.Mail()
			if long := strings.ContainsFunc(r.Text, func(rune) bool { return len(r.Text) > maxText }); (err != nil || again != r) && !long {
				t.Errorf("%q is %#v, which is written %q, which is %#v, %v", b, r, written, again, err)
			}
		}
	})
}

func TestAppend(t *testing.T) {
	tests := []struct {
		r    mail.Reply
		enh  bool
		want string
		wide bool
	}{
		{mail.Reply{Code: 250, Text: "ok"}, true, "250 2.0.0 ok\r\n", false},
		{mail.Reply{Code: 250, Enhanced: "1.5", Text: "ok"}, false, "250 ok\r\n", false},
		{mail.Reply{Code: 354, Text: "go"}, true, "354 go\r\n", false},
		{mail.Reply{Code: 550, Enhanced: "7.1", Text: "no\nnever\r\x00\xff"}, true, "550-5.7.1 no\r\n550 5.7.1 never???\r\n", false},
		{mail.Reply{Code: 250, Text: strings.Repeat("x", 1000)}, false, "250-" + strings.Repeat("x", 490) + "\r\n250-" + strings.Repeat("x", 490) + "\r\n250 " + strings.Repeat("x", 20) + "\r\n", false},
		{mail.Reply{Code: 250, Text: "<jörg@b.test>"}, false, "250 <j??rg@b.test>\r\n", false},
		{mail.Reply{Code: 250, Text: "<jörg@b.test>\u0085\u2028\xff\r\x00"}, false, "250 <jörg@b.test>?????\r\n", true},
		{mail.Reply{Code: 250, Text: strings.Repeat("x", 489) + "é" + "y"}, false, "250-" + strings.Repeat("x", 489) + "\r\n250 éy\r\n", true},
	}
	for _, tt := range tests {
		if got := string(Append(nil, tt.r, tt.enh, tt.wide)); got != tt.want {
			t.Errorf("%v, %v: %q, want %q", tt.r, tt.enh, got, tt.want)
		}
	}
}

func TestKeyword(t *testing.T) {
	for line, want := range map[string]string{
		"8bitmime": "8BITMIME", "size 1000": "SIZE 1000", "Auth=LOGIN plain": "AUTH LOGIN plain", "AUTH=LOGIN": "AUTH LOGIN", "": "",
	} {
		if got := Keyword(line); got != want {
			t.Errorf("Keyword(%q) = %q, want %q", line, got, want)
		}
	}
}
