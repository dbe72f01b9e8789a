// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"restante/cmd/restante/internal/terminal"
	"restante/cmd/restante/internal/visible"
)

// verbatim is where a text goes that another program may need to the octet: a
// value, a message, a script's output. Only a terminal gets it visibly.
func (c *cli) verbatim() io.Writer {
	if terminal.Is(c.out) {
		return visible.Writer{To: c.out}
	}
	return c.out
}

// verbatimLines is verbatim where each write is one line.
func (c *cli) verbatimLines() io.Writer {
	if terminal.Is(c.out) {
		return visible.LineWriter{To: c.out}
	}
	return c.out
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
func (t table) text(s string) { _, _ = io.WriteString(t.cells, visible.Text(s)) }

// A visibleArg formats as its value does, visibly.
type visibleArg struct{ value any }

func (v visibleArg) Format(f fmt.State, verb rune) {
	_, _ = io.WriteString(f, visible.Line(fmt.Sprintf(fmt.FormatString(f, verb), v.value)))
}
