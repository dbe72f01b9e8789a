// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"restante/admin/api"
)

func (s *shell) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "tell how the service is",
		Action: s.takes(0, 0, func(cx *cli.Context) error {
			return ask(cx.Context, s, api.Status, struct{}{}, func(w *tabwriter.Writer, v api.Service) {
				row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
				row("version", v.Version)
				row("data", v.Data)
				row("process", v.PID)
				row("revision", v.Revision)
				for _, p := range v.Pending {
					row("unconfirmed", fmt.Sprintf("revision %d, taken back at %s", p.Rev, when(p.Until)))
				}
				row("connections", v.Connections)
				row("messages", fmt.Sprintf("%d, held %d", v.Messages, v.Held))
				for _, site := range v.Sites {
					text := fmt.Sprintf("%q %s at revision %d, %s, %s, held %d", site.Name, site.State, site.Running,
						plural(site.Connections, "connection"), plural(site.Messages, "message"), site.Held)
					if site.Why != "" {
						text += ": " + site.Why
					}
					row(fmt.Sprintf("site %d", site.Number), text)
				}
			})
		}),
	}
}

func (s *shell) explainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "tell what would become of a message, and why", ArgsUsage: "SITE RECIPIENT",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "from `ADDRESS`"},
			&cli.StringFlag{Name: "client", Usage: "brought by a caller at `IP`", DefaultText: "one without rights by its address"},
			&cli.StringFlag{Name: "account", Usage: "who has signed in as `NAME`", DefaultText: "nobody"},
		},
		Action: s.takes(2, 2, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.ExplainRequest{
				Site: n, Recipient: cx.Args().Get(1), From: cx.String("from"),
				Client: cx.String("client"), Account: cx.String("account"),
			}
			return ask(cx.Context, s, api.Explain, q, describeFate)
		}),
	}
}

func describeFate(w *tabwriter.Writer, e api.Explained) {
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("recipient", e.Recipient)
	row("domain", fmt.Sprintf("%s, %s, key %s", e.Domain, e.Standing, dash(e.Key)))
	if e.Accepted {
		row("accepted", "yes")
	} else {
		row("accepted", "no: "+e.Refusal)
	}
	row("route", e.Route)
	row("held", yesNo(e.Held))
	if len(e.Turn) > 0 {
		row("turn", e.Turn)
	}
	if e.Waiting > 0 {
		row("waiting", fmt.Sprintf("%s, next try %s", plural(e.Waiting, "message"), when(e.NextTry)))
	}
	for _, r := range e.Why {
		from := string(r.From)
		if from == "" {
			from = "the schema's default"
		}
		row(r.Step, fmt.Sprintf("%s = %s, from %s", r.Property, r.Value, from))
	}
}
