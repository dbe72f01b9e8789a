// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"restante/admin/api"
)

func (s *shell) domainCommand() *cli.Command {
	return &cli.Command{
		Name: "domain", Usage: "list, make and delete the domains of a site",
		Subcommands: []*cli.Command{s.domainList(), s.domainShow(), s.domainCreate(), s.domainDelete()},
	}
}

func (s *shell) domainList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list a site's domains", ArgsUsage: "N",
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			return ask(cx.Context, s, api.DomainList, api.SiteRequest{Site: n}, func(w *tabwriter.Writer, all []api.Domain) {
				for _, d := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\n", d.Name, d.Kind, strings.Join(traits(d), ", "))
				}
			})
		}),
	}
}

// traits says in words what is special about a domain.
func traits(d api.Domain) (out []string) {
	if d.Held {
		out = append(out, "held")
	}
	if len(d.Turn) > 0 {
		out = append(out, "turn "+quoted(d.Turn))
	}
	if d.SmartHost != "" {
		out = append(out, "smart host "+d.SmartHost)
	}
	if d.Relay {
		out = append(out, "relay")
	}
	return out
}

func (s *shell) domainArgs(cx *cli.Context) (api.DomainRequest, error) {
	n, err := s.siteArg(cx)
	return api.DomainRequest{Site: n, Name: cx.Args().Get(1)}, err
}

func (s *shell) domainShow() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "tell of one domain", ArgsUsage: "N NAME",
		Action: s.takes(2, 2, func(cx *cli.Context) error {
			q, err := s.domainArgs(cx)
			if err != nil {
				return err
			}
			return ask(cx.Context, s, api.DomainShow, q, func(w *tabwriter.Writer, d api.Domain) {
				row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
				row("domain", d.Name)
				row("site", d.Site)
				row("kind", d.Kind)
				row("route action", fmt.Sprintf("%d (0x%x)", d.RouteAction, uint32(d.RouteAction)))
				row("held", yesNo(d.Held))
				row("turn", dash(quoted(d.Turn)))
				row("smart host", dash(d.SmartHost))
				row("relay", yesNo(d.Relay))
				row("waiting", fmt.Sprintf("%s, %s", plural(d.Messages, "message"), size(d.Bytes)))
			})
		}),
	}
}

func (s *shell) domainCreate() *cli.Command {
	return &cli.Command{
		Name: "create", Usage: "say what becomes of mail to a domain", ArgsUsage: "N NAME",
		Description: "NAME may begin with *. and then stands for all names below it.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "alias", Usage: "another name of the default domain"},
			&cli.BoolFlag{Name: "remote", Usage: "mail goes on from here"},
			&cli.BoolFlag{Name: "hold", Usage: "mail waits until its host calls"},
			&cli.StringSliceFlag{Name: "turn", Usage: "`ACCOUNT` may take its mail by TURN and ATRN; holds it; may be given several times"},
			&cli.StringFlag{Name: "smart-host", Usage: "mail goes to `HOST[:PORT]`", DefaultText: "by DNS"},
			&cli.BoolFlag{Name: "relay", Usage: "anybody may send mail there"},
		},
		Action: s.takes(2, 2, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			if cx.Bool("alias") == cx.Bool("remote") {
				return s.usage("either --alias or --remote is needed")
			}
			q := api.DomainCreateRequest{
				Site: n, Name: cx.Args().Get(1), Alias: cx.Bool("alias"), Hold: cx.Bool("hold"),
				Turn: cx.StringSlice("turn"), SmartHost: cx.String("smart-host"), Relay: cx.Bool("relay"),
			}
			return ask(cx.Context, s, api.DomainCreate, q, func(_ *tabwriter.Writer, d api.Domain) { s.noteUnknown(d) })
		}),
	}
}

// noteUnknown tells of accounts that a domain names and that there are not: it
// may be meant so, and may be a slip.
func (s *shell) noteUnknown(d api.Domain) {
	for _, name := range d.Unknown {
		fmt.Fprintf(s.err, "restante: %s: %s: account %s: there is no such account yet\n", s.doing, d.Name, name)
		fmt.Fprintf(s.err, "hint: %s\n", s.hint("account add "+name))
	}
}

func (s *shell) domainDelete() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "delete a domain", ArgsUsage: "N NAME",
		Action: s.takes(2, 2, func(cx *cli.Context) error {
			q, err := s.domainArgs(cx)
			if err != nil {
				return err
			}
			return ask(cx.Context, s, api.DomainDelete, q, func(_ *tabwriter.Writer, d api.Deleted) {
				if d.Messages > 0 {
					fmt.Fprintf(s.err, "restante: domain delete: %s: %s in the queue go by DNS from now on\n", d.Name, plural(d.Messages, "message"))
				}
			})
		}),
	}
}

func (s *shell) turnCommand() *cli.Command {
	return &cli.Command{
		Name: "turn", Usage: "say which account may take which domain's mail",
		Subcommands: []*cli.Command{
			s.turnSet("grant", "let an account take a domain's mail, which is held for it", false),
			s.turnSet("revoke", "take that back; the mail stays held", true),
			s.turnList(),
		},
	}
}

func (s *shell) turnSet(name, usage string, revoke bool) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "N DOMAIN ACCOUNT",
		Action: s.takes(3, 3, func(cx *cli.Context) error {
			n, err := s.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.TurnRequest{Site: n, Domain: cx.Args().Get(1), Account: cx.Args().Get(2), Revoke: revoke}
			return ask(cx.Context, s, api.TurnSet, q, func(_ *tabwriter.Writer, d api.Domain) {
				if !revoke {
					s.noteUnknown(d)
				}
			})
		}),
	}
}

func (s *shell) turnList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list who may take what", ArgsUsage: "[N]",
		Flags: []cli.Flag{&cli.StringFlag{Name: "account", Usage: "only of `NAME`", DefaultText: "all"}},
		Action: s.takes(0, 1, func(cx *cli.Context) error {
			q := api.TurnListRequest{Account: cx.String("account")}
			if cx.NArg() == 1 {
				var err error
				if q.Site, err = s.siteArg(cx); err != nil {
					return err
				}
			}
			return ask(cx.Context, s, api.TurnList, q, func(w *tabwriter.Writer, all []api.Grant) {
				for _, g := range all {
					fmt.Fprintf(w, "%d\t%s\t%s\n", g.Site, g.Domain, g.Account)
				}
			})
		}),
	}
}
