// SPDX-License-Identifier: Apache-2.0

// Package visible shows texts of others on a terminal, with an escape for every
// character that the terminal could obey or that does not show.
package visible

import (
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"restante/internal/printable"
)

// Line returns s with every character that a terminal could obey, or that
// does not show, as a Go escape: control characters, bidirectional and other
// invisible ones, and octets that are not UTF-8. Most texts that the command
// line prints come from others: callers, peers, delegates.
func Line(s string) string { return escape(s, "") }

// Text is Line for a text of several lines, which keeps its line ends
// and tabs.
func Text(s string) string {
	return escape(strings.ReplaceAll(s, "\r\n", "\n"), "\n\t")
}

func escape(s, keep string) string {
	shown := func(r rune) bool { return printable.Shows(r) || strings.ContainsRune(keep, r) }
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if valid := r != utf8.RuneError || n > 1; valid && shown(r) {
			b.WriteString(s[i : i+n])
		} else {
			quoted := strconv.QuoteToASCII(s[i : i+n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += n
	}
	return b.String()
}

// A Writer writes texts as Text shows them. No character may be
// split between two writes.
type Writer struct{ To io.Writer }

func (v Writer) Write(b []byte) (int, error) {
	_, err := io.WriteString(v.To, Text(string(b)))
	return len(b), err
}

// A LineWriter writes each text as Line shows it, but for the line end at its end.
type LineWriter struct{ To io.Writer }

func (v LineWriter) Write(b []byte) (int, error) {
	line, end := strings.CutSuffix(string(b), "\n")
	line = Line(line)
	if end {
		line += "\n"
	}
	_, err := io.WriteString(v.To, line)
	return len(b), err
}
