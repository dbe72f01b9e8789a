// SPDX-License-Identifier: Apache-2.0

package header

import (
	"bytes"
	"strings"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a header is found in octets"})
}

// through writes text in pieces of the given size.
func through(t testing.TB, text string, size int, complete ...*Field) (string, int) {
	t.Helper()
	var out bytes.Buffer
	h := NewWriter(&out, complete...)
	for rest := []byte(text); len(rest) > 0; {
		n := min(size, len(rest))
		if err := h.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String(), h.received
}

func TestHeaderStandsAlone(t *testing.T) {
	tests := []struct {
		name, in, want string
		received       int
	}{
		{"a header and a body", "Subject: x\r\n\r\nnode: y\r\n z\r\n", "Subject: x\r\n\r\nnode: y\r\n z\r\n", 0},
		{"a header alone", "Subject: x\r\n", "Subject: x\r\n", 0},
		{"an empty message", "", "", 0},
		{"an empty header", "\r\nSubject: x\r\n", "\r\nSubject: x\r\n", 0},
		{"folded and obsolete fields", "A: b\r\n c\r\n\td\r\n \r\nE \t: f\r\n\r\n", "A: b\r\n c\r\n\td\r\n \r\nE \t: f\r\n\r\n", 0},

		{"text alone", "just some text\r\n", "\r\njust some text\r\n", 0},
		{"text without a line end", "text", "\r\ntext", 0},
		{"a name without a colon", "Subject\r\n\r\n", "\r\nSubject\r\n\r\n", 0},
		{"no blank line", "Subject: x\r\nnode: clearing alarm\r\nmore text\r\nA: b\r\n", "Subject: x\r\nnode: clearing alarm\r\n\r\nmore text\r\nA: b\r\n", 0},
		{"a continuation of our field", " by evil.test; now\r\n\r\n", "\r\n by evil.test; now\r\n\r\n", 0},
		{"a tab", "\tx\r\nA: b\r\n", "\r\n\tx\r\nA: b\r\n", 0},
		{"a colon without a name", ": x\r\n", "\r\n: x\r\n", 0},
		{"a name beyond ASCII", "S\xc3\xa4: x\r\n", "\r\nS\xc3\xa4: x\r\n", 0},
		{"a long word", strings.Repeat("x", 2000) + ":\r\n", "\r\n" + strings.Repeat("x", 2000) + ":\r\n", 0},
		{"an mbox line", "From a@b.test Mon Jan  1 00:00:00 2026\r\nA: b\r\n\r\n", "X-Mailbox-Line: From a@b.test Mon Jan  1 00:00:00 2026\r\nA: b\r\n\r\n", 0},
		{"a quoted mbox line", ">From a@b.test\r\nA: b\r\n\r\n", "X-Mailbox-Line: >From a@b.test\r\nA: b\r\n\r\n", 0},
		{"an mbox line after a field", "A: b\r\nFrom x\r\n", "A: b\r\n\r\nFrom x\r\n", 0},

		{"Received fields", "Received: a\r\n\tReceived: folded\r\nreceiveD \t: c\r\nReceive: no\r\nX-Received: no\r\n\r\nReceived: body\r\n",
			"Received: a\r\n\tReceived: folded\r\nreceiveD \t: c\r\nReceive: no\r\nX-Received: no\r\n\r\nReceived: body\r\n", 2},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 3, 7, 4096} {
			got, received := through(t, tt.in, size)
			if got != tt.want || received != tt.received {
				t.Errorf("%s in pieces of %d: %q, %d Received; want %q, %d", tt.name, size, got, received, tt.want, tt.received)
			}
		}
	}
}

