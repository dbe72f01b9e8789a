// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"restante/admin/api"
)

func (s *shell) queueCommand() *cli.Command {
	return &cli.Command{
		Name: "queue", Usage: "look at the mail that waits, and act on it",
		Subcommands: []*cli.Command{
			s.queueList(), s.queueMessages(), s.queueShow(), s.queueTrace(),
			s.queueAct("retry", "try messages now", false), s.queueAct("freeze", "let nobody have messages", false),
			s.queueAct("thaw", "undo freeze", false), s.queueAct("delete", "destroy messages", true),
			s.queueAct("bounce", "give messages back to their senders", true),
			s.queueRelease(), s.queueCarry("export", "write messages to a folder, as .eml with their envelopes", api.QueueExport),
			s.queueCarry("import", "take in what queue export wrote", api.QueueImport),
		},
	}
}

func siteFlag() *cli.IntFlag {
	return &cli.IntFlag{Name: "site", Usage: "of site `N`", DefaultText: "all"}
}

func (s *shell) queueList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the destinations", Flags: []cli.Flag{siteFlag()},
		Action: s.takes(0, 0, func(cx *cli.Context) error {
			q := api.QueueRequest{Site: cx.Int("site")}
			return ask(cx.Context, s, api.QueueList, q, func(w *tabwriter.Writer, all []api.Destination) {
				if len(all) > 0 {
					fmt.Fprintln(w, "site\tdomain\tstate\tmessages\tbytes\toldest\tnext try\tlast error")
				}
				for _, d := range all {
					fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", d.Site, d.Domain, d.State, d.Messages, d.Bytes, when(d.Oldest), when(d.NextTry), d.LastError)
				}
			})
		}),
	}
}

func (s *shell) queueMessages() *cli.Command {
	return &cli.Command{
		Name: "messages", Usage: "list the messages for a domain", ArgsUsage: "DOMAIN", Flags: []cli.Flag{siteFlag()},
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			q := api.QueueRequest{Site: cx.Int("site"), Domain: cx.Args().First()}
			return ask(cx.Context, s, api.QueueMessages, q, printMessages)
		}),
	}
}

func printMessages(w *tabwriter.Writer, all []api.Message) {
	for _, m := range all {
		to := make([]string, len(m.To))
		for i, r := range m.To {
			to[i] = r.Address.String()
		}
		fmt.Fprintf(w, "%s\t%s\t<%s>\t%s\t%d\t%s\t%s\t%s\n", m.ID, m.State, m.From, strings.Join(to, " "), m.Size, when(m.Received), when(m.NextTry), m.LastError)
	}
}

func (s *shell) queueShow() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "tell of one message", ArgsUsage: "ID",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "body", Usage: "print its text alone"}},
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			q := api.MessageRequest{ID: cx.Args().First(), Body: cx.Bool("body")}
			c, err := s.open(cx.Context)
			if err != nil {
				return err
			}
			defer c.close()
			m, raw, err := api.QueueShow.Call(cx.Context, c, q)
			if err != nil {
				return err
			}
			if q.Body && !s.json {
				_, err := s.out.Write(m.Body)
				return err
			}
			return s.answer(raw, func(w *tabwriter.Writer) { describeMessage(w, m) })
		}),
	}
}

func describeMessage(w *tabwriter.Writer, m api.Shown) {
	env := m.Envelope
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("id", env.ID)
	row("site", m.Site)
	row("from", "<"+env.From.String()+">")
	row("received", when(env.Received))
	row("size", env.Size)
	row("client", env.Client)
	row("helo", dash(env.Helo))
	row("account", dash(env.Account))
	row("tls", yesNo(env.TLS))
	for _, e := range m.Entries {
		row("domain", fmt.Sprintf("%s: %s, %s, next %s", e.Domain, e.State, plural(e.Attempts, "attempt"), when(e.NextTry)))
		for _, to := range e.To {
			row("  to", to.Address)
		}
		if e.LastError != "" {
			row("  last error", e.LastError)
		}
	}
}

func (s *shell) queueTrace() *cli.Command {
	return &cli.Command{
		Name: "trace", Usage: "find a message, or the mail of an address", ArgsUsage: "ID|ADDRESS",
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			return ask(cx.Context, s, api.QueueTrace, api.TraceRequest{What: cx.Args().First()}, printMessages)
		}),
	}
}

func (s *shell) queueAct(name, usage string, final bool) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "[ID]...",
		Description: "Messages are picked by their IDs, or by options, all of which must fit.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "domain", Usage: "for `DOMAIN`"},
			&cli.StringFlag{Name: "from", Usage: "from `ADDRESS`; <> picks reports"},
			&cli.DurationFlag{Name: "older-than", Usage: "that came longer than `DURATION` ago", DefaultText: "any age"},
			&cli.BoolFlag{Name: "all", Usage: "everything"},
			siteFlag(),
			&cli.BoolFlag{Name: "dry-run", Usage: "only count them"},
		},
		Action: s.takes(0, -1, func(cx *cli.Context) error {
			q := api.ActRequest{
				Act: name, IDs: cx.Args().Slice(), Site: cx.Int("site"), Domain: cx.String("domain"),
				OlderThan: cx.Duration("older-than").Seconds(), All: cx.Bool("all"), DryRun: cx.Bool("dry-run"),
			}
			if cx.IsSet("from") {
				from := strings.TrimSuffix(strings.TrimPrefix(cx.String("from"), "<"), ">")
				q.From = &from
			}
			if len(q.IDs) == 0 && q.Domain == "" && q.From == nil && q.OlderThan <= 0 && !q.All {
				return s.usage("takes ID..., or --domain, --from, --older-than or --all")
			}
			if final && !q.DryRun {
				if err := s.sure(map[string]string{"delete": "destroying messages", "bounce": "giving up messages"}[name]); err != nil {
					return err
				}
			}
			return ask(cx.Context, s, api.QueueAct, q, printActed)
		}),
	}
}

func printActed(w *tabwriter.Writer, a api.Acted) {
	fmt.Fprintf(w, "%s, %d bytes", plural(a.Messages, "message"), a.Bytes)
	if a.Busy > 0 {
		fmt.Fprintf(w, "; %d left as they are, for they are being sent just now", a.Busy)
	}
	fmt.Fprintln(w)
}

func (s *shell) queueRelease() *cli.Command {
	return &cli.Command{
		Name: "release", Usage: "send a held domain's mail to its hosts now, as ETRN does", ArgsUsage: "DOMAIN", Flags: []cli.Flag{siteFlag()},
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			q := api.QueueRequest{Site: cx.Int("site"), Domain: cx.Args().First()}
			return ask(cx.Context, s, api.QueueRelease, q, func(w *tabwriter.Writer, r api.Released) {
				fmt.Fprintf(w, "%s\n", plural(r.Messages, "message"))
			})
		}),
	}
}

func (s *shell) queueCarry(name, usage string, m api.Method[api.CarryRequest, api.Acted]) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "DIR", Flags: []cli.Flag{siteFlag()},
		Description: "Whoever is neither root nor the user that the service runs as names a folder at or below exports/NAME in the data folder, by his own name.",
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			dir, err := filepath.Abs(cx.Args().First())
			if err != nil {
				return err
			}
			return ask(cx.Context, s, m, api.CarryRequest{Dir: dir, Site: cx.Int("site")}, printActed)
		}),
	}
}
