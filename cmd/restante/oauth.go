// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/visible"
	"restante/cmd/restante/internal/words"
)

func (c *cli) domainOauth() *urfave.Command {
	return &urfave.Command{
		Name: "oauth", Usage: "sign in at the provider of a domain's smart host, by a code that you type at its page", ArgsUsage: "N NAME",
		Description: "Prints the address of the page and the code, waits until you have signed in there, and stores the refresh token where RouteOauth is stored. " +
			"With --json, the first object has verification_uri and user_code, and the second one says that it is done.",
		Action: c.withSite(2, 2, func(cx *urfave.Context, site int) error {
			q := api.DomainRequest{Site: site, Name: cx.Args().Get(1)}
			code, _, err := exchange(cx.Context, c, api.DomainOauth, q)
			if err != nil {
				return err
			}
			if c.json {
				shown := code
				shown.Device = "" // a secret of this sign-in
				text, err := json.Marshal(shown)
				if err != nil {
					return err
				}
				fmt.Fprintf(c.out, "%s\n", text)
			} else {
				fmt.Fprintln(c.out, visible.Line(fmt.Sprintf("open %s and type the code %s%s", code.URL, code.Code, until(code.Expires))))
			}
			return change(cx.Context, c, api.DomainOauthWait, api.OauthWaitRequest{DomainRequest: q, Code: code}, func(w table, d api.OauthDone) {
				w.printf("signed in: %s has the refresh token\n", d.Path)
			})
		}),
	}
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return ", until " + words.Time(t)
}
