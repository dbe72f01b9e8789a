// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/engine/settings"
)

func (c *cli) siteCommand() *urfave.Command {
	return &urfave.Command{
		Name: "site", Usage: "list, make and command sites",
		Subcommands: []*urfave.Command{
			c.siteList(), c.siteShow(), c.siteCreate(), c.siteRename(), c.siteBind(),
			c.siteControl("start", "start a site"), c.siteControl("stop", "stop a site: its callers get a grace time"),
			c.siteControl("pause", "take no new callers; what is queued goes on"), c.siteControl("continue", "end a pause"),
			c.siteDelete(), c.siteSessions(), c.siteEndSession(),
		},
	}
}

func (c *cli) siteList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list the sites",
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			return call(cx.Context, c, api.SiteList, struct{}{}, func(w *tabwriter.Writer, all []api.Site) {
				for _, site := range all {
					printSiteLine(w, site)
				}
			})
		}),
	}
}

func printSiteLine(w *tabwriter.Writer, site api.Site) {
	fmt.Fprintf(w, "%d\t%q\t%s\t%s\t%s\n", site.Number, site.Name, strings.Join(site.Bindings, " "), site.State, site.Why)
}

func (c *cli) siteShow() *urfave.Command {
	return &urfave.Command{
		Name: "show", Usage: "tell of one site", ArgsUsage: "N",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			return call(cx.Context, c, api.SiteShow, api.SiteRequest{Site: n}, printSite)
		}),
	}
}

func printSite(w *tabwriter.Writer, site api.Site) {
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("site", site.Number)
	row("name", site.Name)
	row("bindings", quoted(site.Bindings))
	row("listening", dash(strings.Join(site.Listening, " ")))
	row("state", site.State)
	if site.Why != "" {
		row("why", site.Why)
	}
	row("domain", dash(site.Domain))
	row("fqdn", dash(site.FQDN))
	row("auto start", yesNo(site.AutoStart))
	row("revision", site.Configured)
	row("domains", site.Domains)
	row("connections", site.Connections)
	row("messages", fmt.Sprintf("%d (%s), held %d (%s)", site.Messages, size(site.Bytes), site.Held, size(site.HeldBytes)))
	row("queue", site.Queue)
}

func (c *cli) siteCreate() *urfave.Command {
	return &urfave.Command{
		Name: "create", Usage: "make a site and print its number",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "name", Usage: "`NAME` for display"},
			&urfave.StringSliceFlag{Name: "bind", Usage: "listen on `ADDR:PORT`; may be given several times"},
			&urfave.StringFlag{Name: "domain", Usage: "its default `DOMAIN`"},
			&urfave.StringFlag{Name: "dir", Usage: "parent of its folders", DefaultText: "Mailroot-N in the data folder"},
		},
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			q := api.SiteCreateRequest{Name: cx.String("name"), Bind: cx.StringSlice("bind"), Domain: cx.String("domain"), Dir: cx.String("dir")}
			if q.Name == "" || len(q.Bind) == 0 || q.Domain == "" {
				return c.usage("--name, --bind and --domain are needed")
			}
			return call(cx.Context, c, api.SiteCreate, q, func(w *tabwriter.Writer, site api.Site) {
				fmt.Fprintln(w, site.Number)
			})
		}),
	}
}

func (c *cli) siteRename() *urfave.Command {
	return &urfave.Command{
		Name: "rename", Usage: "give a site another name for display", ArgsUsage: "N NAME",
		Action: c.withArgs(2, 2, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.SiteSetRequest{Site: n, Name: cx.Args().Get(1)}
			if q.Name == "" {
				return c.usage("the name is empty")
			}
			return call(cx.Context, c, api.SiteSet, q, quiet[api.Site])
		}),
	}
}

func (c *cli) siteBind() *urfave.Command {
	return &urfave.Command{
		Name: "bind", Usage: "have a site listen elsewhere", ArgsUsage: "N ADDR:PORT...",
		Action: c.withArgs(2, -1, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.SiteSetRequest{Site: n, Bind: cx.Args().Tail()}
			return call(cx.Context, c, api.SiteSet, q, quiet[api.Site])
		}),
	}
}

func (c *cli) siteControl(name, usage string) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "N",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			return call(cx.Context, c, api.SiteCommand, api.SiteCommandRequest{Site: n, Command: name}, printSiteLine)
		}),
	}
}

func (c *cli) siteDelete() *urfave.Command {
	return &urfave.Command{
		Name: "delete", Usage: "delete a site, after deciding on its mail", ArgsUsage: "N",
		Description: "Exactly one of --drain, --move-to, --export and --discard says what becomes of the mail in its queue.\n" +
			"For --export the same holds as for queue export.\n" +
			"The default site cannot be deleted. The site's folders stay on the disk.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "drain", Usage: "deliver it first"},
			&urfave.IntFlag{Name: "move-to", Usage: "give it to site `M`", DefaultText: "none"},
			&urfave.StringFlag{Name: "export", Usage: "write it to `DIR`"},
			&urfave.BoolFlag{Name: "discard", Usage: "destroy it"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.SiteDeleteRequest{Site: n, Drain: cx.Bool("drain"), MoveTo: cx.Int("move-to"), Discard: cx.Bool("discard")}
			chosen := cx.NumFlags()
			if dir := cx.String("export"); dir != "" {
				if q.Export, err = filepath.Abs(dir); err != nil {
					return err
				}
			}
			if chosen != 1 {
				return c.usage("exactly one of --drain, --move-to M, --export DIR and --discard is needed")
			}
			if n == settings.DefaultSite {
				return &api.Error{Kind: api.KindRefused, Text: fmt.Sprintf("site %d: the default site cannot be deleted", n)}
			}
			if err := c.confirm(fmt.Sprintf("deleting site %d", n)); err != nil {
				return err
			}
			return call(cx.Context, c, api.SiteDelete, q, func(w *tabwriter.Writer, d api.Deleted) {
				fmt.Fprintf(w, "site %d is gone, with %s taken care of\n", n, plural(d.Messages, "message"))
				for _, dir := range d.Folders {
					fmt.Fprintf(w, "stays: %s\n", dir)
				}
			})
		}),
	}
}

func (c *cli) siteSessions() *urfave.Command {
	return &urfave.Command{
		Name: "sessions", Usage: "list who is connected", ArgsUsage: "N",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			return call(cx.Context, c, api.Sessions, api.SiteRequest{Site: n}, func(w *tabwriter.Writer, all []api.Session) {
				for _, c := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\ttls %s\t%s\t%s\n", c.ID, c.Remote, dash(c.Hello), dash(c.Account), yesNo(c.TLS), formatTime(c.Since), c.Doing)
				}
			})
		}),
	}
}

func (c *cli) siteEndSession() *urfave.Command {
	return &urfave.Command{
		Name: "end-session", Usage: "end a session", ArgsUsage: "N [ID]",
		Flags: []urfave.Flag{&urfave.BoolFlag{Name: "all", Usage: "every session of the site"}},
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.EndRequest{Site: n, ID: cx.Args().Get(1), All: cx.Bool("all")}
			if (q.ID == "") != q.All {
				return c.usage("takes N and either ID or --all")
			}
			return call(cx.Context, c, api.EndSession, q, func(w *tabwriter.Writer, e api.Ended) {
				fmt.Fprintf(w, "%s ended\n", plural(e.Sessions, "session"))
			})
		}),
	}
}
