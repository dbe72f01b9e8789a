// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v2"

	"restante/admin"
	"restante/admin/api"
	"restante/adsi-compat/luahost"
	"restante/cmd/restante/internal/batch"
	"restante/cmd/restante/internal/cmdline"
	"restante/cmd/restante/internal/visible"
	"restante/engine/settings"
	"restante/metabase"
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
	quiet   bool
	yes     bool

	closing time.Duration // of datadir.CloseAll; 0: 30 s

	terms api.Terms // of a command that changes the tree
	until time.Time // by which what it has changed must be confirmed
}

func (c *cli) run(ctx context.Context, args []string) error {
	c.args = args
	// JSON would replace octets that are not UTF-8.
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return c.usage(fmt.Sprintf("the argument %q is not valid UTF-8", arg))
		}
	}
	app := c.app()
	line, err := cmdline.Reorder(app, args)
	c.path, c.data = strings.Join(line.Path, " "), line.Data
	if err != nil {
		return err
	}
	if line.Help {
		c.json = line.JSON
		return c.help(app, line.Path)
	}
	return app.RunContext(ctx, append([]string{app.Name}, line.Args...))
}

// app defines every command. Help, man pages and completion read the same
// definitions.
func (c *cli) app() *urfave.App {
	app := &urfave.App{
		Name:           "restante",
		Usage:          "hold mail for hosts that are not always online, and hand it over when they call",
		HideHelp:       true,
		HideVersion:    true,
		Reader:         c.in,
		Writer:         c.out,
		ErrWriter:      c.err,
		ExitErrHandler: func(*urfave.Context, error) {},
		OnUsageError:   func(_ *urfave.Context, err error, _ bool) error { return c.usage(err.Error()) },
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "data", EnvVars: []string{"RESTANTE_DATA"}, Value: defaultData(), DefaultText: "by system and user", Usage: "use the data folder `DIR`", Destination: &c.data},
			&urfave.BoolFlag{Name: "json", Usage: "answer as JSON", Destination: &c.json},
			&urfave.BoolFlag{Name: "quiet", Usage: "print nothing after a change", Destination: &c.quiet},
			&urfave.BoolFlag{Name: "yes", Usage: "ask no questions", Destination: &c.yes},
			&urfave.StringFlag{Name: "comment", Usage: "record `TEXT` with the change in the history", Destination: &c.comment},
		},
		Action: func(cx *urfave.Context) error { return c.noCommand(cx.App.Commands, cx.Args().First()) },
		Commands: []*urfave.Command{
			c.serveCommand(), c.statusCommand(), c.runCommand(), c.adsutilCommand(), c.explainCommand(),
			c.mbCommand(), c.siteCommand(), c.domainCommand(), c.accountCommand(), c.turnCommand(), c.queueCommand(), c.pullCommand(),
			c.helpCommand(), c.completionCommand(), c.completeCommand(), c.versionCommand(),
		},
	}
	for _, cmd := range app.Commands {
		c.setDefaults(cmd, "")
	}
	return app
}

// setDefaults sets the fields that all commands share, above being the words before
// the command's name.
func (c *cli) setDefaults(cmd *urfave.Command, above string) {
	path := strings.TrimSpace(above + " " + cmd.Name)
	if slices.Contains(changing, path) {
		c.takeTerms(cmd, slices.Contains(deciding, path))
	}
	cmd.HideHelp = true
	cmd.OnUsageError = func(_ *urfave.Context, err error, _ bool) error { return c.wrongFlag(cmd.Flags, err) }
	if len(cmd.Subcommands) > 0 {
		cmd.Action = func(cx *urfave.Context) error { return c.noCommand(cmd.Subcommands, cx.Args().First()) }
	}
	for _, sub := range cmd.Subcommands {
		c.setDefaults(sub, path)
	}
}

// changing names the commands that change the tree. All take --confirm and --if-rev.
var changing = []string{
	"run", "adsutil", "mb set", "mb unset", "mb lock", "mb unlock", "mb add", "mb rm", "mb cp", "mb mv", "mb clear", "mb cpdata", "mb touch",
	"mb apply", "mb revert", "mb import", "mb restore",
	"site create", "site rename", "site bind", "site start", "site stop", "site pause", "site continue", "site delete",
	"domain create", "domain delete", "domain dkim", "domain oauth", "account add", "account passwd", "account delete", "turn grant", "turn revoke",
}

// deciding names those of them that may let waiting mail go. They take --waiting.
var deciding = []string{
	"run", "adsutil", "mb set", "mb unset", "mb add", "mb rm", "mb cp", "mb mv", "mb clear", "mb cpdata",
	"mb apply", "mb revert", "mb import", "mb restore", "domain create", "domain delete",
}

const (
	confirmFlag = "confirm"
	ifRevFlag   = "if-rev"
	waitingFlag = "waiting"
)