// The fields that a header lacks stand above it, whatever ends it, and none that a
// signature covers.
func TestMissingFields(t *testing.T) {
	long := strings.Repeat("X: y\r\n", maxHeld/6+1)
	tests := []struct{ name, in, want string }{
		{"none", "Subject: x\r\n\r\nDate: y\r\n", "Date: d\r\nMessage-ID: <m>\r\nSubject: x\r\n\r\nDate: y\r\n"},
		{"one", "message-id: <own>\r\n\r\n", "Date: d\r\nmessage-id: <own>\r\n\r\n"},
		{"both, one folded", "DATE:\r\n y\r\nMessage-Id : <own>\r\n\r\n", "DATE:\r\n y\r\nMessage-Id : <own>\r\n\r\n"},
		{"no blank line", "Date: y\r\ntext\r\n", "Message-ID: <m>\r\nDate: y\r\n\r\ntext\r\n"},
		{"text alone, cut short", "tex", "Date: d\r\nMessage-ID: <m>\r\n\r\ntex"},
		{"a header alone", "Subject: x\r\n", "Date: d\r\nMessage-ID: <m>\r\nSubject: x\r\n"},
		{"nothing", "", "Date: d\r\nMessage-ID: <m>\r\n"},
		{"an mbox line", "From x\r\n\r\n", "Date: d\r\nMessage-ID: <m>\r\nX-Mailbox-Line: From x\r\n\r\n"},
		{"a signature of other fields", "DKIM-Signature: v=1; h=from:subject;\r\n b=date\r\nFrom: a\r\n\r\n",
			"Date: d\r\nMessage-ID: <m>\r\nDKIM-Signature: v=1; h=from:subject;\r\n b=date\r\nFrom: a\r\n\r\n"},
		{"a signature of one that is absent", "dkim-signature: v=1; h = From:from:\r\n\tMESSAGE-ID ; b=x\r\nFrom: a\r\n\r\n",
			"Date: d\r\ndkim-signature: v=1; h = From:from:\r\n\tMESSAGE-ID ; b=x\r\nFrom: a\r\n\r\n"},
		{"the second of two signatures", "DKIM-Signature: h=from\r\nDKIM-Signature: h=date:message-id\r\n\r\n",
			"DKIM-Signature: h=from\r\nDKIM-Signature: h=date:message-id\r\n\r\n"},
		{"a header too long to hold", long + "\r\n", long + "Date: d\r\nMessage-ID: <m>\r\n\r\n"},
		{"one with a signature", "DKIM-Signature: h=from\r\n" + long + "\r\n", "DKIM-Signature: h=from\r\n" + long + "\r\n"},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 2, 3, 7, 4096} {
			fields := []*Field{{Name: "Date", Value: "d"}, {Name: "Message-ID", Value: "<m>"}}
			if got, _ := through(t, tt.in, size, fields...); got != tt.want {
				t.Errorf("%s in pieces of %d: %.200q, want %.200q", tt.name, size, got, tt.want)
			}
		}
	}
}

// FuzzHeader: behind our own field, a parser finds the sender's octets and our
// field as it was; how the octets are cut changes nothing.
func FuzzHeader(f *testing.F) {
	f.Add("Received: a\r\n\r\nReceived: b\r\n", uint8(3))
	f.Add(" x\r\nSubject: y\r\nz\r\n", uint8(1))
	f.Add("From x\r\n\n\n", uint8(0))
	f.Fuzz(func(t *testing.T, text string, step uint8) {
		whole, n := through(t, text, len(text)+1)
		cut, m := through(t, text, int(step)+1)
		if whole != cut || n != m {
			t.Errorf("%q in steps of %d: %q, whole %q", text, step+1, cut, whole)
		}
		if whole != "" && isBlank(whole[0]) {
			t.Errorf("%q continues our field", whole)
		}
		bare := strings.NewReplacer("X-Mailbox-Line: ", "", "\r", "", "\n", "")
		if bare.Replace(whole) != bare.Replace(text) {
			t.Errorf("%q becomes %q", text, whole)
		}
		if most := strings.Count(strings.ToLower(text), "received"); n > most {
			t.Errorf("%q: %d Received of at most %d", text, n, most)
		}
	})
}
