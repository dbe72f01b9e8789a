// SPDX-License-Identifier: Apache-2.0

package header

import (
	"testing"
)

func TestScanner(t *testing.T) {
	tests := []struct {
		name, text string
		want       bool
	}{
		{"nothing", "", false},
		{"ASCII", "Subject: x\r\n\r\ny\r\n", false},
		{"the body", "Subject: x\r\n\r\ngrün\r\n", false},
		{"a field", "Subject: grün\r\n\r\nx\r\n", true},
		{"Latin-1", "Subject: gr\xfcn\r\n\r\nx\r\n", true},
		{"a folded field", "Subject: x\r\n grün\r\n\r\nx\r\n", true},
		{"far out in a field", "Subject: " + string(make([]byte, 3000)) + "ü\r\n\r\nx\r\n", true},
		{"behind the From line of an mbox file", "From a@b\r\nSubject: grün\r\n\r\nx\r\n", true},
		{"text without a header", "Grün ist es\r\nTo: grün\r\n", false},
		{"text behind a header without a blank line", "Subject: x\r\nGrün ist es\r\nTo: grün\r\n", false},
		{"no line end", "Subject: x\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\ngrün", false},
		{"a part", "Subject: x\r\n\r\n--b\r\nContent-Description: grün\r\n\r\nx\r\n--b--\r\n", true},
		{"a part's text", "Subject: x\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nTo: grün\r\n--b--\r\n", false},
		{"a second part", "Subject: x\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: a/b;\r\n name=grün\r\n\r\nx\r\n--b--\r\n", true},
		{"a signature", "Subject: x\r\n\r\nhello\r\n-- \r\nJörg\r\nTel: grün\r\n", false},
		{"a message in it", "Content-Type: message/rfc822\r\n\r\nSubject: grün\r\n\r\nx\r\n", true},
		{"a message in a part", "A: x\r\n\r\n--b\r\nContent-Type: message/global\r\n\r\nSubject: grün\r\n\r\nx\r\n--b--\r\n", true},
		{"a message's text", "A: x\r\n\r\n--b\r\nContent-Type: message/global\r\n\r\nSubject: x\r\n\r\nTo: grün\r\n--b--\r\n", false},
		{"a digest", "A: x\r\n\r\n--b\r\nContent-Type: multipart/digest\r\n\r\n--c\r\n\r\nSubject: grün\r\n\r\nx\r\n--c--\r\n", true},
		{"LF alone", "Subject: grün\n\nx\n", true},
	}
	for _, tt := range tests {
		for step := range 5 { // 0: all at once
			var s Scanner
			for rest := []byte(tt.text); len(rest) > 0; {
				n := len(rest)
				if step > 0 {
					n = min(n, step)
				}
				s.Write(rest[:n])
				rest = rest[n:]
			}
			if s.Found() != tt.want {
				t.Errorf("%s, in pieces of %d: %v, want %v", tt.name, step, s.Found(), tt.want)
			}
		}
	}
}
