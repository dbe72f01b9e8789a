// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/explained"
	"restante/cmd/restante/internal/words"
	"restante/metabase"
)

// queueClosed stands for what is not known of a queue.
const queueClosed = "messages unknown, the queue is not open"

func (c *cli) statusCommand() *urfave.Command {
	return &urfave.Command{
		Name: "status", Usage: "show service status",
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			return call(cx.Context, c, api.Status, struct{}{}, func(w table, v api.Service) {
				row := fields(w)
				row("version", v.Version)
				row("data", v.Data)
				row("process", v.PID)
				if v.Stopping {
					row("state", "the service is stopping")
				}
				row("revision", v.Revision)
				for _, p := range v.Pending {
					row("unconfirmed", fmt.Sprintf("revision %d, taken back at %s", p.Rev, words.Time(p.Until)))
				}
				row("connections", v.Connections)
				mail := fmt.Sprintf("%d, held %d", v.Messages, v.Held)
				if slices.ContainsFunc(v.Sites, func(s api.Site) bool { return s.QueueClosed }) {
					mail += ", without those of queues that are not open"
				}
				row("messages", mail)
				if v.Trace != nil {
					row("trace", traceText(*v.Trace))
				}
				for _, site := range v.Sites {
					state := site.State.String()
					if site.Running != 0 {
						state += fmt.Sprintf(" at revision %d", site.Running)
					}
					mail := fmt.Sprintf("%s, held %d", words.Plural(site.Messages, "message"), site.Held)
					if site.QueueClosed {
						mail = queueClosed
					}
					text := fmt.Sprintf("%q %s, %s, %s", site.Name, state, words.Plural(site.Connections, "connection"), mail)
					if site.Why != "" {
						text += ": " + site.Why
					}
					row(fmt.Sprintf("site %d", site.Number), text)
					for _, one := range site.Silent {
						row("silent", fmt.Sprintf("the host of %s has not called since %s", one.Domain, words.Time(one.LastCall)))
					}
				}
			})
		}),
	}
}

// traceText says what the trace has, and what it lacks.
func traceText(t api.TraceState) string {
	text := fmt.Sprintf("%s, %s", words.Plural(t.Events, "event"), words.Size(t.Bytes))
	if !t.Since.IsZero() {
		text += ", since " + words.Time(t.Since)
	}
	if t.LeftOut > 0 {
		text += fmt.Sprintf("; left out since the start: %d", t.LeftOut)
	}
	if t.Damaged > 0 {
		text += fmt.Sprintf("; damaged: %d", t.Damaged)
	}
	if t.Why != "" {
		text += "; not written: " + t.Why
	}
	return text
}

func (c *cli) explainCommand() *urfave.Command {
	return &urfave.Command{
		Name: "explain", Usage: "explain what would happen to a message, or what became of one, and why", ArgsUsage: "SITE RECIPIENT | --why ID",
		Description: "It says whether the message is accepted, which hosts are tried, as DNS names them now, with which TLS and sign-in,\n" +
			"when it is tried again and returned, and each property that decides, with the key and the revision that it comes from.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "from", Usage: "assume the sender `ADDRESS`"},
			&urfave.StringFlag{Name: "client", Usage: "assume a caller at `IP`", DefaultText: "one without rights by its address"},
			&urfave.StringFlag{Name: "account", Usage: "assume a caller signed in as `NAME`", DefaultText: "nobody"},
			&urfave.BoolFlag{Name: "tls", Usage: "assume a caller over TLS"},
			&urfave.Uint64Flag{Name: "rev", Usage: "by the configuration as of `REVISION`", DefaultText: "now"},
			&urfave.StringFlag{Name: "at", Usage: "by the configuration as of `TIME`, such as 2026-03-01T12:00:00Z, or 48h for as long ago", DefaultText: "now"},
			&urfave.StringFlag{Name: "why", Usage: "explain the message `ID`, queued or not"},
		},
		Action: func(cx *urfave.Context) error {
			if text := explained.ErrorOfCall(cx.NArg(), cx.IsSet("why"), cx.LocalFlagNames()); text != "" {
				return c.usage(text)
			}
			if cx.IsSet("why") {
				return call(cx.Context, c, api.ExplainMessage, api.ExplainIDRequest{ID: cx.String("why")}, func(w table, m api.ExplainedMessage) {
					explained.PrintMessage(fields(w), m)
				})
			}
			n, err := c.siteNumber(cx.Args().First())
			if err != nil {
				return err
			}
			q := api.ExplainRequest{
				Site: n, Recipient: cx.Args().Get(1), From: cx.String("from"),
				Client: cx.String("client"), Account: cx.String("account"), TLS: cx.Bool("tls"),
			}
			if cx.IsSet("rev") {
				q.Rev = new(metabase.Rev(cx.Uint64("rev")))
			}
			if q.At, err = since(cx.String("at"), time.Now()); err != nil {
				return err
			}
			return call(cx.Context, c, api.Explain, q, func(w table, e api.Explained) { explained.Print(fields(w), e) })
		},
	}
}
