// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/cmd/restante/internal/cmdline"
)

func (c *cli) helpCommand() *urfave.Command {
	return &urfave.Command{
		Name: "help", Usage: "explain a command", ArgsUsage: "[COMMAND]...",
		Action: c.withArgs(0, -1, func(cx *urfave.Context) error { return c.help(cx.App, cx.Args().Slice()) }),
	}
}

// help explains the command that path names, and with no path all of them.
func (c *cli) help(app *urfave.App, path []string) error {
	commands, cmd := app.Commands, (*urfave.Command)(nil)
	for i, word := range path {
		if cmd = cmdline.FindCommand(commands, word); cmd == nil {
			c.path = strings.Join(path[:i], " ")
			return c.noCommand(commands, word)
		}
		commands = cmd.Subcommands
	}
	var err error
	switch name := strings.Join(path, " "); {
	case c.json && cmd == nil:
		err = c.answerOwn(cmdline.HelpOfAll(app), nil)
	case c.json:
		err = c.answerOwn(cmdline.HelpOf(name, cmd), nil)
	case cmd == nil:
		err = cmdline.Overview(c.out, app)
	default:
		err = cmdline.Explain(c.out, name, cmd)
	}
	return err
}
