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
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"restante/admin/api"
)

// A shell is one call of the command line: its streams and its global options.
type shell struct {
	in       io.Reader
	out, err io.Writer

	args    []string // as they were given
	doing   string   // the command's words, such as "mb get"
	data    string
	comment string
	json    bool
	yes     bool
}

func (s *shell) run(ctx context.Context, args []string) error {
	s.args = args
	// They travel as text, in which what is no UTF-8 would be replaced.
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return s.usage(fmt.Sprintf("the argument %q is not valid UTF-8", arg))
		}
	}
	app := s.app()
	line, err := arrange(app, args)
	s.doing, s.data = strings.Join(line.path, " "), line.data
	if err != nil {
		return err
	}
	if line.help {
		return s.help(app, line.path)
	}
	return app.RunContext(ctx, append([]string{app.Name}, line.args...))
}

// app defines every command. Help, man pages and completion read the same
// definitions.
func (s *shell) app() *cli.App {
	app := &cli.App{
		Name:           "restante",
		Usage:          "an SMTP service that holds mail for hosts that call",
		HideHelp:       true,
		HideVersion:    true,
		Reader:         s.in,
		Writer:         s.out,
		ErrWriter:      s.err,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return s.usage(err.Error()) },
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", EnvVars: []string{"RESTANTE_DATA"}, Value: defaultData(), DefaultText: "by system and user", Usage: "the data folder", Destination: &s.data},
			&cli.BoolFlag{Name: "json", Usage: "answer as JSON", Destination: &s.json},
			&cli.BoolFlag{Name: "yes", Usage: "ask no questions", Destination: &s.yes},
			&cli.StringFlag{Name: "comment", Usage: "`TEXT` that goes with the change into the history", Destination: &s.comment},
		},
		Action: func(cx *cli.Context) error { return s.noCommand(cx.App.Commands, cx.Args().First()) },
		Commands: []*cli.Command{
			s.serveCommand(), s.statusCommand(), s.runCommand(), s.explainCommand(),
			s.mbCommand(), s.siteCommand(), s.domainCommand(), s.accountCommand(), s.turnCommand(), s.queueCommand(),
			s.helpCommand(), s.completionCommand(), s.completeCommand(), s.versionCommand(),
		},
	}
	for _, c := range app.Commands {
		s.finish(c)
	}
	return app
}

// finish gives a command and those below it what all of them have.
func (s *shell) finish(c *cli.Command) {
	c.HideHelp = true
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return s.usage(err.Error()) }
	if len(c.Subcommands) > 0 {
		c.Action = func(cx *cli.Context) error { return s.noCommand(c.Subcommands, cx.Args().First()) }
	}
	for _, sub := range c.Subcommands {
		s.finish(sub)
	}
}

// noCommand answers a group that is called without one of its commands.
func (s *shell) noCommand(all []*cli.Command, word string) error {
	var names []string
	for _, c := range all {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	if word == "" {
		return s.usage("a command is needed: " + strings.Join(names, ", "))
	}
	return s.usage(fmt.Sprintf("no command is called %q: there are %s", word, strings.Join(names, ", ")))
}

// usage is an error of the call itself.
func (s *shell) usage(text string) error {
	return &api.Error{Kind: api.KindUsage, Text: text, Hint: strings.TrimSpace("help " + s.doing)}
}

// takes checks the number of arguments, most -1 for any, and then does do.
func (s *shell) takes(least, most int, do func(*cli.Context) error) cli.ActionFunc {
	return func(cx *cli.Context) error {
		n := cx.NArg()
		switch {
		case n >= least && (most < 0 || n <= most):
			return do(cx)
		case cx.Command.ArgsUsage == "":
			return s.usage("takes no arguments")
		}
		return s.usage("takes " + cx.Command.ArgsUsage)
	}
}

// report prints an error and gives the exit code.
func (s *shell) report(err error) int {
	if err == nil {
		return 0
	}
	e := api.AsError(err)
	if errors.Is(err, context.Canceled) {
		e = &api.Error{Kind: api.KindFailed, Text: "interrupted"}
	}
	prefix := "restante: "
	if s.doing != "" {
		prefix += s.doing + ": "
	}
	for line := range strings.SplitSeq(e.Error(), "\n") {
		fmt.Fprintln(s.err, prefix+line)
	}
	if e.Hint != "" {
		fmt.Fprintln(s.err, "hint: "+s.hint(e.Hint))
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
func (s *shell) hint(rest string) string {
	words := []string{"restante"}
	if s.data != "" && s.data != defaultData() && os.Getenv("RESTANTE_DATA") != s.data {
		words = append(words, "--data", shellquote.Join(s.data))
	}
	return strings.Join(append(words, rest), " ")
}

// answer prints an answer: as JSON when that is asked for, else by text.
func (s *shell) answer(raw json.RawMessage, text func(w *tabwriter.Writer)) error {
	if s.json {
		_, err := fmt.Fprintf(s.out, "%s\n", raw)
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
		if _, err := fmt.Fprintln(s.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// sure asks before something that cannot be undone.
func (s *shell) sure(question string) error {
	if s.yes {
		return nil
	}
	if !isTerminal(s.in) {
		return &api.Error{Kind: api.KindUsage, Text: question + " needs a yes", Hint: "--yes " + s.again()}
	}
	fmt.Fprintf(s.err, "%s? [y/N] ", question)
	line, _ := bufio.NewReader(s.in).ReadString('\n')
	if word := strings.ToLower(strings.TrimSpace(line)); word != "y" && word != "yes" {
		return &api.Error{Kind: api.KindFailed, Text: "not done"}
	}
	return nil
}

// again is the call without its global options, as a shell takes it.
func (s *shell) again() string {
	i := 0
	for i < len(s.args) && strings.HasPrefix(s.args[i], "-") {
		switch name := strings.TrimLeft(s.args[i], "-"); name {
		case "data", "comment":
			i++
		}
		i++
	}
	return shellquote.Join(s.args[min(i, len(s.args)):]...)
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// password reads a password: the first line of standard input when fromStdin,
// else from the terminal, without showing it, twice when it is a new one.
func (s *shell) password(fromStdin, isNew bool) (string, error) {
	if fromStdin {
		line, err := bufio.NewReader(s.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	f, ok := s.in.(*os.File)
	if !ok || !isTerminal(f) {
		return "", &api.Error{Kind: api.KindUsage, Text: "there is no terminal to ask for the password", Hint: s.again() + " --password-stdin"}
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(s.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(s.err)
		return string(b), err
	}
	first, err := ask("password: ")
	if err != nil || !isNew {
		return first, err
	}
	second, err := ask("once more: ")
	if err == nil && first != second {
		err = s.usage("the two passwords differ")
	}
	return first, err
}
