// SPDX-License-Identifier: Apache-2.0

package visible

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin":    "a text is shown whatever it says",
		"/engine":   "a text is shown whatever it says",
		"/metabase": "a text is shown whatever it says",
	})
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"Grüße, 世界 \\ \"quoted\"":  "Grüße, 世界 \\ \"quoted\"",
		"a\x1b]0;owned\x07b":       `a\x1b]0;owned\ab`,
		"a\tb\r\nc\vd":             `a\tb\r\nc\vd`,
		"\u009b31m":                `\u009b31m`,                // C1
		"\x9b31m":                  `\x9b31m`,                  // the same, not UTF-8
		"abc\u202ecod.exe":         `abc\u202ecod.exe`,         // right-to-left override
		"\u2066x\u2069\u200f":      `\u2066x\u2069\u200f`,      // isolates and marks
		"a\u200bb\ufeff\u2028":     `a\u200bb\ufeff\u2028`,     // nothing to see
		"\u3164\u115f\u2800\ufe0f": `\u3164\u115f\u2800\ufe0f`, // fillers, a blank, a selector
		"a\u00a0b\U000e0041":       `a\u00a0b\U000e0041`,       // a blank that is none, and a tag
		"\ufffd\xff\x00":           "\ufffd" + `\xff\x00`,      // the valid one stays
	} {
		if got := Line(in); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := Text("a\tb\r\nc\rd\x1b\n"), "a\tb\nc\\rd\\x1b\n"; got != want {
		t.Errorf("Text gives %q, want %q", got, want)
	}
}

func TestLineWriter(t *testing.T) {
	var b strings.Builder
	w := LineWriter{&b}
	for _, line := range []string{"a\n", "b\nc\n", "d"} {
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("Write(%q) = %d, %v", line, n, err)
		}
	}
	if got, want := b.String(), "a\nb\\nc\nd"; got != want {
		t.Errorf("it wrote %q, want %q", got, want)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b[2J\u009b\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := Line(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Line(%q) = %q", s, got)
		}
		if Line(got) != got {
			t.Errorf("Line(%q) changes when it is made visible again", s)
		}
	})
}
