// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/words"
	"restante/engine/settings"
)

func (c *cli) siteCommand() *urfave.Command {
	return &urfave.Command{
		Name: "site", Usage: "list, create, start, stop and delete sites",
		Subcommands: []*urfave.Command{
			c.siteList(), c.siteShow(), c.siteCreate(), c.siteRename(), c.siteBind(),
			c.siteControl("start", "start a site"), c.siteControl("stop", "stop a site, with a grace time for its callers and messages"),
			c.siteControl("pause", "refuse new callers; queued mail is still delivered"), c.siteControl("continue", "accept callers again after a pause"),
			c.siteDelete(), c.siteSessions(), c.siteEndSession(),
		},
	}
}

func (c *cli) siteList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list sites with their bindings and state",
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			return list(cx.Context, c, api.SiteList, struct{}{}, "there are no sites", printSiteLine)
		}),
	}
}

func printSiteLine(w table, site api.Site) {
	w.printf("%d\t%q\t%s\t%s\t%s\n", site.Number, site.Name, strings.Join(site.Bindings, " "), site.State, site.Why)
}

func (c *cli) siteShow() *urfave.Command {
	return &urfave.Command{
		Name: "show", Usage: "show one site", ArgsUsage: "N",
		Action: c.withSite(1, 1, func(cx *urfave.Context, n int) error {
			return call(cx.Context, c, api.SiteShow, api.SiteRequest{Site: n}, printSite)
		}),
	}
}

func printSite(w table, site api.Site) {
	row := fields(w)
	row("site", site.Number)
	row("name", site.Name)
	row("bindings", words.Quoted(site.Bindings))
	row("listening", words.Dash(addresses(site.Listening, " ")))
	row("state", site.State)
	if site.Why != "" {
		row("why", site.Why)
	}
	row("domain", words.Dash(site.Domain))
	row("fqdn", words.Dash(site.FQDN))
	for _, one := range site.Certificates {
		row("certificate", one)
	}
	row("auto start", words.YesNo(site.AutoStart))
	row("revision", site.Configured)
	row("domains", site.Domains)
	row("connections", site.Connections)
	row("since the start", fmt.Sprintf("%s, %d refused, %s of TLS failed, %s accepted, %s delivered", words.Plural(int(site.Counters.Connections), "connection"),
		site.Counters.Refused, words.Plural(int(site.Counters.Handshakes), "handshake"), words.Plural(int(site.Counters.Accepted), "message"), words.Plural(int(site.Counters.Delivered), "recipient")))
	if site.QueueClosed {
		row("messages", queueClosed)
	} else {
		row("messages", fmt.Sprintf("%d (%s), held %d (%s)", site.Messages, words.Size(site.Bytes), site.Held, words.Size(site.HeldBytes)))
	}
	row("queue", site.Queue)
	for _, l := range site.LockOuts {
		row("locked out", fmt.Sprintf("%s until %s", l.Address, l.Until.Format(time.RFC3339)))
	}
}

// addresses joins what a site listens on.
func addresses(all []netip.AddrPort, sep string) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, sep)
}

func (c *cli) siteCreate() *urfave.Command {
	return &urfave.Command{
		Name: "create", Usage: "create a site and print its number",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "name", Usage: "display it as `NAME`"},
			&urfave.StringSliceFlag{Name: "bind", Usage: "listen on `ADDR:PORT`; may be given several times"},
			&urfave.StringSliceFlag{Name: "odmr", Usage: "listen on `ADDR:PORT` for ATRN alone, such as :366; may be given several times"},
			&urfave.StringFlag{Name: "domain", Usage: "set its default `DOMAIN`"},
			&urfave.StringFlag{Name: "dir", Usage: "create its folders below `DIR`", DefaultText: "Mailroot-N in the data folder"},
		},
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			q := api.SiteCreateRequest{Name: cx.String("name"), Bind: cx.StringSlice("bind"), Odmr: cx.StringSlice("odmr"), Domain: cx.String("domain"), Dir: cx.String("dir")}
			if q.Name == "" || len(q.Bind) == 0 || q.Domain == "" {
				return c.usage("--name, --bind and --domain are needed")
			}
			return change(cx.Context, c, api.SiteCreate, q, func(w table, site api.Site) {
				w.printf("%d\n", site.Number)
			})
		}),
	}
}

func (c *cli) siteRename() *urfave.Command {
	return &urfave.Command{
		Name: "rename", Usage: "change the display name of a site", ArgsUsage: "N NAME",
		Action: c.withSite(2, 2, func(cx *urfave.Context, n int) error {
			q := api.SiteSetRequest{Site: n, Name: cx.Args().Get(1)}
			if q.Name == "" {
				return c.usage("the name is empty")
			}
			return change(cx.Context, c, api.SiteSet, q, printSiteLine)
		}),
	}
}

