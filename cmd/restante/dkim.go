// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
)

func (c *cli) domainDkim() *urfave.Command {
	return &urfave.Command{
		Name: "dkim", Usage: "sign a domain's mail by DKIM, and show the records for DNS", ArgsUsage: "N NAME",
		Description: "Makes a key where the domain has none, prints the record of each key, and says whether it is published. A key that is made signs at once; " +
			"one of --rotate when the next call with --rotate finds it published, and the key that signed before is removed then. Without --rotate and --delete no key is replaced or removed.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "selector", Usage: "make a key of selector `S` unless there is one", DefaultText: "by type and date"},
			&urfave.StringFlag{Name: "type", Usage: "make a key of `TYPE` rsa or ed25519", DefaultText: "rsa"},
			&urfave.BoolFlag{Name: "rotate", Usage: "make a key that takes the place of the one that signs; once it is published, let it sign"},
			&urfave.BoolFlag{Name: "delete", Usage: "remove the key of --selector, which also ends a rotation to it; the last one that signs only with --yes"},
		},
		Action: c.withSite(2, 2, func(cx *urfave.Context, site int) error {
			q := api.DkimRequest{Site: site, Name: cx.Args().Get(1), Selector: cx.String("selector"), Type: cx.String("type"), Rotate: cx.Bool("rotate"), Delete: cx.Bool("delete"), Force: c.yes}
			if q.Type != "" && q.Type != "rsa" && q.Type != "ed25519" {
				return c.usage(fmt.Sprintf("%q is no type of key: give rsa or ed25519", q.Type))
			}
			return change(cx.Context, c, api.DomainDkim, q, printDkim)
		}),
	}
}

func printDkim(w table, d api.Dkim) {
	for _, s := range d.Made {
		w.printf("made key %s of %s\n", s, d.Name)
	}
	for _, s := range d.Retired {
		w.printf("removed key %s of %s: leave its record until the mail that it has signed is delivered\n", s, d.Name)
	}
	if d.Deleted != "" {
		w.printf("removed key %s of %s\n", d.Deleted, d.Name)
	}
	row := fields(w)
	if len(d.Keys) > 0 {
		row("signed for", submittersText(d.For))
	}
	for _, k := range d.Keys {
		row("key", k.Selector+", "+k.Type)
		row("signs", signsText(k))
		row("published", publishedText(k))
		row("record", zoneLine(k))
	}
}

func submittersText(who []string) string {
	if len(who) == 0 {
		return "each account and address that may submit mail; DkimFor limits that"
	}
	return strings.Join(who, " ") + " (DkimFor)"
}

func signsText(k api.DkimKey) string {
	switch {
	case k.Signs:
		return "yes"
	case k.Waits:
		return "no, it waits until it is published and --rotate is given again"
	}
	return "no, DkimSelectors does not name it"
}

func publishedText(k api.DkimKey) string {
	switch k.Published {
	case "missing":
		return "no, there is no such record in DNS"
	case "different":
		return "no, DNS has something else: " + k.Found
	case "unknown":
		return "unknown, DNS did not answer: " + k.Found
	}
	return "yes"
}

// zoneLine is the record as a zone file has it, in texts of at most 255 octets.
func zoneLine(k api.DkimKey) string {
	var parts []string
	for rest := k.Text; rest != ""; {
		n := min(len(rest), 255)
		parts, rest = append(parts, `"`+rest[:n]+`"`), rest[n:]
	}
	return fmt.Sprintf("%s. IN TXT ( %s )", k.Record, strings.Join(parts, " "))
}
