// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/words"
)

func (c *cli) accountCommand() *urfave.Command {
	return &urfave.Command{
		Name: "account", Usage: "list, add and delete accounts",
		Description: "NAME is an account of all sites, SITE/NAME one of the site with that number.",
		Subcommands: []*urfave.Command{
			c.accountPut("add", "add an account", "added account %s%s\n", false),
			c.accountPut("passwd", "change an account's password", "changed the password of account %s%s\n", true),
			c.accountList(), c.accountDelete(),
		},
	}
}

func (c *cli) accountPut(name, usage, done string, existing bool) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "[SITE/]NAME",
		Flags: []urfave.Flag{
			passwordFlag(),
			&urfave.BoolFlag{Name: "cram-md5", Usage: "also store what CRAM-MD5 needs: the password itself, encrypted"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.AccountRequest{Name: cx.Args().First(), CramMD5: cx.Bool("cram-md5"), Change: existing}
			var err error
			if q.Password, err = c.password(cx.Bool("password-stdin"), true); err != nil {
				return err
			}
			return change(cx.Context, c, api.AccountPut, q, func(w table, a api.Account) {
				w.printf(done, accountName(a), ended(a.Ended))
			})
		}),
	}
}

// ended tells how many sessions a change has ended.
func ended(n int) string {
	if n == 0 {
		return ""
	}
	return ", and ended " + words.Plural(n, "session")
}

// accountName names an account as commands take it.
func accountName(a api.Account) string {
	if a.Site != 0 {
		return fmt.Sprintf("%d/%s", a.Site, a.Name)
	}
	return a.Name
}

func (c *cli) accountList() *urfave.Command {
	return &urfave.Command{
		Name: "list", Usage: "list accounts and the domains whose mail they may collect", ArgsUsage: "[SITE]",
		Action: c.withSite(0, 1, func(cx *urfave.Context, site int) error {
			return list(cx.Context, c, api.AccountList, api.SiteRequest{Site: site}, "there are no accounts", func(w table, a api.Account) {
				cram := "-"
				if a.CramMD5 {
					cram = "cram-md5"
				}
				w.printf("%s\t%s\t%s", accountName(a), cram, strings.Join(a.Domains, " "))
				for _, l := range a.LockOuts {
					w.printf("\tlocked out: %s until %s", l.Address, l.Until.Format(time.RFC3339))
				}
				w.printf("\n")
			})
		}),
	}
}

func (c *cli) accountDelete() *urfave.Command {
	return &urfave.Command{
		Name: "delete", Usage: "delete an account", ArgsUsage: "[SITE/]NAME",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.AccountRequest{Name: cx.Args().First()}
			return change(cx.Context, c, api.AccountDelete, q, func(w table, d api.Deleted) {
				w.printf("deleted account %s%s\n", accountName(api.Account{Site: d.Site, Name: d.Name}), ended(d.Ended))
				for _, domain := range d.NamedBy {
					c.warn(domain, fmt.Sprintf("still names %s: a later account of that name may collect its mail", d.Name))
				}
			})
		}),
	}
}
