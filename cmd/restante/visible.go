// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// visible returns s with every character that a terminal could obey, or that
// does not show, as a Go escape: control characters, bidirectional and other
// invisible ones, and octets that are not UTF-8. Most texts that the command
// line prints come from others: callers, peers, delegates.
func visible(s string) string { return escape(s, "") }

// visibleText is visible for a text of several lines, which keeps its line ends
// and tabs.
func visibleText(s string) string {
	return escape(strings.ReplaceAll(s, "\r\n", "\n"), "\n\t")
}

func escape(s, keep string) string {
	shown := func(r rune) bool { return strconv.IsPrint(r) || strings.ContainsRune(keep, r) }
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

// verbatim is where a text goes that another program may need to the octet: a
// value, a message, a script's output. Only a terminal gets it visibly.
func (c *cli) verbatim() io.Writer {
	if isTerminal(c.out) {
		return visibleWriter{c.out}
	}
	return c.out
}

// A visibleWriter writes texts as visibleText shows them. No character may be
// split between two writes.
type visibleWriter struct{ w io.Writer }

func (v visibleWriter) Write(b []byte) (int, error) {
	_, err := io.WriteString(v.w, visibleText(string(b)))
	return len(b), err
}

// A table aligns the cells of an answer, which tabs separate. What it prints is
// visible, but for the tabs and line ends of its formats.
type table struct{ cells *tabwriter.Writer }

func newTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)} }

func (t table) printf(format string, args ...any) {
	for i, arg := range args {
		args[i] = visibleArg{arg}
	}
	fmt.Fprintf(t.cells, format, args...)
}

// text prints a text of ours, which may have several lines.
func (t table) text(s string) { _, _ = io.WriteString(t.cells, visibleText(s)) }

// A visibleArg formats as its value does, visibly.
type visibleArg struct{ value any }

func (v visibleArg) Format(f fmt.State, verb rune) {
	_, _ = io.WriteString(f, visible(fmt.Sprintf(fmt.FormatString(f, verb), v.value)))
}
