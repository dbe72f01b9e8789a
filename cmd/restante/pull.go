// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/internal/pullcmd"
	"restante/cmd/restante/internal/terminal"
)

func (c *cli) pullCommand() *urfave.Command {
	cmd := &urfave.Command{
		Name: "pull", Usage: pullcmd.Usage, ArgsUsage: pullcmd.ArgsUsage,
		Description: "Each message is with the local server before its confirmation goes to HOST. Exit code 4 means that HOST refuses the account.",
		Action: func(cx *urfave.Context) error {
			err := pullcmd.Run(cx.Context, pullcmd.Call{
				Program: "restante: pull", Args: cx.Args().Slice(), JSON: c.json, Quiet: c.quiet, Out: c.out, Err: c.err,
				Value: func(name string) (string, bool) {
					if pullcmd.IsSwitch(name) {
						return strconv.FormatBool(cx.Bool(name)), cx.IsSet(name)
					}
					return cx.String(name), cx.IsSet(name)
				},
				Password: func() (string, error) { return c.password(!terminal.Is(c.in), false) },
			})
			switch pullcmd.ExitCode(err) {
			case 2:
				return c.usage(err.Error())
			case 4:
				return &api.Error{Kind: api.KindRefused, Text: err.Error()}
			}
			return err
		},
	}
	for _, o := range pullcmd.Options {
		if o.Value() == "" {
			cmd.Flags = append(cmd.Flags, &urfave.BoolFlag{Name: o.Name, Usage: o.Usage})
		} else {
			cmd.Flags = append(cmd.Flags, &urfave.StringFlag{Name: o.Name, Usage: o.Usage, DefaultText: o.Default})
		}
	}
	return cmd
}
