// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"restante/admin"
	"restante/admin/api"
	"restante/adsi-compat"
	"restante/adsi-compat/luahost"
	"restante/metabase"
	"restante/metabase/schema"
)

// runScript runs one Lua script over the tree: it is a sites.Scripts.
func runScript(ctx context.Context, tree admin.Tree, as metabase.Batch, s api.Script, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("it ran for more than %s", s.Timeout))
	defer cancel()
	return luahost.Run(ctx, adsi.New(tree, schema.IIS(), as), luahost.Script{
		Name: s.Name, Source: s.Source, Args: s.Args, Stdout: out,
	})
}

func (s *shell) runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run a Lua administration script", ArgsUsage: "SCRIPT.lua [ARG]...",
		Description: "The script sees GetObject, print and its arguments in arg; - reads it from standard input.\n" +
			"What it writes with SetInfo is one batch each, in your name.",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "stop the script after `DURATION`"},
		},
		Action: s.takes(1, -1, func(cx *cli.Context) error {
			script, err := s.readScript(cx.Args().First())
			if err != nil {
				return err
			}
			script.Args, script.Timeout = cx.Args().Tail(), cx.Duration("timeout")
			if script.Timeout <= 0 {
				return s.usage("--timeout must be greater than 0")
			}
			c, err := s.open(cx.Context)
			if err != nil {
				return err
			}
			defer c.close()
			for out, err := range api.Run.Open(cx.Context, c, script) {
				if err != nil {
					return err
				}
				if _, err := io.WriteString(s.out, out.Text); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (s *shell) readScript(name string) (api.Script, error) {
	if name == "-" {
		source, err := io.ReadAll(s.in)
		return api.Script{Name: "stdin", Source: string(source)}, err
	}
	source, err := os.ReadFile(name)
	return api.Script{Name: filepath.Base(name), Source: string(source)}, err
}
