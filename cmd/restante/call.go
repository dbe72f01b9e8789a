// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"restante/admin/api"
	"restante/cmd/restante/internal/visible"
)

// call makes one call and prints the answer: as JSON with --json, else by text.
// An error about a change that is stored comes with its answer.
func call[Q, A any](ctx context.Context, c *cli, m api.Method[Q, A], q Q, text func(table, A)) error {
	a, raw, err := exchange(ctx, c, m, q)
	if raw == nil {
		return err
	}
	if err := c.answer(raw, func(w table) { text(w, a) }); err != nil {
		return err
	}
	return err
}

// list is call for a list. An empty one is [] with --json, else the sentence
// empty on stderr.
func list[Q, A any](ctx context.Context, c *cli, m api.Method[Q, []A], q Q, empty string, row func(table, A)) error {
	all, raw, err := exchange(ctx, c, m, q)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		raw = json.RawMessage("[]") // and no null
		if !c.json && !c.quiet {
			fmt.Fprintf(c.err, "restante: %s: %s\n", c.path, visible.Line(empty))
		}
	}
	return c.answer(raw, func(w table) {
		for _, a := range all {
			row(w, a)
		}
	})
}

// change is call for a request that changes something. With --quiet the output
// of text is dropped.
func change[Q, A any](ctx context.Context, c *cli, m api.Method[Q, A], q Q, text func(table, A)) error {
	return tryOrChange(ctx, c, m, q, false, text)
}

// tryOrChange is call with dryRun and change without.
func tryOrChange[Q, A any](ctx context.Context, c *cli, m api.Method[Q, A], q Q, dryRun bool, text func(table, A)) error {
	return call(ctx, c, m, q, func(w table, a A) {
		if c.quiet && !dryRun {
			w = newTable(io.Discard) // text also warns on stderr
		}
		text(w, a)
		if !c.until.IsZero() {
			w.printf("taken back at %s unless restante mb confirm follows\n", formatTime(c.until))
		}
	})
}

// exchange makes one call. On a terminal a progress bar shows when it takes
// longer than a second.
func exchange[Q, A any](ctx context.Context, c *cli, m api.Method[Q, A], q Q) (a A, raw json.RawMessage, err error) {
	conn, err := c.open(ctx)
	if err != nil {
		return a, nil, err
	}
	defer conn.close()
	var notes []api.Noted
	defer func() {
		for _, n := range notes {
			c.warn(n.Subject, n.Text)
		}
	}()
	ctx, stop := c.startProgress(ctx)
	defer stop()
	return m.Call(api.WithNotes(ctx, func(n api.Noted) {
		if !n.Until.IsZero() {
			c.until = n.Until
		} else {
			notes = append(notes, n)
		}
	}), conn, q)
}

// answer prints an answer: raw with --json, else the output of text.
func (c *cli) answer(raw json.RawMessage, text func(w table)) error {
	if c.json {
		_, err := fmt.Fprintf(c.out, "%s\n", raw)
		return err
	}
	var b strings.Builder
	w := newTable(&b)
	text(w)
	if err := w.cells.Flush(); err != nil {
		return err
	}
	colored := c.colored()
	for line := range strings.Lines(b.String()) {
		line = strings.TrimRight(line, " \n") // empty last cells leave blanks
		if colored {
			line = colorize(line)
		}
		if _, err := fmt.Fprintln(c.out, line); err != nil {
			return err
		}
	}
	return nil
}

// answerOwn is answer for a value of the command itself.
func (c *cli) answerOwn(v any, text func(w table)) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.answer(raw, text)
}

// fields returns a function that prints one field of a description.
func fields(w table) func(name string, value any) {
	return func(name string, value any) { w.printf("%s\t%v\n", name, value) }
}

// formatTime prints a time with its zone; "-" for none.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 -0700")
}

// formatSize prints a number of octets in the largest unit that it fills.
func formatSize(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f := float64(n)
	i := 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// plural is "1 message", "2 messages".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// oneLine formats a value on one line, with the strings of a list quoted as a
// shell would need them.
func oneLine(value any, texts []string) string {
	switch list, ok := value.([]any); {
	case !ok:
		return strings.Join(texts, " ")
	case len(list) == 0:
		return ""
	}
	return quoted(texts)
}

// quoted joins strings, with quotes around those that contain blanks.
func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		if out[i] = s; s == "" || strings.ContainsAny(s, " \t'\"") {
			out[i] = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}
