// SPDX-License-Identifier: Apache-2.0

// Package terminal is what a command does where a person sits: colors, and lines and
// passwords that are typed.
package terminal

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"
)

// Is reports whether stream is a terminal.
func Is(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ANSI reports whether stream is a terminal that obeys control sequences.
func ANSI(stream any) bool { return Is(stream) && os.Getenv("TERM") != "dumb" }

// ReadPassword reads a line from a terminal without showing it. It writes the prompt,
// and the end of the line, to out.
func ReadPassword(f *os.File, out io.Writer, prompt string) (string, error) {
	fmt.Fprint(out, prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(out)
	return string(b), err
}

const (
	red, green, yellow = "\x1b[31m", "\x1b[32m", "\x1b[33m"
	reset              = "\x1b[0m"
)

// stateCell matches a state in a cell of a table or in a site's line of status.
var stateCell = regexp.MustCompile(`(^|  |" )(started|active|running|paused|pausing|continuing|starting|stopping|held|retry|frozen|stopped)(  | at |$)`)

// Colorize colors a line of a difference by its sign, and in others the state.
func Colorize(line string) string {
	switch {
	case strings.HasPrefix(line, "+ "):
		return green + line + reset
	case strings.HasPrefix(line, "- "):
		return red + line + reset
	}
	at := stateCell.FindStringSubmatchIndex(line)
	if at == nil {
		return line
	}
	color := yellow
	switch line[at[4]:at[5]] {
	case "started", "active", "running":
		color = green
	case "stopped", "frozen":
		color = red
	}
	return line[:at[4]] + color + line[at[4]:at[5]] + reset + line[at[5]:]
}
