// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/cmdline"
	"restante/cmd/restante/internal/visible"
)

// completeTime bounds how long completion makes a shell wait.
const completeTime = 2 * time.Second

// completeCommand prints the candidates for the last argument. The scripts of
// the completion command call it.
func (c *cli) completeCommand() *urfave.Command {
	return &urfave.Command{
		Name: "__complete", Hidden: true, SkipFlagParsing: true,
		Action: func(cx *urfave.Context) error {
			words := cx.Args().Slice()
			if len(words) > 0 && words[0] == "--" {
				words = words[1:]
			}
			for _, word := range c.candidates(cx.Context, cx.App, words) {
				if word == visible.Line(word) { // no shell can be given another
					fmt.Fprintln(c.out, word)
				}
			}
			return nil
		},
	}
}

func (c *cli) candidates(ctx context.Context, app *urfave.App, words []string) (out []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	at, data, ok := cmdline.FindPlace(app, words[:len(words)-1])
	if !ok {
		return nil
	}
	c.data = cmp.Or(data, c.data)
	add := func(word string) {
		if strings.HasPrefix(word, last) {
			out = append(out, word)
		}
	}
	if strings.HasPrefix(last, "-") {
		for _, f := range at.Flags {
			add("--" + f.Names()[0])
		}
		return out
	}
	for _, cmd := range at.Commands {
		if !cmd.Hidden && at.Argument == 0 {
			add(cmd.Name)
		}
	}
	if at.Leaf == nil || len(at.Commands) > 0 {
		return out
	}
	return append(out, c.values(ctx, at.ArgumentKind(), last)...)
}

// values asks the service, or the store, for names. Errors give no candidates:
// a shell has no place for them.
func (c *cli) values(ctx context.Context, kind, prefix string) []string {
	if kind == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	conn, err := c.open(ctx)
	if err != nil {
		return nil
	}
	defer conn.close()
	words, _, err := api.Complete.Call(ctx, conn, api.CompleteRequest{Kind: kind, Prefix: prefix})
	if err != nil {
		return nil
	}
	return words
}

func (c *cli) completionCommand() *urfave.Command {
	scripts := map[string]string{
		"bash": "_restante() {\n\tlocal IFS=$'\\n'\n\tCOMPREPLY=($(restante __complete -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null))\n" +
			"\t[[ ${COMPREPLY[0]} == */* ]] && compopt -o nospace\n}\ncomplete -F _restante restante\n",
		"zsh":  "#compdef restante\n_restante() {\n\tlocal -a found\n\tfound=(\"${(@f)$(restante __complete -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n\tcompadd -a found\n}\ncompdef _restante restante\n",
		"fish": "complete -c restante -f -a '(restante __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'\n",
	}
	return &urfave.Command{
		Name: "completion", Usage: "print a shell's completion script", ArgsUsage: "bash|zsh|fish",
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			text, ok := scripts[cx.Args().First()]
			if !ok {
				return c.usage(fmt.Sprintf("%q is no shell that is known here: use bash, zsh or fish", cx.Args().First()))
			}
			if c.json {
				return c.answerOwn(map[string]string{"script": text}, nil)
			}
			_, err := fmt.Fprint(c.out, text)
			return err
		}),
	}
}
