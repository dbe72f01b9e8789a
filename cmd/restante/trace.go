// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/words"
)

func (c *cli) queueTrace() *urfave.Command {
	return &urfave.Command{
		Name: "trace", Usage: "show what happened to a message, or to the mail of a sender or recipient", ArgsUsage: "ID|ADDRESS|MESSAGE-ID",
		Description: "Mail is found while it is queued and, for TraceDays, after it is delivered, returned, deleted or refused. Each\n" +
			"message has a line as in queue messages, and below it what happened, from its arrival to its last outcome.\n" +
			"Without the service, the command reads what it has left.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "since", Usage: "only mail that came since `TIME`, such as 2026-03-01T12:00:00Z, or 48h for as long ago", DefaultText: "any time"},
			siteFlag(),
			&urfave.IntFlag{Name: "limit", Usage: "at most `N` messages, the newest", Value: 1000},
			&urfave.BoolFlag{Name: "follow", Usage: "print events alone, and then those that come, until interrupted"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.TraceRequest{What: cx.Args().First(), Site: cx.Int("site"), Limit: cx.Int("limit")}
			if q.Limit < 1 {
				return c.usage("--limit must be at least 1")
			}
			var err error
			if q.Since, err = since(cx.String("since"), time.Now()); err != nil {
				return err
			}
			if cx.Bool("follow") {
				return c.follow(cx, q)
			}
			return list(cx.Context, c, api.QueueTrace, q, "no mail of "+q.What+" is known", printTraced)
		}),
	}
}

// since reads a time, or how long ago it was; "" is the zero Time.
func since(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, api.Usage(fmt.Sprintf("invalid time %q: use RFC 3339, such as 2026-03-01T12:00:00Z, or a duration, such as 48h", text), "")
	}
	return at, nil
}

func printTraced(w table, t api.Traced) {
	if t.ID == "" {
		t.ID = "-"
	}
	printMessageLine(w, t.Message)
	for _, e := range t.Events {
		w.printf("  %s\t%s\t%s\n", words.Time(e.Time), e.Event, attributes(e.Attrs))
	}
}

// follow prints events until the user interrupts.
func (c *cli) follow(cx *urfave.Context, q api.TraceRequest) error {
	conn, err := c.open(cx.Context)
	if err != nil {
		return err
	}
	defer conn.close()
	for e, err := range api.QueueFollow.Open(cx.Context, conn, q) {
		if cx.Context.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.answerOwn(e, func(w table) {
			w.printf("%s\t%d\t%s\t%s\n", words.Time(e.Time), e.Site, e.Event, attributes(e.Attrs))
		}); err != nil {
			return err
		}
	}
	if cx.Context.Err() != nil {
		return nil
	}
	return &api.Error{Kind: api.KindFailed, Text: "the service has stopped, and nothing more will come"}
}

// attributes are what an event says, as the service's log has it.
func attributes(attrs []slog.Attr) string {
	parts := make([]string, 0, len(attrs))
	for _, a := range attrs {
		text := a.Value.String()
		if text == "" || strings.ContainsAny(text, " \"=") {
			text = fmt.Sprintf("%q", text)
		}
		parts = append(parts, a.Key+"="+text)
	}
	return strings.Join(parts, " ")
}
