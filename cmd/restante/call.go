// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
)

// call makes one call and prints the answer.
func call[Q, A any](ctx context.Context, c *cli, m api.Method[Q, A], q Q, text func(*tabwriter.Writer, A)) error {
	conn, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	a, raw, err := m.Call(ctx, conn, q)
	if err != nil {
		return err
	}
	return c.answer(raw, func(w *tabwriter.Writer) { text(w, a) })
}

// quiet prints nothing: that it worked is all there is to say.
func quiet[A any](*tabwriter.Writer, A) {}

// number reads the number of a site or of a revision.
func (c *cli) number(what, word string) (int, error) {
	n, err := strconv.Atoi(word)
	if err != nil || n < 1 {
		return 0, c.usage(fmt.Sprintf("%q is no number of a %s", word, what))
	}
	return n, nil
}

// siteArg reads the first argument as the number of a site.
func (c *cli) siteArg(cx *urfave.Context) (int, error) { return c.number("site", cx.Args().First()) }

// formatTime prints a time for people; "-" for none.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// size prints octets for people.
func size(n int64) string {
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
