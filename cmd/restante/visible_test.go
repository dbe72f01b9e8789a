// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"restante/admin/api"
)

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"Grüße, 世界 \\ \"quoted\"": "Grüße, 世界 \\ \"quoted\"",
		"a\x1b]0;owned\x07b":      `a\x1b]0;owned\ab`,
		"a\tb\r\nc\vd":            `a\tb\r\nc\vd`,
		"\u009b31m":               `\u009b31m`,            // C1
		"\x9b31m":                 `\x9b31m`,              // the same, not UTF-8
		"abc\u202ecod.exe":        `abc\u202ecod.exe`,     // right-to-left override
		"\u2066x\u2069\u200f":     `\u2066x\u2069\u200f`,  // isolates and marks
		"a\u200bb\ufeff\u2028":    `a\u200bb\ufeff\u2028`, // nothing to see
		"a\u00a0b\U000e0041":      `a\u00a0b\U000e0041`,   // a blank that is none, and a tag
		"\ufffd\xff\x00":          "\ufffd" + `\xff\x00`,  // the valid one stays
	} {
		if got := visible(in); got != want {
			t.Errorf("visible(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := visibleText("a\tb\r\nc\rd\x1b\n"), "a\tb\nc\\rd\\x1b\n"; got != want {
		t.Errorf("visibleText gives %q, want %q", got, want)
	}
}

func FuzzVisible(f *testing.F) {
	f.Add("a\x1b[2J\u009b\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := visible(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("visible(%q) = %q", s, got)
		}
		if visible(got) != got {
			t.Errorf("visible(%q) changes when it is made visible again", s)
		}
	})
}

// TestAnswersAreVisible prints a hostile value by each verb, and errors.
func TestAnswersAreVisible(t *testing.T) {
	const hostile = "x\x1b[2J\tforged\nrestante: forged\u202e\u009b\xff"
	var out, problems strings.Builder
	c := &cli{out: &out, err: &problems, path: "mb " + hostile}
	err := c.answerOwn(nil, func(w table) {
		fields(w)(hostile, []string{hostile})
		w.printf("%s\t%v\t%q\t%-5s\t%d\n", hostile, struct{ s string }{hostile}, hostile, &api.Error{Text: hostile}, 7)
	})
	if err != nil {
		t.Fatal(err)
	}
	c.report(&api.Error{Kind: api.KindFailed, Text: hostile, Hint: hostile})
	c.warn(hostile, hostile)
	c.warnUnknownAccounts(api.Domain{Name: hostile, Unknown: []string{hostile}})
	for _, text := range []string{out.String(), problems.String()} {
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if visible(line) != line {
				t.Errorf("%q shows as it is", line)
			}
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("two rows are printed as %d lines: %q", n, out.String())
	}
}
