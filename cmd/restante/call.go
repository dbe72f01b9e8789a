// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"restante/admin/api"
)

// call makes one call and prints the answer: as JSON with --json, else by text.
func call[Q, A any](ctx context.Context, c *cli, m api.Method[Q, A], q Q, text func(*tabwriter.Writer, A)) error {
	a, raw, err := exchange(ctx, c, m, q)
	if err != nil {
		return err
	}
	return c.answer(raw, func(w *tabwriter.Writer) { text(w, a) })
}

// list is call for a list. An empty one is [] with --json, else the sentence
// empty on stderr.
func list[Q, A any](ctx context.Context, c *cli, m api.Method[Q, []A], q Q, empty string, row func(*tabwriter.Writer, A)) error {
	all, raw, err := exchange(ctx, c, m, q)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		raw = json.RawMessage("[]") // and no null
		if !c.json && !c.quiet {
			fmt.Fprintf(c.err, "restante: %s: %s\n", c.path, empty)
		}
	}
	return c.answer(raw, func(w *tabwriter.Writer) {
		for _, a := range all {
			row(w, a)
		}
	})
}

// change is call for a request that changes something. With --quiet the output
// of text is dropped.
func change[Q, A any](ctx context.Context, c *cli, m api.Method[Q, A], q Q, text func(*tabwriter.Writer, A)) error {
	return tryOrChange(ctx, c, m, q, false, text)
}

// tryOrChange is call with dryRun and change without.
func tryOrChange[Q, A any](ctx context.Context, c *cli, m api.Method[Q, A], q Q, dryRun bool, text func(*tabwriter.Writer, A)) error {
	return call(ctx, c, m, q, func(w *tabwriter.Writer, a A) {
		if c.quiet && !dryRun {
			w = tabwriter.NewWriter(io.Discard, 0, 0, 0, ' ', 0) // text also warns on stderr
		}
		text(w, a)
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
	defer c.startProgress()()
	return m.Call(ctx, conn, q)
}

// answer prints an answer: raw with --json, else the output of text.
func (c *cli) answer(raw json.RawMessage, text func(w *tabwriter.Writer)) error {
	if c.json {
		_, err := fmt.Fprintf(c.out, "%s\n", raw)
		return err
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	text(w)
	if err := w.Flush(); err != nil {
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
func (c *cli) answerOwn(v any, text func(w *tabwriter.Writer)) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.answer(raw, text)
}
