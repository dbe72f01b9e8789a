// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"slices"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/domaintext"
	"restante/cmd/restante/internal/words"
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
		Name: "explain", Usage: "explain what would happen to a message, and why", ArgsUsage: "SITE RECIPIENT",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "from", Usage: "assume the sender `ADDRESS`"},
			&urfave.StringFlag{Name: "client", Usage: "assume a caller at `IP`", DefaultText: "one without rights by its address"},
			&urfave.StringFlag{Name: "account", Usage: "assume a caller signed in as `NAME`", DefaultText: "nobody"},
			&urfave.BoolFlag{Name: "tls", Usage: "assume a caller over TLS"},
		},
		Action: c.withSite(2, 2, func(cx *urfave.Context, n int) error {
			q := api.ExplainRequest{
				Site: n, Recipient: cx.Args().Get(1), From: cx.String("from"),
				Client: cx.String("client"), Account: cx.String("account"), TLS: cx.Bool("tls"),
			}
			return call(cx.Context, c, api.Explain, q, printExplained)
		}),
	}
}

func printExplained(w table, e api.Explained) {
	row := fields(w)
	row("recipient", e.Recipient)
	if e.QueuedAs != "" {
		row("queued as", e.QueuedAs)
	}
	row("domain", fmt.Sprintf("%s, %s, key %s", e.Domain, e.Standing, words.Dash(e.Key)))
	if e.Accepted {
		row("accepted", "yes")
	} else {
		row("accepted", "no: "+e.Refusal)
	}
	if e.Reply != "" {
		row("reply", e.Reply)
	}
	row("route", e.Route)
	row("held", words.YesNo(e.Held))
	if len(e.Turn) > 0 {
		row("turn", words.Quoted(e.Turn))
	}
	if e.Held {
		row("etrn", domaintext.Etrn(e.Etrn))
		domaintext.VerbsOff(row, e.Off)
		for _, one := range e.Narrowed {
			row("refused now", one)
		}
	}
	if e.Waiting > 0 {
		row("waiting", fmt.Sprintf("%s, next try %s", words.Plural(e.Waiting, "message"), words.Time(e.NextTry)))
	}
	for _, r := range e.Why {
		from := string(r.From)
		if from == "" {
			from = "the schema's default"
		}
		row(r.Step, fmt.Sprintf("%s = %s, from %s", r.Property, cmp.Or(r.Value, "(empty)"), from))
	}
}
