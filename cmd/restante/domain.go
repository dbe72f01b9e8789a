// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/domaintext"
	"restante/cmd/restante/internal/visible"
	"restante/cmd/restante/internal/words"
)

func (c *cli) domainCommand() *urfave.Command {
	return &urfave.Command{
		Name: "domain", Usage: "list, create and delete the domains of a site, and sign their mail",
		Subcommands: []*urfave.Command{c.domainList(), c.domainShow(), c.domainCreate(), c.domainDelete(), c.domainDkim(), c.domainOauth()},
	}
}

func (c *cli) domainList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list the domains of a site", ArgsUsage: "N",
		Action: c.withSite(1, 1, func(cx *urfave.Context, site int) error {
			q := api.SiteRequest{Site: site}
			return list(cx.Context, c, api.DomainList, q, fmt.Sprintf("site %d has no domains", site), func(w table, d api.Domain) {
				w.printf("%s\t%s\t%s\n", d.Name, d.Kind, strings.Join(traits(d), ", "))
			})
		}),
	}
}

// traits lists the settings of a domain that differ from the usual.
func traits(d api.Domain) (out []string) {
	if d.Held {
		out = append(out, "held")
	}
	if len(d.Turn) > 0 {
		out = append(out, "turn "+words.Quoted(d.Turn))
	}
	if d.SmartHost != "" {
		out = append(out, "smart host "+d.SmartHost)
	}
	if d.Relay {
		out = append(out, "relay")
	}
	return out
}

func (c *cli) domainShow() *urfave.Command {
	return &urfave.Command{
		Name: "show", Usage: "show one domain", ArgsUsage: "N NAME",
		Action: c.withSite(2, 2, func(cx *urfave.Context, site int) error {
			q := api.DomainRequest{Site: site, Name: cx.Args().Get(1)}
			return call(cx.Context, c, api.DomainShow, q, func(w table, d api.Domain) {
				domaintext.Rows(fields(w), d)
			})
		}),
	}
}

func (c *cli) domainCreate() *urfave.Command {
	return &urfave.Command{
		Name: "create", Usage: "add a domain to a site", ArgsUsage: "N NAME",
		Description: "NAME may begin with *. and then stands for all names below it.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "alias", Usage: "make it another name of the default domain"},
			&urfave.BoolFlag{Name: "remote", Usage: "pass its mail on; implied by the options below"},
			&urfave.BoolFlag{Name: "hold", Usage: "hold its mail until its host calls"},
			&urfave.StringSliceFlag{Name: "turn", Usage: "let `ACCOUNT` collect its mail by TURN and ATRN; implies --hold; may be given several times"},
			&urfave.StringFlag{Name: "smart-host", Usage: "send its mail to `HOST[:PORT]`", DefaultText: "by DNS"},
			&urfave.BoolFlag{Name: "relay", Usage: "accept mail for it from every caller"},
		},
		Action: c.withSite(2, 2, func(cx *urfave.Context, site int) error {
			alias, remote := cx.Bool("alias"), cx.Bool("remote")
			implied := cx.Bool("hold") || cx.IsSet("turn") || cx.IsSet("smart-host") || cx.Bool("relay")
			if alias && remote || !alias && !remote && !implied {
				return c.usage("either --alias or --remote is needed")
			}
			q := api.DomainCreateRequest{
				Site: site, Name: cx.Args().Get(1), Alias: alias, Hold: cx.Bool("hold"),
				Turn: cx.StringSlice("turn"), SmartHost: cx.String("smart-host"), Relay: cx.Bool("relay"),
			}
			return change(cx.Context, c, api.DomainCreate, q, func(w table, d api.Domain) {
				w.printf("created domain %s of site %d: %s\n", d.Name, d.Site, strings.Join(append([]string{d.Kind}, traits(d)...), ", "))
				c.warnUnknownAccounts(d)
			})
		}),
	}
}

// warn prints a warning about what a command did.
func (c *cli) warn(what, why string) {
	fmt.Fprintln(c.err, visible.Line(fmt.Sprintf("restante: %s: %s: %s", c.path, what, why)))
}

// warnUnknownAccounts tells of accounts that a domain names and that do not
// exist: they may come later, or be misspelt.
func (c *cli) warnUnknownAccounts(d api.Domain) {
	for _, name := range d.Unknown {
		c.warn(d.Name, fmt.Sprintf("account %s: there is no such account yet", name))
		fmt.Fprintln(c.err, visible.Line("hint: "+c.hint("account add "+name)))
	}
}

