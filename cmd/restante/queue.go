// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/domaintext"
	"restante/cmd/restante/internal/words"
)

func (c *cli) queueCommand() *urfave.Command {
	return &urfave.Command{
		Name: "queue", Usage: "list, retry, release and remove queued messages",
		Subcommands: []*urfave.Command{
			c.queueList(), c.queueMessages(), c.queueCatalogue(), c.queueShow(), c.queueTrace(),
			c.queueAct("retry", "try to deliver messages now", ""), c.queueAct("freeze", "hold messages until thawed", ""),
			c.queueAct("thaw", "end the freeze of messages", ""), c.queueAct("delete", "destroy messages", "destroying messages"),
			c.queueAct("bounce", "return messages to their senders", "giving up messages"),
			c.queueRelease(), c.queueTransfer("export", "write messages to a folder, as .eml with their envelopes", api.QueueExport),
			c.queueTransfer("import", "read messages that queue export wrote", api.QueueImport),
		},
	}
}

func siteFlag() *urfave.IntFlag {
	return &urfave.IntFlag{Name: "site", Usage: "only of site `N`", DefaultText: "all"}
}

func (c *cli) queueList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list queued messages by destination", Flags: []urfave.Flag{siteFlag()},
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			q := api.QueueRequest{Site: cx.Int("site")}
			first := true
			return list(cx.Context, c, api.QueueList, q, "no messages are queued", func(w table, d api.Destination) {
				if first {
					w.printf("site\tdomain\tstate\tmessages\tbytes\toldest\tnext try\tlast error\n")
				}
				first = false
				w.printf("%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", d.Site, d.Domain, d.State, d.Messages, d.Bytes, words.Time(d.Oldest), words.Time(d.NextTry), domaintext.LastError(d))
			})
		}),
	}
}

func (c *cli) queueMessages() *urfave.Command {
	return &urfave.Command{
		Name: "messages", Usage: "list the messages for a domain", ArgsUsage: "DOMAIN", Flags: []urfave.Flag{siteFlag()},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.QueueRequest{Site: cx.Int("site"), Domain: cx.Args().First()}
			return list(cx.Context, c, api.QueueMessages, q, "no messages wait for "+q.Domain, printMessageLine)
		}),
	}
}

