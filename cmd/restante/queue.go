// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
)

func (c *cli) queueCommand() *urfave.Command {
	return &urfave.Command{
		Name: "queue", Usage: "look at the mail that waits, and act on it",
		Subcommands: []*urfave.Command{
			c.queueList(), c.queueMessages(), c.queueShow(), c.queueTrace(),
			c.queueAct("retry", "try messages now", false), c.queueAct("freeze", "let nobody have messages", false),
			c.queueAct("thaw", "undo freeze", false), c.queueAct("delete", "destroy messages", true),
			c.queueAct("bounce", "give messages back to their senders", true),
			c.queueRelease(), c.queueTransfer("export", "write messages to a folder, as .eml with their envelopes", api.QueueExport),
			c.queueTransfer("import", "take in what queue export wrote", api.QueueImport),
		},
	}
}

func siteFlag() *urfave.IntFlag {
	return &urfave.IntFlag{Name: "site", Usage: "of site `N`", DefaultText: "all"}
}

func (c *cli) queueList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list the destinations", Flags: []urfave.Flag{siteFlag()},
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			q := api.QueueRequest{Site: cx.Int("site")}
			return call(cx.Context, c, api.QueueList, q, func(w *tabwriter.Writer, all []api.Destination) {
				if len(all) > 0 {
					fmt.Fprintln(w, "site\tdomain\tstate\tmessages\tbytes\toldest\tnext try\tlast error")
				}
				for _, d := range all {
					fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", d.Site, d.Domain, d.State, d.Messages, d.Bytes, formatTime(d.Oldest), formatTime(d.NextTry), d.LastError)
				}
			})
		}),
	}
}

func (c *cli) queueMessages() *urfave.Command {
	return &urfave.Command{
		Name: "messages", Usage: "list the messages for a domain", ArgsUsage: "DOMAIN", Flags: []urfave.Flag{siteFlag()},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.QueueRequest{Site: cx.Int("site"), Domain: cx.Args().First()}
			return call(cx.Context, c, api.QueueMessages, q, printMessages)
		}),
	}
}

func printMessages(w *tabwriter.Writer, all []api.Message) {
	for _, m := range all {
		to := make([]string, len(m.To))
		for i, r := range m.To {
			to[i] = r.Address.String()
		}
		fmt.Fprintf(w, "%s\t%s\t<%s>\t%s\t%d\t%s\t%s\t%s\n", m.ID, m.State, m.From, strings.Join(to, " "), m.Size, formatTime(m.Received), formatTime(m.NextTry), m.LastError)
	}
}

func (c *cli) queueShow() *urfave.Command {
	return &urfave.Command{
		Name: "show", Usage: "tell of one message", ArgsUsage: "ID",
		Flags: []urfave.Flag{&urfave.BoolFlag{Name: "body", Usage: "print its text alone"}},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.MessageRequest{ID: cx.Args().First(), Body: cx.Bool("body")}
			conn, err := c.open(cx.Context)
			if err != nil {
				return err
			}
			defer conn.close()
			m, raw, err := api.QueueShow.Call(cx.Context, conn, q)
			if err != nil {
				return err
			}
			if q.Body && !c.json {
				_, err := c.out.Write(m.Body)
				return err
			}
			return c.answer(raw, func(w *tabwriter.Writer) { printMessage(w, m) })
		}),
	}
}

func printMessage(w *tabwriter.Writer, m api.MessageDetail) {
	env := m.Envelope
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("id", env.ID)
	row("site", m.Site)
	row("from", "<"+env.From.String()+">")
	row("received", formatTime(env.Received))
	row("size", env.Size)
	row("client", env.Client)
	row("helo", dash(env.Helo))
	row("account", dash(env.Account))
	row("tls", yesNo(env.TLS))
	for _, e := range m.Entries {
		row("domain", fmt.Sprintf("%s: %s, %s, next %s", e.Domain, e.State, plural(e.Attempts, "attempt"), formatTime(e.NextTry)))
		for _, to := range e.To {
			row("  to", to.Address)
		}
		if e.LastError != "" {
			row("  last error", e.LastError)
		}
	}
}

func (c *cli) queueTrace() *urfave.Command {
	return &urfave.Command{
		Name: "trace", Usage: "find a message, or the mail of an address", ArgsUsage: "ID|ADDRESS",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			return call(cx.Context, c, api.QueueTrace, api.TraceRequest{What: cx.Args().First()}, printMessages)
		}),
	}
}

func (c *cli) queueAct(name, usage string, final bool) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "[ID]...",
		Description: "Messages are picked by their IDs, or by options, all of which must fit.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "domain", Usage: "for `DOMAIN`"},
			&urfave.StringFlag{Name: "from", Usage: "from `ADDRESS`; <> picks reports"},
			&urfave.DurationFlag{Name: "older-than", Usage: "that came longer than `DURATION` ago", DefaultText: "any age"},
			&urfave.BoolFlag{Name: "all", Usage: "everything"},
			siteFlag(),
			&urfave.BoolFlag{Name: "dry-run", Usage: "only count them"},
		},
		Action: c.withArgs(0, -1, func(cx *urfave.Context) error {
			q := api.ActRequest{
				Act: name, IDs: cx.Args().Slice(), Site: cx.Int("site"), Domain: cx.String("domain"),
				OlderThan: cx.Duration("older-than").Seconds(), All: cx.Bool("all"), DryRun: cx.Bool("dry-run"),
			}
			if cx.IsSet("from") {
				from := strings.TrimSuffix(strings.TrimPrefix(cx.String("from"), "<"), ">")
				q.From = &from
			}
			if len(q.IDs) == 0 && q.Domain == "" && q.From == nil && q.OlderThan <= 0 && !q.All {
				return c.usage("takes ID..., or --domain, --from, --older-than or --all")
			}
			if final && !q.DryRun {
				if err := c.confirm(map[string]string{"delete": "destroying messages", "bounce": "giving up messages"}[name]); err != nil {
					return err
				}
			}
			return call(cx.Context, c, api.QueueAct, q, printActed)
		}),
	}
}

func printActed(w *tabwriter.Writer, a api.ActResult) {
	fmt.Fprintf(w, "%s, %d bytes", plural(a.Messages, "message"), a.Bytes)
	if a.Busy > 0 {
		fmt.Fprintf(w, "; %d left as they are, for they are being sent just now", a.Busy)
	}
	fmt.Fprintln(w)
}

func (c *cli) queueRelease() *urfave.Command {
	return &urfave.Command{
		Name: "release", Usage: "send a held domain's mail to its hosts now, as ETRN does", ArgsUsage: "DOMAIN", Flags: []urfave.Flag{siteFlag()},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.QueueRequest{Site: cx.Int("site"), Domain: cx.Args().First()}
			return call(cx.Context, c, api.QueueRelease, q, func(w *tabwriter.Writer, r api.Released) {
				fmt.Fprintf(w, "%s\n", plural(r.Messages, "message"))
			})
		}),
	}
}

func (c *cli) queueTransfer(name, usage string, m api.Method[api.FolderRequest, api.ActResult]) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "DIR", Flags: []urfave.Flag{siteFlag()},
		Description: "Whoever is neither root nor the user that the service runs as names a folder at or below exports/NAME in the data folder, by his own name.",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			dir, err := filepath.Abs(cx.Args().First())
			if err != nil {
				return err
			}
			return call(cx.Context, c, m, api.FolderRequest{Dir: dir, Site: cx.Int("site")}, printActed)
		}),
	}
}
