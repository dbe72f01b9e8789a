// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"

	"restante/admin/api"
	"restante/cmd/restante/internal/progressbar"
	"restante/cmd/restante/internal/visible"
	"restante/internal/progress"
)

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ansi says that stream is a terminal that obeys control sequences.
func ansi(stream any) bool { return isTerminal(stream) && os.Getenv("TERM") != "dumb" }

// colored says that answers are colored; see https://no-color.org.
func (c *cli) colored() bool { return os.Getenv("NO_COLOR") == "" && ansi(c.out) }

const (
	red, green, yellow = "\x1b[31m", "\x1b[32m", "\x1b[33m"
	reset              = "\x1b[0m"
)

// stateCell matches a state in a cell of a table or in a site's line of status.
var stateCell = regexp.MustCompile(`(^|  |" )(started|active|running|paused|pausing|continuing|starting|stopping|held|retry|frozen|stopped)(  | at |$)`)

// colorize colors a line of a difference by its sign, and in others the state.
func colorize(line string) string {
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

// startProgress shows on a terminal, after one second, that the command is at
// work, and what the calls of the context that it returns count. Stop removes the
// display.
func (c *cli) startProgress(ctx context.Context) (_ context.Context, stop func()) {
	if c.json || c.quiet || !ansi(c.err) {
		return ctx, func() {}
	}
	var m progress.Meter
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		progressbar.Show(c.err, c.path, m.Count, done)
	}()
	return progress.With(ctx, &m), func() { close(done); <-gone }
}

// confirm asks before something that cannot be undone.
func (c *cli) confirm(question string) error {
	if c.yes {
		return nil
	}
	if !isTerminal(c.in) {
		return &api.Error{Kind: api.KindUsage, Text: question + " needs a yes", Hint: "--yes " + c.argsAfterGlobals()}
	}
	fmt.Fprintf(c.err, "%s? [y/N] ", visible.Line(question))
	line, _ := bufio.NewReader(c.in).ReadString('\n')
	if word := strings.ToLower(strings.TrimSpace(line)); word != "y" && word != "yes" {
		return &api.Error{Kind: api.KindFailed, Text: "not done"}
	}
	return nil
}

// password reads a password: the first line of standard input when fromStdin,
// else from the terminal, without showing it, twice when it is a new one.
func (c *cli) password(fromStdin, isNew bool) (string, error) {
	if fromStdin {
		line, err := bufio.NewReader(c.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(strings.TrimPrefix(line, "\ufeff"), "\r\n"), nil // PowerShell begins with a mark
	}
	f, ok := c.in.(*os.File)
	if !ok || !isTerminal(f) {
		return "", &api.Error{Kind: api.KindUsage, Text: "there is no terminal to ask for the password", Hint: c.argsAfterGlobals() + " --password-stdin"}
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(c.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		return string(b), err
	}
	first, err := ask("password: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := ask("once more: ")
	if err == nil && first != second {
		err = c.usage("the two passwords differ")
	}
	return first, err
}
