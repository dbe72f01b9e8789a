// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin"
	"restante/admin/api"
	"restante/adsi-compat"
	"restante/adsi-compat/luahost"
	"restante/metabase"
	"restante/metabase/schema"
)

// runScript runs one Lua script over the tree. It is a sites.Scripts.
func runScript(ctx context.Context, tree admin.Tree, as metabase.Batch, s api.Script, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("it ran for more than %s", s.Timeout))
	defer cancel()
	return luahost.Run(ctx, adsi.New(tree, schema.IIS(), as), luahost.Script{
		Name: s.Name, Source: s.Source, Args: s.Args, Stdout: out,
	})
}

func (c *cli) runCommand() *urfave.Command {
	return &urfave.Command{
		Name: "run", Usage: "run a Lua administration script", ArgsUsage: "SCRIPT.lua [ARG]...",
		Description: "SCRIPT.lua is a file, or - for standard input. The script has GetObject, print, and its arguments in arg.\n" +
			"Each SetInfo is one batch, recorded with your name.",
		Flags: []urfave.Flag{
			&urfave.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "stop the script after `DURATION`"},
		},
		Action: c.withArgs(1, -1, func(cx *urfave.Context) error {
			script, err := c.readScript(cx.Args().First())
			if err != nil {
				return err
			}
			script.Args, script.Timeout = cx.Args().Tail(), cx.Duration("timeout")
			if script.Timeout <= 0 {
				return c.usage("--timeout must be greater than 0")
			}
			conn, err := c.open(cx.Context)
			if err != nil {
				return err
			}
			defer conn.close()
			for out, err := range api.Run.Open(cx.Context, conn, script) {
				if err != nil {
					return err
				}
				if c.json {
					err = c.answerOwn(out, nil)
				} else {
					_, err = io.WriteString(c.out, out.Text)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (c *cli) readScript(name string) (api.Script, error) {
	if name == "-" {
		source, err := io.ReadAll(c.in)
		return api.Script{Name: "stdin", Source: string(source)}, err
	}
	source, err := os.ReadFile(name)
	return api.Script{Name: filepath.Base(name), Source: string(source)}, err
}
