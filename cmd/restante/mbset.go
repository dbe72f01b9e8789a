// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"restante/admin/api"
)

// change makes a batch of one operation: the verb, the options of the call
// that are set, and after "--" its arguments.
func (s *shell) change(cx *cli.Context, verb string, args ...string) error {
	words := []string{verb}
	for _, f := range cx.Command.Flags {
		name := f.Names()[0]
		switch {
		case isBool(f) && cx.Bool(name):
			words = append(words, "--"+name)
		case !isBool(f) && cx.IsSet(name):
			words = append(words, "--"+name, cx.String(name))
		}
	}
	words = append(append(words, "--"), args...)
	line, err := withFile(api.Line{Words: words})
	if err != nil {
		return err
	}
	q := api.ApplyRequest{Lines: []api.Line{line}}
	return ask(cx.Context, s, api.MbApply, q, quiet[api.Applied])
}

// filters are the options that say which items are meant.
func filters(more ...cli.Flag) []cli.Flag {
	return append(more,
		&cli.StringFlag{Name: "type", Usage: "only what has the data `TYPE`: DWORD, STRING, BINARY, EXPANDSZ or MULTISZ", DefaultText: "any"},
		&cli.StringFlag{Name: "user-type", Usage: "only what has the user type `N`, a number or IIS's name for it", DefaultText: "any"},
	)
}

func (s *shell) mbSet() *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "store a value", ArgsUsage: "PATH PROP VALUE...",
		Description: "What is stored there keeps its data type, its attributes and its user type, and so does a number without a name\n" +
			"that is inherited. A property with a name has those of the schema. The options say otherwise, within what the schema\n" +
			"allows. A list may be empty. Before a value that begins with a hyphen stands the word --.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "as the data `TYPE`: DWORD, STRING, BINARY, EXPANDSZ or MULTISZ", DefaultText: "as it is"},
			&cli.StringFlag{Name: "attributes", Usage: "with `ATTRIBUTES` such as 'INHERIT|SECURE', or NO_ATTRIBUTES", DefaultText: "as they are"},
			&cli.StringFlag{Name: "user-type", Usage: "with the user type `N`, a number or IIS's name for it", DefaultText: "as it is"},
		},
		Action: s.takes(1, -1, func(cx *cli.Context) error { return s.change(cx, "set", cx.Args().Slice()...) }),
	}
}

func (s *shell) mbUnset() *cli.Command {
	return &cli.Command{
		Name: "unset", Usage: "remove what is stored there, so that inheritance shows again", ArgsUsage: "PATH PROP",
		Action: s.takes(1, 2, func(cx *cli.Context) error { return s.change(cx, "unset", cx.Args().Slice()...) }),
	}
}

func (s *shell) mbLock(name, usage string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "PATH PROP",
		Description: "A property that is locked at a key cannot be stored below it. It takes the right control to lock one, to change\n" +
			"it while it is locked, and to unlock it. What overrides it already has to be unset before.",
		Action: s.takes(1, 2, func(cx *cli.Context) error { return s.change(cx, name, cx.Args().Slice()...) }),
	}
}

func (s *shell) mbAdd() *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "make a key", ArgsUsage: "PATH",
		Flags: []cli.Flag{&cli.StringFlag{Name: "class", Usage: "of `CLASS`, where its place does not say", DefaultText: "by its place"}},
		Action: s.takes(1, 1, func(cx *cli.Context) error {
			words := []string{"add", "--", cx.Args().First()}
			if class := cx.String("class"); class != "" {
				words = append(words, class)
			}
			q := api.ApplyRequest{Lines: []api.Line{{Words: words}}}
			return ask(cx.Context, s, api.MbApply, q, quiet[api.Applied])
		}),
	}
}

func (s *shell) mbRm() *cli.Command {
	return &cli.Command{
		Name: "rm", Usage: "remove a key", ArgsUsage: "PATH",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "with all below it"},
			&cli.BoolFlag{Name: "children", Usage: "only all below it, and not the key itself"},
		},
		Action: s.takes(1, 1, func(cx *cli.Context) error { return s.change(cx, "rm", cx.Args().First()) }),
	}
}

func (s *shell) mbPair(name, usage string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "SRC DST",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "overwrite", Usage: "onto a key that is there: what comes from SRC wins, what only DST has stays"}},
		Action: s.takes(2, 2, func(cx *cli.Context) error { return s.change(cx, name, cx.Args().Slice()...) }),
	}
}

func (s *shell) mbClear() *cli.Command {
	return &cli.Command{
		Name: "clear", Usage: "remove all that is stored at a key, or a part of it", ArgsUsage: "PATH",
		Description: "The key, its class and the keys below it stay.",
		Flags:       filters(),
		Action:      s.takes(1, 1, func(cx *cli.Context) error { return s.change(cx, "clear", cx.Args().First()) }),
	}
}

func (s *shell) mbCpdata() *cli.Command {
	return &cli.Command{
		Name: "cpdata", Usage: "copy what is stored at a key to another one", ArgsUsage: "SRC DST",
		Description: "DST must be there; what it has of its own stays where nothing comes in its place, and so does its class.",
		Flags: filters(
			&cli.BoolFlag{Name: "move", Usage: "and remove it from SRC"},
			&cli.StringFlag{Name: "attributes", Usage: "only what has all of `ATTRIBUTES`; with INHERIT also what SRC inherits", DefaultText: "any"},
		),
		Action: s.takes(2, 2, func(cx *cli.Context) error { return s.change(cx, "cpdata", cx.Args().Slice()...) }),
	}
}

func (s *shell) mbTouch() *cli.Command {
	return &cli.Command{
		Name: "touch", Usage: "set the time of a key's last change", ArgsUsage: "PATH [TIME]",
		Description: "TIME is written as 2026-01-31T12:00:00Z; without it, it is now.",
		Action:      s.takes(1, 2, func(cx *cli.Context) error { return s.change(cx, "touch", cx.Args().Slice()...) }),
	}
}

// oneLine prints a value on one line: strings of a list that have blanks in
// quotes, so that each is seen for one.
func oneLine(value any, texts []string) string {
	switch list, ok := value.([]any); {
	case !ok:
		return strings.Join(texts, " ")
	case len(list) == 0:
		return ""
	}
	return quoted(texts)
}

// quoted joins strings, with quotes around those that would be taken for
// several.
func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		if out[i] = s; s == "" || strings.ContainsAny(s, " \t'\"") {
			out[i] = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}
