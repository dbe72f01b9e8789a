// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
)

func (c *cli) accountCommand() *urfave.Command {
	return &urfave.Command{
		Name: "account", Usage: "list, make and delete accounts",
		Description: "NAME is an account of all sites, SITE/NAME one of a site with that number.",
		Subcommands: []*urfave.Command{
			c.accountPut("add", "make an account", false), c.accountPut("passwd", "give an account another password", true),
			c.accountList(), c.accountDelete(),
		},
	}
}

func (c *cli) accountPut(name, usage string, change bool) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "[SITE/]NAME",
		Flags: []urfave.Flag{
			passwordFlag(),
			&urfave.BoolFlag{Name: "cram-md5", Usage: "also keep what CRAM-MD5 needs: the password itself, encrypted"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.AccountRequest{Name: cx.Args().First(), CramMD5: cx.Bool("cram-md5"), Change: change}
			var err error
			if q.Password, err = c.password(cx.Bool("password-stdin"), true); err != nil {
				return err
			}
			return call(cx.Context, c, api.AccountPut, q, quiet[api.Account])
		}),
	}
}

func (c *cli) accountList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list the accounts", ArgsUsage: "[SITE]",
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			var q api.SiteRequest
			if cx.NArg() == 1 {
				var err error
				if q.Site, err = c.siteArg(cx); err != nil {
					return err
				}
			}
			return call(cx.Context, c, api.AccountList, q, func(w *tabwriter.Writer, all []api.Account) {
				for _, a := range all {
					name, cram := a.Name, ""
					if a.Site != 0 {
						name = fmt.Sprintf("%d/%s", a.Site, a.Name)
					}
					if a.CramMD5 {
						cram = "cram-md5"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\n", name, dash(cram), strings.Join(a.Domains, " "))
				}
			})
		}),
	}
}

func (c *cli) accountDelete() *urfave.Command {
	return &urfave.Command{
		Name: "delete", Usage: "delete an account", ArgsUsage: "[SITE/]NAME",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.AccountRequest{Name: cx.Args().First()}
			return call(cx.Context, c, api.AccountDelete, q, func(_ *tabwriter.Writer, d api.Deleted) {
				for _, domain := range d.NamedBy {
					fmt.Fprintf(c.err, "restante: account delete: %s: still names %s: who gets an account of that name may take its mail\n", domain, d.Name)
				}
			})
		}),
	}
}
