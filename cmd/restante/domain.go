// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
)

func (c *cli) domainCommand() *urfave.Command {
	return &urfave.Command{
		Name: "domain", Usage: "list, make and delete the domains of a site",
		Subcommands: []*urfave.Command{c.domainList(), c.domainShow(), c.domainCreate(), c.domainDelete()},
	}
}

func (c *cli) domainList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list a site's domains", ArgsUsage: "N",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			return call(cx.Context, c, api.DomainList, api.SiteRequest{Site: n}, func(w *tabwriter.Writer, all []api.Domain) {
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

func (c *cli) domainArgs(cx *urfave.Context) (api.DomainRequest, error) {
	n, err := c.siteArg(cx)
	return api.DomainRequest{Site: n, Name: cx.Args().Get(1)}, err
}

func (c *cli) domainShow() *urfave.Command {
	return &urfave.Command{
		Name: "show", Usage: "tell of one domain", ArgsUsage: "N NAME",
		Action: c.withArgs(2, 2, func(cx *urfave.Context) error {
			q, err := c.domainArgs(cx)
			if err != nil {
				return err
			}
			return call(cx.Context, c, api.DomainShow, q, func(w *tabwriter.Writer, d api.Domain) {
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

func (c *cli) domainCreate() *urfave.Command {
	return &urfave.Command{
		Name: "create", Usage: "say what becomes of mail to a domain", ArgsUsage: "N NAME",
		Description: "NAME may begin with *. and then stands for all names below it.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "alias", Usage: "another name of the default domain"},
			&urfave.BoolFlag{Name: "remote", Usage: "mail goes on from here"},
			&urfave.BoolFlag{Name: "hold", Usage: "mail waits until its host calls"},
			&urfave.StringSliceFlag{Name: "turn", Usage: "`ACCOUNT` may take its mail by TURN and ATRN; holds it; may be given several times"},
			&urfave.StringFlag{Name: "smart-host", Usage: "mail goes to `HOST[:PORT]`", DefaultText: "by DNS"},
			&urfave.BoolFlag{Name: "relay", Usage: "anybody may send mail there"},
		},
		Action: c.withArgs(2, 2, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			if cx.Bool("alias") == cx.Bool("remote") {
				return c.usage("either --alias or --remote is needed")
			}
			q := api.DomainCreateRequest{
				Site: n, Name: cx.Args().Get(1), Alias: cx.Bool("alias"), Hold: cx.Bool("hold"),
				Turn: cx.StringSlice("turn"), SmartHost: cx.String("smart-host"), Relay: cx.Bool("relay"),
			}
			return call(cx.Context, c, api.DomainCreate, q, func(_ *tabwriter.Writer, d api.Domain) { c.warnUnknownAccounts(d) })
		}),
	}
}

// warnUnknownAccounts tells of accounts that a domain names and that there are not: it
// may be meant so, and may be a slip.
func (c *cli) warnUnknownAccounts(d api.Domain) {
	for _, name := range d.Unknown {
		fmt.Fprintf(c.err, "restante: %s: %s: account %s: there is no such account yet\n", c.path, d.Name, name)
		fmt.Fprintf(c.err, "hint: %s\n", c.hint("account add "+name))
	}
}

func (c *cli) domainDelete() *urfave.Command {
	return &urfave.Command{
		Name: "delete", Usage: "delete a domain", ArgsUsage: "N NAME",
		Action: c.withArgs(2, 2, func(cx *urfave.Context) error {
			q, err := c.domainArgs(cx)
			if err != nil {
				return err
			}
			return call(cx.Context, c, api.DomainDelete, q, func(_ *tabwriter.Writer, d api.Deleted) {
				if d.Messages > 0 {
					fmt.Fprintf(c.err, "restante: domain delete: %s: %s in the queue go by DNS from now on\n", d.Name, plural(d.Messages, "message"))
				}
			})
		}),
	}
}

func (c *cli) turnCommand() *urfave.Command {
	return &urfave.Command{
		Name: "turn", Usage: "say which account may take which domain's mail",
		Subcommands: []*urfave.Command{
			c.turnSet("grant", "let an account take a domain's mail, which is held for it", false),
			c.turnSet("revoke", "take that back; the mail stays held", true),
			c.turnList(),
		},
	}
}

func (c *cli) turnSet(name, usage string, revoke bool) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "N DOMAIN ACCOUNT",
		Action: c.withArgs(3, 3, func(cx *urfave.Context) error {
			n, err := c.siteArg(cx)
			if err != nil {
				return err
			}
			q := api.TurnRequest{Site: n, Domain: cx.Args().Get(1), Account: cx.Args().Get(2), Revoke: revoke}
			return call(cx.Context, c, api.TurnSet, q, func(_ *tabwriter.Writer, d api.Domain) {
				if !revoke {
					c.warnUnknownAccounts(d)
				}
			})
		}),
	}
}

func (c *cli) turnList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list who may take what", ArgsUsage: "[N]",
		Flags: []urfave.Flag{&urfave.StringFlag{Name: "account", Usage: "only of `NAME`", DefaultText: "all"}},
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			q := api.TurnListRequest{Account: cx.String("account")}
			if cx.NArg() == 1 {
				var err error
				if q.Site, err = c.siteArg(cx); err != nil {
					return err
				}
			}
			return call(cx.Context, c, api.TurnList, q, func(w *tabwriter.Writer, all []api.Grant) {
				for _, g := range all {
					fmt.Fprintf(w, "%d\t%s\t%s\n", g.Site, g.Domain, g.Account)
				}
			})
		}),
	}
}