func (c *cli) domainDelete() *urfave.Command {
	return &urfave.Command{
		Name: "delete", Usage: "delete a domain from a site", ArgsUsage: "N NAME",
		Action: c.withSite(2, 2, func(cx *urfave.Context, site int) error {
			q := api.DomainRequest{Site: site, Name: cx.Args().Get(1)}
			return change(cx.Context, c, api.DomainDelete, q, func(w table, d api.Deleted) {
				w.printf("deleted domain %s of site %d\n", d.Name, site)
				if d.Messages > 0 && c.terms.Waiting == "release" {
					c.warn(d.Name, words.Plural(d.Messages, "message")+" in the queue go by DNS from now on")
				}
			})
		}),
	}
}

func (c *cli) turnCommand() *urfave.Command {
	return &urfave.Command{
		Name: "turn", Usage: "grant accounts the right to collect a domain's mail",
		Subcommands: []*urfave.Command{
			c.turnSet("grant", "let an account collect a domain's mail, and hold that mail", "account %s may collect the mail of %s at site %d%s\n", false),
			c.turnSet("revoke", "withdraw an account's right to collect a domain's mail, which stays held", "account %s may no longer collect the mail of %s at site %d%s\n", true),
			c.turnList(), c.turnHistory(),
		},
	}
}

func (c *cli) turnSet(name, usage, done string, revoke bool) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "N DOMAIN ACCOUNT",
		Action: c.withSite(3, 3, func(cx *urfave.Context, site int) error {
			q := api.TurnRequest{Site: site, Domain: cx.Args().Get(1), Account: cx.Args().Get(2), Revoke: revoke}
			return change(cx.Context, c, api.TurnSet, q, func(w table, d api.Domain) {
				w.printf(done, q.Account, d.Name, site, ended(d.Ended))
				if !revoke {
					c.warnUnknownAccounts(d)
					if len(d.Except) > 0 {
						c.warn(d.Name, "does not reach "+strings.Join(d.Except, ", ")+", which have keys of their own")
					}
				}
			})
		}),
	}
}

func (c *cli) turnList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list which account may collect which domain's mail", ArgsUsage: "[N]",
		Flags: []urfave.Flag{&urfave.StringFlag{Name: "account", Usage: "list only those of `NAME`", DefaultText: "all"}},
		Action: c.withSite(0, 1, func(cx *urfave.Context, site int) error {
			q := api.TurnListRequest{Site: site, Account: cx.String("account")}
			return list(cx.Context, c, api.TurnList, q, "no account may collect mail", func(w table, g api.Grant) {
				w.printf("%d\t%s\t%s", g.Site, g.Domain, g.Account)
				for _, rule := range g.Rules {
					w.printf("\t%s", rule)
				}
				if len(g.Except) > 0 {
					w.printf("\tbut not %s", strings.Join(g.Except, " "))
				}
				w.printf("\n")
			})
		}),
	}
}

func (c *cli) turnHistory() *urfave.Command {
	return &urfave.Command{
		Name: "history", Usage: "list the releases of held mail, the newest first", ArgsUsage: "[N] [DOMAIN]",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "account", Usage: "list only those of `NAME`", DefaultText: "all"},
			&urfave.StringFlag{Name: "since", Usage: "list only those from `TIME` on: RFC 3339, or how long ago, such as 24h", DefaultText: "all"},
		},
		Action: c.withArgs(0, 2, func(cx *urfave.Context) error {
			q := api.HistoryRequest{Account: cx.String("account"), Domain: cx.Args().Get(1)}
			if word := cx.Args().First(); word != "" {
				var err error
				if q.Site, err = c.siteNumber(word); err != nil && (cx.NArg() == 2 || !strings.Contains(word, ".")) {
					return err
				} else if err != nil {
					q.Site, q.Domain = 0, word
				}
			}
			if text := cx.String("since"); text != "" {
				at, err := time.Parse(time.RFC3339, text)
				if ago, bad := time.ParseDuration(text); bad == nil {
					at, err = time.Now().Add(-ago), nil
				}
				if err != nil {
					return c.usage(fmt.Sprintf("--since %q is neither a time such as 2026-03-01T12:00:00Z nor a duration such as 24h", text))
				}
				q.Since = at
			}
			first := true
			return list(cx.Context, c, api.TurnHistory, q, "no mail was released", func(w table, r api.Release) {
				if first {
					w.printf("site\tdomain\tbegin\tend\tverb\taccount\taddress\tmessages\tbytes\trefused\tin doubt\tleft\toutcome\n")
				}
				first = false
				address := "-"
				if r.Address.IsValid() {
					address = r.Address.String()
				}
				w.printf("%d\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", r.Site, r.Domain, words.Time(r.Begin), words.Time(r.End), r.Verb,
					words.Dash(r.Account), address, r.Messages, r.Bytes, r.Refused, r.InDoubt, r.Left, r.Outcome)
			})
		}),
	}
}
