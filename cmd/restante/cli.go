// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/kballard/go-shellquote"
	urfave "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"restante/admin/api"
)

// A cli is one call of the command line: its streams and its global options.
type cli struct {
	in       io.Reader
	out, err io.Writer

	args    []string // as they were given
	path    string   // the command's words, such as "mb get"
	data    string
	comment string
	json    bool
	yes     bool
}

func (c *cli) run(ctx context.Context, args []string) error {
	c.args = args
	// They travel as text, in which what is no UTF-8 would be replaced.
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return c.usage(fmt.Sprintf("the argument %q is not valid UTF-8", arg))
		}
	}
	app := c.app()
	line, err := reorderFlags(app, args)
	c.path, c.data = strings.Join(line.path, " "), line.data
	if err != nil {
		return err
	}
	if line.help {
		return c.help(app, line.path)
	}
	return app.RunContext(ctx, append([]string{app.Name}, line.args...))
}

// app defines every command. Help, man pages and completion read the same
// definitions.
func (c *cli) app() *urfave.App {
	app := &urfave.App{
		Name:           "restante",
		Usage:          "an SMTP service that holds mail for hosts that call",
		HideHelp:       true,
		HideVersion:    true,
		Reader:         c.in,
		Writer:         c.out,
		ErrWriter:      c.err,
		ExitErrHandler: func(*urfave.Context, error) {},
		OnUsageError:   func(_ *urfave.Context, err error, _ bool) error { return c.usage(err.Error()) },
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "data", EnvVars: []string{"RESTANTE_DATA"}, Value: defaultData(), DefaultText: "by system and user", Usage: "the data folder", Destination: &c.data},
			&urfave.BoolFlag{Name: "json", Usage: "answer as JSON", Destination: &c.json},
			&urfave.BoolFlag{Name: "yes", Usage: "ask no questions", Destination: &c.yes},
			&urfave.StringFlag{Name: "comment", Usage: "`TEXT` that goes with the change into the history", Destination: &c.comment},
		},
		Action: func(cx *urfave.Context) error { return c.noCommand(cx.App.Commands, cx.Args().First()) },
		Commands: []*urfave.Command{
			c.serveCommand(), c.statusCommand(), c.runCommand(), c.explainCommand(),
			c.mbCommand(), c.siteCommand(), c.domainCommand(), c.accountCommand(), c.turnCommand(), c.queueCommand(),
			c.helpCommand(), c.completionCommand(), c.completeCommand(), c.versionCommand(),
		},
	}
	for _, cmd := range app.Commands {
		c.setDefaults(cmd)
	}
	return app
}

// setDefaults gives a command and those below it what all of them have.
func (c *cli) setDefaults(cmd *urfave.Command) {
	cmd.HideHelp = true
	cmd.OnUsageError = func(_ *urfave.Context, err error, _ bool) error { return c.usage(err.Error()) }
	if len(cmd.Subcommands) > 0 {
		cmd.Action = func(cx *urfave.Context) error { return c.noCommand(cmd.Subcommands, cx.Args().First()) }
	}
	for _, sub := range cmd.Subcommands {
		c.setDefaults(sub)
	}
}

// noCommand answers a group that is called without one of its commands.
func (c *cli) noCommand(all []*urfave.Command, word string) error {
	var names []string
	for _, cmd := range all {
		if !cmd.Hidden {
			names = append(names, cmd.Name)
		}
	}
	if word == "" {
		return c.usage("a command is needed: " + strings.Join(names, ", "))
	}
	return c.usage(fmt.Sprintf("no command is called %q: there are %s", word, strings.Join(names, ", ")))
}

// usage is an error of the call itself.
func (c *cli) usage(text string) error {
	return &api.Error{Kind: api.KindUsage, Text: text, Hint: strings.TrimSpace("help " + c.path)}
}

// withArgs checks the number of arguments, most -1 for any, and then does do.
func (c *cli) withArgs(least, most int, do func(*urfave.Context) error) urfave.ActionFunc {
	return func(cx *urfave.Context) error {
		n := cx.NArg()
		switch {
		case n >= least && (most < 0 || n <= most):
			return do(cx)
		case cx.Command.ArgsUsage == "":
			return c.usage("takes no arguments")
		}
		return c.usage("takes " + cx.Command.ArgsUsage)
	}
}

// report prints an error and gives the exit code.
func (c *cli) report(err error) int {
	if err == nil {
		return 0
	}
	e := api.AsError(err)
	if errors.Is(err, context.Canceled) {
		e = &api.Error{Kind: api.KindFailed, Text: "interrupted"}
	}
	prefix := "restante: "
	if c.path != "" {
		prefix += c.path + ": "
	}
	for line := range strings.SplitSeq(e.Error(), "\n") {
		fmt.Fprintln(c.err, prefix+line)
	}
	if e.Hint != "" {
		fmt.Fprintln(c.err, "hint: "+c.hint(e.Hint))
	}
	code, ok := map[api.Kind]int{
		api.KindUsage: 2, api.KindNotFound: 3, api.KindRefused: 4, api.KindNoService: 5,
	}[e.Kind]
	if !ok {
		return 1
	}
	return code
}

// hint is a command that would do, for the same data folder.
func (c *cli) hint(rest string) string {
	words := []string{"restante"}
	if c.data != "" && c.data != defaultData() && os.Getenv("RESTANTE_DATA") != c.data {
		words = append(words, "--data", shellquote.Join(c.data))
	}
	return strings.Join(append(words, rest), " ")
}

// answer prints an answer: as JSON when that is asked for, else by text.
func (c *cli) answer(raw json.RawMessage, text func(w *tabwriter.Writer)) error {
	if c.json {
		_, err := fmt.Fprintf(c.out, "%s\n", raw)
		return err
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	text(w)
	if err := w.Flush(); err != nil {
		return err
	}
	// A row whose last cells are empty ends in no blanks.
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(c.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// confirm asks before something that cannot be undone.
func (c *cli) confirm(question string) error {
	if c.yes {
		return nil
	}
	if !isTerminal(c.in) {
		return &api.Error{Kind: api.KindUsage, Text: question + " needs a yes", Hint: "--yes " + c.argsAfterGlobals()}
	}
	fmt.Fprintf(c.err, "%s? [y/N] ", question)
	line, _ := bufio.NewReader(c.in).ReadString('\n')
	if word := strings.ToLower(strings.TrimSpace(line)); word != "y" && word != "yes" {
		return &api.Error{Kind: api.KindFailed, Text: "not done"}
	}
	return nil
}

// argsAfterGlobals is the call without its global options, as a shell takes it.
func (c *cli) argsAfterGlobals() string {
	i := 0
	for i < len(c.args) && strings.HasPrefix(c.args[i], "-") {
		switch name := strings.TrimLeft(c.args[i], "-"); name {
		case "data", "comment":
			i++
		}
		i++
	}
	return shellquote.Join(c.args[min(i, len(c.args)):]...)
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// password reads a password: the first line of standard input when fromStdin,
// else from the terminal, without showing it, twice when it is a new one.
func (c *cli) password(fromStdin, isNew bool) (string, error) {
	if fromStdin {
		line, err := bufio.NewReader(c.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	f, ok := c.in.(*os.File)
	if !ok || !isTerminal(f) {
		return "", &api.Error{Kind: api.KindUsage, Text: "there is no terminal to ask for the password", Hint: c.argsAfterGlobals() + " --password-stdin"}
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(c.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		return string(b), err
	}
	first, err := ask("password: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := ask("once more: ")
	if err == nil && first != second {
		err = c.usage("the two passwords differ")
	}
	return first, err
}