// takeTerms gives a command the flags of the terms that its changes are made under.
func (c *cli) takeTerms(cmd *urfave.Command, decides bool) {
	cmd.Flags = append(cmd.Flags,
		&urfave.DurationFlag{Name: confirmFlag, Usage: "revert the change unless mb confirm follows within `DURATION`", DefaultText: "never"},
		&urfave.Uint64Flag{Name: ifRevFlag, Usage: "change nothing unless the tree is at `REVISION`; 0 is the empty tree", DefaultText: "any"})
	if decides {
		cmd.Flags = append(cmd.Flags, &urfave.StringFlag{Name: waitingFlag, DefaultText: "refuse the change",
			Usage: "if waiting mail would go: `WORD` is release, return (to its senders, after an hour) or keep (frozen)"})
	}
	do := cmd.Action
	cmd.Action = func(cx *urfave.Context) error {
		if cx.IsSet(confirmFlag) {
			c.terms.Confirm = new(cx.Duration(confirmFlag).Seconds())
		}
		if cx.IsSet(ifRevFlag) {
			c.terms.IfRev = new(metabase.Rev(cx.Uint64(ifRevFlag)))
		}
		c.terms.Waiting = cx.String(waitingFlag)
		return do(cx)
	}
}

// noCommand is the error of a group that is called without one of its commands.
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

// wrongValue is the library's error about the value of an option.
var wrongValue = regexp.MustCompile(`^invalid value ("(?:[^"\\]|\\.)*") for flag -([^:]+): `)

// wrongFlag is usage for an error about the options of a command. About a value the
// library says only "parse error".
func (c *cli) wrongFlag(flags []urfave.Flag, err error) error {
	m := wrongValue.FindStringSubmatch(err.Error())
	if m == nil {
		return c.usage(err.Error())
	}
	f := cmdline.FindFlag(flags, m[2])
	wanted := ""
	switch f.(type) {
	case *urfave.DurationFlag:
		wanted = "a number with a unit, such as 90s, 5m or 1h30m"
	case *urfave.IntFlag:
		wanted = "a whole number, such as 12"
	case *urfave.Uint64Flag:
		wanted = "a whole number from 0, such as 12"
	default:
		return c.usage(err.Error())
	}
	return c.usage(fmt.Sprintf("--%s %s: it takes %s", f.Names()[0], m[1], wanted))
}

// withArgs runs do if the number of arguments is right; most -1 is any number.
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

// withSite is withArgs for a command whose first argument is a site. Where the
// site may be left out, do gets 0 for all sites.
func (c *cli) withSite(least, most int, do func(cx *urfave.Context, site int) error) urfave.ActionFunc {
	return c.withArgs(least, most, func(cx *urfave.Context) error {
		if cx.NArg() == 0 {
			return do(cx, 0)
		}
		site, err := c.siteNumber(cx.Args().First())
		if err != nil {
			return err
		}
		return do(cx, site)
	})
}

// siteNumber reads the number of a site, or its path: smtpsvc/1.
func (c *cli) siteNumber(word string) (int, error) {
	if p, err := admin.ParsePath(strings.ReplaceAll(word, `\`, "/")); err == nil && p.Parent().Equal(settings.Service) {
		word = p.Base()
	}
	return c.number("site", word)
}

// number reads the number of a site or of a revision.
func (c *cli) number(what, word string) (int, error) {
	n, err := strconv.Atoi(word)
	if err != nil || n < 1 {
		return 0, c.usage(fmt.Sprintf("%q is no number of a %s", word, what))
	}
	return n, nil
}

// report prints an error and returns the exit code.
func (c *cli) report(err error) int {
	if err == nil {
		return 0
	}
	if code := luahost.Exit(0); errors.As(err, &code) {
		return int(code)
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
		fmt.Fprintln(c.err, visible.Line(prefix+line))
	}
	if e.Hint != "" {
		fmt.Fprintln(c.err, visible.Line("hint: "+c.hint(e.Hint)))
	}
	if left := (*luahost.LeftTransaction)(nil); errors.As(err, &left) {
		return cmp.Or(left.Code, 1)
	}
	code, ok := map[api.Kind]int{
		api.KindUsage: 2, api.KindNotFound: 3, api.KindRefused: 4, api.KindNoService: 5,
	}[e.Kind]
	if !ok {
		return 1
	}
	return code
}

// hint is a corrected command for the same data folder.
func (c *cli) hint(rest string) string {
	words := []string{"restante"}
	if c.data != "" && c.data != defaultData() && os.Getenv("RESTANTE_DATA") != c.data {
		words = append(words, "--data", batch.Quote(c.data))
	}
	return strings.Join(append(words, rest), " ")
}

// argsAfterGlobals is the call without its global options, quoted for a shell.
func (c *cli) argsAfterGlobals() string {
	i := 0
	for i < len(c.args) && strings.HasPrefix(c.args[i], "-") {
		switch name := strings.TrimLeft(c.args[i], "-"); name {
		case "data", "comment":
			i++
		}
		i++
	}
	return batch.Quote(c.args[min(i, len(c.args)):]...)
}
