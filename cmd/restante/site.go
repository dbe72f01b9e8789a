// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/engine/settings"
)

func (s *shell) siteCommand() *cli.Command {
	return &cli.Command{
		Name: "site", Usage: "list, make and command sites",
		Subcommands: []*cli.Command{
			s.siteList(), s.siteShow(), s.siteCreate(), s.siteRename(), s.siteBind(),
			s.siteDo("start", "start a site"), s.siteDo("stop", "stop a site: its callers get a grace time"),
			s.siteDo("pause", "take no new callers; what is queued goes on"), s.siteDo("continue", "end a pause"),
			s.siteDelete(), s.siteSessions(), s.siteEndSession(),
		},
	}
}

func (s *shell) siteList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the sites",
		Action: s.takes(0, 0, func(cx *cli.Context) error {
			return ask(cx.Context, s, api.SiteList, struct{}{}, func(w *tabwriter.Writer, all []api.Site) {
				for _, site := range all {
					printSite(w, site)
				}
			})
		}),
	}
}

func printSite(w *tabwriter.Writer, site api.Site) {
	fmt.Fprintf(w, "%d\t%q\t%s\t%s\t%s\n", site.Number, site.Name, strings.Join(site.Bindings, " "), site.State, site.Why)
}

func (s *shell) siteShow() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "tell of one site", ArgsUsage: "N",
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			return ask(cx.Context, s, api.SiteShow, api.SiteRequest{Site: n}, describeSite)
		}),
	}
}

func describeSite(w *tabwriter.Writer, site api.Site) {
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

func (s *shell) siteCreate() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "make a site and print its number",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "`NAME` for display"},
			&cli.StringSliceFlag{Name: "bind", Usage: "listen on `ADDR:PORT`; may be given several times"},
			&cli.StringFlag{Name: "domain", Usage: "its default `DOMAIN`"},
			&cli.StringFlag{Name: "dir", Usage: "parent of its folders", DefaultText: "Mailroot-N in the data folder"},
		},
		Action: s.takes(0, 0, func(cx *cli.Context) error {
			q := api.SiteCreateRequest{Name: cx.String("name"), Bind: cx.StringSlice("bind"), Domain: cx.String("domain"), Dir: cx.String("dir")}
			if q.Name == "" || len(q.Bind) == 0 || q.Domain == "" {
				return s.usage("--name, --bind and --domain are needed")
			}
			return ask(cx.Context, s, api.SiteCreate, q, func(w *tabwriter.Writer, site api.Site) {
				fmt.Fprintln(w, site.Number)
			})
		}),
	}
}

func (s *shell) siteRename() *cli.Command {
	return &cli.Command{
		Name: "rename", Usage: "give a site another name for display", ArgsUsage: "N NAME",
		Action: s.takes(2, 2, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.SiteSetRequest{Site: n, Name: cx.Args().Get(1)}
			if q.Name == "" {
				return s.usage("the name is empty")
			}
			return ask(cx.Context, s, api.SiteSet, q, quiet[api.Site])
		}),
	}
}

func (s *shell) siteBind() *cli.Command {
	return &cli.Command{
		Name: "bind", Usage: "have a site listen elsewhere", ArgsUsage: "N ADDR:PORT...",
		Action: s.takes(2, -1, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.SiteSetRequest{Site: n, Bind: cx.Args().Tail()}
			return ask(cx.Context, s, api.SiteSet, q, quiet[api.Site])
		}),
	}
}

func (s *shell) siteDo(name, usage string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "N",
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			return ask(cx.Context, s, api.SiteCommand, api.SiteCommandRequest{Site: n, Command: name}, printSite)
		}),
	}
}

func (s *shell) siteDelete() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "delete a site, after deciding on its mail", ArgsUsage: "N",
		Description: "Exactly one of --drain, --move-to, --export and --discard says what becomes of the mail in its queue.\n" +
			"For --export the same holds as for queue export.\n" +
			"The default site cannot be deleted. The site's folders stay on the disk.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "drain", Usage: "deliver it first"},
			&cli.IntFlag{Name: "move-to", Usage: "give it to site `M`", DefaultText: "none"},
			&cli.StringFlag{Name: "export", Usage: "write it to `DIR`"},
			&cli.BoolFlag{Name: "discard", Usage: "destroy it"},
		},
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
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
				return s.usage("exactly one of --drain, --move-to M, --export DIR and --discard is needed")
			}
			if n == settings.DefaultSite {
				return &api.Error{Kind: api.KindRefused, Text: fmt.Sprintf("site %d: the default site cannot be deleted", n)}
			}
			if err := s.sure(fmt.Sprintf("deleting site %d", n)); err != nil {
				return err
			}
			return ask(cx.Context, s, api.SiteDelete, q, func(w *tabwriter.Writer, d api.Deleted) {
				fmt.Fprintf(w, "site %d is gone, with %s taken care of\n", n, plural(d.Messages, "message"))
				for _, dir := range d.Folders {
					fmt.Fprintf(w, "stays: %s\n", dir)
				}
			})
		}),
	}
}

func (s *shell) siteSessions() *cli.Command {
	return &cli.Command{
		Name: "sessions", Usage: "list who is connected", ArgsUsage: "N",
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			return ask(cx.Context, s, api.Sessions, api.SiteRequest{Site: n}, func(w *tabwriter.Writer, all []api.Session) {
				for _, c := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\ttls %s\t%s\t%s\n", c.ID, c.Remote, dash(c.Hello), dash(c.Account), yesNo(c.TLS), when(c.Since), c.Doing)
				}
			})
		}),
	}
}

func (s *shell) siteEndSession() *cli.Command {
	return &cli.Command{
		Name: "end-session", Usage: "end a session", ArgsUsage: "N [ID]",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "every session of the site"}},
		Action: s.takes(1, 2, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.EndRequest{Site: n, ID: cx.Args().Get(1), All: cx.Bool("all")}
			if (q.ID == "") != q.All {
				return s.usage("takes N and either ID or --all")
			}
			return ask(cx.Context, s, api.EndSession, q, func(w *tabwriter.Writer, e api.Ended) {
				fmt.Fprintf(w, "%s ended\n", plural(e.Sessions, "session"))
			})
		}),
	}
}
