// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"restante/admin/api"
	"restante/cmd/restante/internal/progressbar"
	"restante/cmd/restante/internal/terminal"
	"restante/cmd/restante/internal/visible"
	"restante/internal/progress"
)

// colored says that answers are colored; see https://no-color.org.
func (c *cli) colored() bool { return os.Getenv("NO_COLOR") == "" && terminal.ANSI(c.out) }

// startProgress shows on a terminal, after one second, that the command is at
// work, and what the calls of the context that it returns count. Stop removes the
// display.
func (c *cli) startProgress(ctx context.Context) (_ context.Context, stop func()) {
	if c.json || c.quiet || !terminal.ANSI(c.err) {
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
	if !terminal.Is(c.in) {
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
	if !ok || !terminal.Is(f) {
		return "", &api.Error{Kind: api.KindUsage, Text: "there is no terminal to ask for the password", Hint: c.argsAfterGlobals() + " --password-stdin"}
	}
	first, err := terminal.ReadPassword(f, c.err, "password: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := terminal.ReadPassword(f, c.err, "once more: ")
	if err == nil && first != second {
		err = c.usage("the two passwords differ")
	}
	return first, err
}