func (c *cli) siteBind() *urfave.Command {
	return &urfave.Command{
		Name: "bind", Usage: "change the addresses that a site listens on", ArgsUsage: "N ADDR:PORT...",
		Action: c.withSite(2, -1, func(cx *urfave.Context, n int) error {
			return change(cx.Context, c, api.SiteSet, api.SiteSetRequest{Site: n, Bind: cx.Args().Tail()}, printSiteLine)
		}),
	}
}

func (c *cli) siteControl(name, usage string) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "N",
		Action: c.withSite(1, 1, func(cx *urfave.Context, n int) error {
			return change(cx.Context, c, api.SiteCommand, api.SiteCommandRequest{Site: n, Command: name}, printSiteLine)
		}),
	}
}

func (c *cli) siteDelete() *urfave.Command {
	return &urfave.Command{
		Name: "delete", Usage: "delete a site and deliver, move, export or discard its mail", ArgsUsage: "N",
		Description: "Exactly one of --drain, --move-to, --export and --discard decides about the mail in its queue.\n" +
			"--export takes the same folders as queue export.\n" +
			"The default site cannot be deleted. The site's folders stay on the disk.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "drain", Usage: "deliver its mail first"},
			&urfave.IntFlag{Name: "move-to", Usage: "move its mail and held domains to site `M`", DefaultText: "none"},
			&urfave.StringFlag{Name: "export", Usage: "write its mail to `DIR`"},
			&urfave.BoolFlag{Name: "discard", Usage: "destroy its mail"},
		},
		Action: c.withSite(1, 1, c.deleteSite),
	}
}

func (c *cli) deleteSite(cx *urfave.Context, n int) error {
	q := api.SiteDeleteRequest{Site: n, Drain: cx.Bool("drain"), MoveTo: cx.Int("move-to"), Discard: cx.Bool("discard")}
	ways := slices.DeleteFunc([]string{"drain", "move-to", "export", "discard"}, func(name string) bool { return !cx.IsSet(name) })
	if len(ways) != 1 {
		return c.usage("exactly one of --drain, --move-to M, --export DIR and --discard is needed")
	}
	if dir := cx.String("export"); dir != "" {
		var err error
		if q.Export, err = filepath.Abs(dir); err != nil {
			return err
		}
	}
	if n == settings.DefaultSite {
		return &api.Error{Kind: api.KindRefused, Text: fmt.Sprintf("site %d: the default site cannot be deleted", n)}
	}
	if err := c.confirm(fmt.Sprintf("deleting site %d", n)); err != nil {
		return err
	}
	return change(cx.Context, c, api.SiteDelete, q, func(w table, d api.Deleted) {
		w.printf("site %d is gone, with %s taken care of\n", n, words.Plural(d.Messages, "message"))
		if len(d.Folders) > 0 {
			c.warn(fmt.Sprintf("site %d", n), "its folders stay: "+words.Quoted(d.Folders))
		}
	})
}

func (c *cli) siteSessions() *urfave.Command {
	return &urfave.Command{
		Name: "sessions", Usage: "list the callers that are connected to a site", ArgsUsage: "N",
		Action: c.withSite(1, 1, func(cx *urfave.Context, n int) error {
			q, empty := api.SiteRequest{Site: n}, fmt.Sprintf("no caller is connected to site %d", n)
			return list(cx.Context, c, api.Sessions, q, empty, func(w table, s api.Session) {
				w.printf("%s\t%s\t%s\t%s\ttls %s\t%s\t%s\n", s.ID, s.Remote, words.Dash(s.Hello), words.Dash(s.Account), words.YesNo(s.TLS), words.Time(s.Since), s.Activity)
			})
		}),
	}
}

func (c *cli) siteEndSession() *urfave.Command {
	return &urfave.Command{
		Name: "end-session", Usage: "end one or all sessions of a site", ArgsUsage: "N [ID]",
		Flags: []urfave.Flag{&urfave.BoolFlag{Name: "all", Usage: "end every session of the site"}},
		Action: c.withSite(1, 2, func(cx *urfave.Context, n int) error {
			q := api.EndRequest{Site: n, ID: cx.Args().Get(1), All: cx.Bool("all")}
			if (q.ID == "") != q.All {
				return c.usage("takes N and either ID or --all")
			}
			return change(cx.Context, c, api.EndSession, q, func(w table, e api.Ended) {
				w.printf("%s ended\n", words.Plural(e.Sessions, "session"))
			})
		}),
	}
}
