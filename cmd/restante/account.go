// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"restante/admin/api"
)

func (s *shell) accountCommand() *cli.Command {
	return &cli.Command{
		Name: "account", Usage: "list, make and delete accounts",
		Description: "NAME is an account of all sites, SITE/NAME one of a site with that number.",
		Subcommands: []*cli.Command{
			s.accountPut("add", "make an account", false), s.accountPut("passwd", "give an account another password", true),
			s.accountList(), s.accountDelete(),
		},
	}
}

func (s *shell) accountPut(name, usage string, change bool) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "[SITE/]NAME",
		Flags: []cli.Flag{
			passwordFlag(),
			&cli.BoolFlag{Name: "cram-md5", Usage: "also keep what CRAM-MD5 needs: the password itself, encrypted"},
		},
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			q := api.AccountRequest{Name: cx.Args().First(), CramMD5: cx.Bool("cram-md5"), Change: change}
			var err error
			if q.Password, err = s.password(cx.Bool("password-stdin"), true); err != nil {
				return err
			}
			return ask(cx.Context, s, api.AccountPut, q, quiet[api.Account])
		}),
	}
}

func (s *shell) accountList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the accounts", ArgsUsage: "[SITE]",
		Action: s.takes(0, 1, func(cx *cli.Context) error {
			var q api.SiteRequest
			if cx.NArg() == 1 {
				var err error
				if q.Site, err = s.siteArg(cx); err != nil {
					return err
				}
			}
			return ask(cx.Context, s, api.AccountList, q, func(w *tabwriter.Writer, all []api.Account) {
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

func (s *shell) accountDelete() *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "delete an account", ArgsUsage: "[SITE/]NAME",
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			q := api.AccountRequest{Name: cx.Args().First()}
			return ask(cx.Context, s, api.AccountDelete, q, func(_ *tabwriter.Writer, d api.Deleted) {
				for _, domain := range d.NamedBy {
					fmt.Fprintf(s.err, "restante: account delete: %s: still names %s: who gets an account of that name may take its mail\n", domain, d.Name)
				}
			})
		}),
	}
}
