// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
)

// applyOne makes a batch of one operation: the verb, the options of the call
// that are set, and after "--" its arguments.
func (c *cli) applyOne(cx *urfave.Context, verb string, args ...string) error {
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
	line, err := inlineFile(api.Line{Words: words})
	if err != nil {
		return err
	}
	q := api.ApplyRequest{Lines: []api.Line{line}}
	return call(cx.Context, c, api.MbApply, q, quiet[api.Applied])
}

// filterFlags are the options that say which items are meant.
func filterFlags(more ...urfave.Flag) []urfave.Flag {
	return append(more,
		&urfave.StringFlag{Name: "type", Usage: "only what has the data `TYPE`: DWORD, STRING, BINARY, EXPANDSZ or MULTISZ", DefaultText: "any"},
		&urfave.StringFlag{Name: "user-type", Usage: "only what has the user type `N`, a number or IIS's name for it", DefaultText: "any"},
	)
}

func (c *cli) mbSet() *urfave.Command {
	return &urfave.Command{
		Name: "set", Usage: "store a value", ArgsUsage: "PATH PROP VALUE...",
		Description: "What is stored there keeps its data type, its attributes and its user type, and so does a number without a name\n" +
			"that is inherited. A property with a name has those of the schema. The options say otherwise, within what the schema\n" +
			"allows. A list may be empty. Before a value that begins with a hyphen stands the word --.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "type", Usage: "as the data `TYPE`: DWORD, STRING, BINARY, EXPANDSZ or MULTISZ", DefaultText: "as it is"},
			&urfave.StringFlag{Name: "attributes", Usage: "with `ATTRIBUTES` such as 'INHERIT|SECURE', or NO_ATTRIBUTES", DefaultText: "as they are"},
			&urfave.StringFlag{Name: "user-type", Usage: "with the user type `N`, a number or IIS's name for it", DefaultText: "as it is"},
		},
		Action: c.withArgs(1, -1, func(cx *urfave.Context) error { return c.applyOne(cx, "set", cx.Args().Slice()...) }),
	}
}

func (c *cli) mbUnset() *urfave.Command {
	return &urfave.Command{
		Name: "unset", Usage: "remove what is stored there, so that inheritance shows again", ArgsUsage: "PATH PROP",
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error { return c.applyOne(cx, "unset", cx.Args().Slice()...) }),
	}
}

func (c *cli) mbLock(name, usage string) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "PATH PROP",
		Description: "A property that is locked at a key cannot be stored below it. It takes the right control to lock one, to change\n" +
			"it while it is locked, and to unlock it. What overrides it already has to be unset before.",
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error { return c.applyOne(cx, name, cx.Args().Slice()...) }),
	}
}

func (c *cli) mbAdd() *urfave.Command {
	return &urfave.Command{
		Name: "add", Usage: "make a key", ArgsUsage: "PATH",
		Flags: []urfave.Flag{&urfave.StringFlag{Name: "class", Usage: "of `CLASS`, where its place does not say", DefaultText: "by its place"}},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			words := []string{"add", "--", cx.Args().First()}
			if class := cx.String("class"); class != "" {
				words = append(words, class)
			}
			q := api.ApplyRequest{Lines: []api.Line{{Words: words}}}
			return call(cx.Context, c, api.MbApply, q, quiet[api.Applied])
		}),
	}
}

func (c *cli) mbRm() *urfave.Command {
	return &urfave.Command{
		Name: "rm", Usage: "remove a key", ArgsUsage: "PATH",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "with all below it"},
			&urfave.BoolFlag{Name: "children", Usage: "only all below it, and not the key itself"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error { return c.applyOne(cx, "rm", cx.Args().First()) }),
	}
}

func (c *cli) mbPair(name, usage string) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "SRC DST",
		Flags:  []urfave.Flag{&urfave.BoolFlag{Name: "overwrite", Usage: "onto a key that is there: what comes from SRC wins, what only DST has stays"}},
		Action: c.withArgs(2, 2, func(cx *urfave.Context) error { return c.applyOne(cx, name, cx.Args().Slice()...) }),
	}
}

func (c *cli) mbClear() *urfave.Command {
	return &urfave.Command{
		Name: "clear", Usage: "remove all that is stored at a key, or a part of it", ArgsUsage: "PATH",
		Description: "The key, its class and the keys below it stay.",
		Flags:       filterFlags(),
		Action:      c.withArgs(1, 1, func(cx *urfave.Context) error { return c.applyOne(cx, "clear", cx.Args().First()) }),
	}
}

func (c *cli) mbCpdata() *urfave.Command {
	return &urfave.Command{
		Name: "cpdata", Usage: "copy what is stored at a key to another one", ArgsUsage: "SRC DST",
		Description: "DST must be there; what it has of its own stays where nothing comes in its place, and so does its class.",
		Flags: filterFlags(
			&urfave.BoolFlag{Name: "move", Usage: "and remove it from SRC"},
			&urfave.StringFlag{Name: "attributes", Usage: "only what has all of `ATTRIBUTES`; with INHERIT also what SRC inherits", DefaultText: "any"},
		),
		Action: c.withArgs(2, 2, func(cx *urfave.Context) error { return c.applyOne(cx, "cpdata", cx.Args().Slice()...) }),
	}
}

func (c *cli) mbTouch() *urfave.Command {
	return &urfave.Command{
		Name: "touch", Usage: "set the time of a key's last change", ArgsUsage: "PATH [TIME]",
		Description: "TIME is written as 2026-01-31T12:00:00Z; without it, it is now.",
		Action:      c.withArgs(1, 2, func(cx *urfave.Context) error { return c.applyOne(cx, "touch", cx.Args().Slice()...) }),
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