func (c *cli) queueCatalogue() *urfave.Command {
	return &urfave.Command{
		Name: "catalogue", Usage: "list what the messages for a domain are about", ArgsUsage: "DOMAIN", Flags: []urfave.Flag{siteFlag()},
		Description: "Each line has the ID, the sender, the subject, the size in bytes, the age and the priority. With --json, each is an object.",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.QueueRequest{Site: cx.Int("site"), Domain: cx.Args().First()}
			conn, err := c.open(cx.Context)
			if err != nil {
				return err
			}
			defer conn.close()
			for m, err := range api.QueueCatalogue.Open(cx.Context, conn, q) {
				if err != nil {
					return err
				}
				err := c.answerOwn(m, func(w table) {
					w.printf("%s  %s  %s  %d  %s  %d\n", m.ID, m.From, words.Dash(m.Subject), m.Size, time.Duration(m.Age)*time.Second, m.Priority)
				})
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func printMessageLine(w table, m api.Message) {
	to := make([]string, len(m.To))
	for i, r := range m.To {
		to[i] = r.Address.String()
	}
	w.printf("%s\t%s\t<%s>\t%s\t%d\t%s\t%s\t%s\n", m.ID, m.State, m.From, strings.Join(to, " "), m.Size, words.Time(m.Received), words.Time(m.NextTry), m.LastError)
}

func (c *cli) queueShow() *urfave.Command {
	return &urfave.Command{
		Name: "show", Usage: "show one message", ArgsUsage: "ID",
		Flags: []urfave.Flag{&urfave.BoolFlag{Name: "body", Usage: "print its text alone"}},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.MessageRequest{ID: cx.Args().First(), Body: cx.Bool("body")}
			m, raw, err := exchange(cx.Context, c, api.QueueShow, q)
			if err != nil {
				return err
			}
			if q.Body && !c.json {
				_, err := c.verbatim().Write(m.Body)
				return err
			}
			return c.answer(raw, func(w table) { printMessage(w, m) })
		}),
	}
}

func printMessage(w table, m api.MessageDetail) {
	env := m.Envelope
	row := fields(w)
	row("id", env.ID)
	row("site", m.Site)
	row("from", "<"+env.From.String()+">")
	row("received", words.Time(env.Received))
	row("size", env.Size)
	row("client", env.Client)
	row("helo", words.Dash(env.Helo))
	row("account", words.Dash(env.Account))
	row("tls", words.YesNo(env.TLS))
	row("session", words.Dash(string(env.Session)))
	if env.Quarantine != "" {
		row("quarantine", env.Quarantine)
	}
	for _, e := range m.Entries {
		row("domain", fmt.Sprintf("%s: %s, %s, next %s", e.Domain, e.State, words.Plural(e.Attempts, "attempt"), words.Time(e.NextTry)))
		if !e.Expires.IsZero() {
			row("  expires", words.Time(e.Expires))
		}
		for _, to := range e.To {
			row("  to", to.Address)
		}
		if !e.LastTry.IsZero() {
			row("  last try", fmt.Sprintf("%s, %s", words.Time(e.LastTry), words.Dash(e.Host)))
			row("  last error", e.LastError)
			if e.Phase != "" {
				row("  phase", e.Phase)
			}
		}
	}
}

// queueAct is a command about picked messages. It asks for confirmation of
// danger, unless that is empty.
func (c *cli) queueAct(name, usage, danger string) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "[ID]...",
		Description: "Messages are picked by their IDs, or by options, all of which must match.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "domain", Usage: "pick messages for `DOMAIN`"},
			&urfave.StringFlag{Name: "from", Usage: "pick messages from `ADDRESS`; <> picks reports"},
			&urfave.DurationFlag{Name: "older-than", Usage: "pick messages that were accepted longer than `DURATION` ago", DefaultText: "any age"},
			&urfave.BoolFlag{Name: "all", Usage: "pick every message"},
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
			if danger != "" && !q.DryRun {
				if err := c.confirm(danger); err != nil {
					return err
				}
			}
			return tryOrChange(cx.Context, c, api.QueueAct, q, q.DryRun, printActed)
		}),
	}
}

func printActed(w table, a api.ActResult) {
	w.printf("%s, %d bytes", words.Plural(a.Messages, "message"), a.Bytes)
	if a.Busy > 0 {
		w.printf("; %d unchanged, being sent just now", a.Busy)
	}
	if a.Held > 0 {
		w.printf("; %d unchanged, waiting for their host: queue release DOMAIN delivers them", a.Held)
	}
	if a.Frozen > 0 {
		w.printf("; %d unchanged, frozen: queue thaw first", a.Frozen)
	}
	w.printf("\n")
}

func (c *cli) queueRelease() *urfave.Command {
	return &urfave.Command{
		Name: "release", Usage: "deliver a held domain's mail to its hosts now, as ETRN does", ArgsUsage: "DOMAIN", Flags: []urfave.Flag{siteFlag()},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.QueueRequest{Site: cx.Int("site"), Domain: cx.Args().First()}
			return change(cx.Context, c, api.QueueRelease, q, func(w table, r api.Released) {
				w.printf("%s\n", words.Plural(r.Messages, "message"))
			})
		}),
	}
}

func (c *cli) queueTransfer(name, usage string, m api.Method[api.FolderRequest, api.ActResult]) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "DIR", Flags: []urfave.Flag{siteFlag()},
		Description: "Users other than root and the service's own can name only folders at or below exports/USER in the data folder.",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			dir, err := filepath.Abs(cx.Args().First())
			if err != nil {
				return err
			}
			return change(cx.Context, c, m, api.FolderRequest{Dir: dir, Site: cx.Int("site")}, func(w table, a api.ActResult) {
				printActed(w, a)
				if a.Messages == 0 && m == api.QueueImport {
					c.warn(dir, "no message in it that is not queued already")
				}
			})
		}),
	}
}
