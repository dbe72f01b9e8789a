// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"restante/admin/api"
	"restante/cmd/restante/internal/terminal"
	"restante/cmd/restante/internal/visible"
	"restante/cmd/restante/internal/words"
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
			w.printf("taken back at %s unless restante mb confirm follows\n", words.Time(c.until))
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
	a, raw, err = m.Call(api.WithNotes(ctx, func(n api.Noted) {
		if n.Rev != 0 {
			c.until = n.Until
		} else {
			notes = append(notes, n)
		}
	}), conn, q)
	return a, withDeadline(raw, c.until), err
}

// withDeadline adds to the answer of a change, an object with at least one field, until
// when the change is to be confirmed, if it is.
func withDeadline(answer json.RawMessage, until time.Time) json.RawMessage {
	object, ok := bytes.CutSuffix(answer, []byte("}"))
	if !ok || until.IsZero() {
		return answer
	}
	return fmt.Appendf(slices.Clip(object), `,"until":%q}`, until.Format(time.RFC3339Nano))
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
			line = terminal.Colorize(line)
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
