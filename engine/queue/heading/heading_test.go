// SPDX-License-Identifier: Apache-2.0

package heading

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestRead(t *testing.T) {
	tests := []struct{ text, from, subject string }{
		{"From: Ann <ann@a.test>\r\nSubject: hello\r\n\r\nbody\r\n", "ann@a.test", "hello"},
		{"From: ann@a.test, bob@b.test\r\nsubject:  two\r\n words\r\n\r\n", "ann@a.test", "two words"},
		{"From: =?utf-8?q?J=C3=B6rg?= <j@a.test>\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?= =?iso-8859-1?q?=E4?=\r\n\r\n", "j@a.test", "Grüßeä"},
		{"Subject: =?windows-1251?b?z/Do4uXy?= =?koi8-r?b?8NLJ18XU?= =?cp1252?q?=80?=\r\n\r\n", "", "ПриветПривет€"},
		{"Subject: =?iso-2022-jp?b?GyRCJCIbKEI=?=\r\n\r\n", "", "=?iso-2022-jp?b?GyRCJCIbKEI=?="}, // as it stands
		{"Subject: a\x1b[2Jb\xff\r\n\r\n", "", "a\x1b[2Jb\uFFFD"},                                 // escaped where it is printed
		{"From: not an address (\r\n\r\n", "not an address (", ""},
		{"no header at all\r\nSubject: x\r\n", "", ""},
		{"Subject: in time\r\nbroken line\r\nFrom: late@a.test\r\n\r\n", "", "in time"},
		{"\r\nSubject: body\r\n", "", ""},
		{"", "", ""},
		{"Subject: " + strings.Repeat("ä", 100) + "\r\n\r\n", "", strings.Repeat("ä", 75) + "..."},
		{"X: " + strings.Repeat("x", maxHeader) + "\r\nSubject: too late\r\n\r\n", "", ""},
		{"From:" + strings.Repeat(" \r\n ", maxField) + "ann@a.test\r\nSubject: x\r\n\r\n", "", "x"},
		{"Subject : blank before the colon\r\n\r\n", "", "blank before the colon"},
	}
	for _, tt := range tests {
		from, subject, err := Read(strings.NewReader(tt.text))
		if from != tt.from || subject != tt.subject || err != nil {
			t.Errorf("Read(%.60q) = %q, %q, %v; want %q, %q", tt.text, from, subject, err, tt.from, tt.subject)
		}
	}
	broken := errors.New("broken")
	if _, _, err := Read(iotest.ErrReader(broken)); err != broken {
		t.Errorf("the error is %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("From: =?utf-8?q?J=C3=B6rg?= <j@a.test>\r\nSubject: x\r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		from, subject, err := Read(strings.NewReader(text))
		for what, s := range map[string]string{"from": from, "subject": subject} {
			if err != nil || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n") || utf8.RuneCountInString(s) > maxSubject {
				t.Errorf("%s %q, %v", what, s, err)
			}
		}
	})
}
