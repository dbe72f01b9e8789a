// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/admin"
	"restante/admin/api"
	"restante/cmd/restante/internal/batch"
	"restante/cmd/restante/internal/cmdline"
	"restante/cmd/restante/internal/words"
	"restante/metabase"
	"restante/metabase/schema"
)

// applyFlags makes a batch of one operation: the verb, the options of the call
// that are set, and after "--" its arguments.
func (c *cli) applyFlags(cx *urfave.Context, verb string) error {
	line := []string{verb}
	for _, f := range cx.Command.Flags {
		name := f.Names()[0]
		switch {
		case name == confirmFlag || name == ifRevFlag || name == waitingFlag: // of the call, not of the line
		case cmdline.IsBool(f) && cx.Bool(name):
			line = append(line, "--"+name)
		case !cmdline.IsBool(f) && cx.IsSet(name):
			line = append(line, "--"+name, cx.String(name))
		}
	}
	return c.applyOne(cx, append(append(line, "--"), cx.Args().Slice()...)...)
}

// applyOne makes a batch of one operation.
func (c *cli) applyOne(cx *urfave.Context, args ...string) error {
	line, err := batch.InlineFile(api.Line{Words: args})
	if err != nil {
		return err
	}
	q := api.ApplyRequest{Lines: []api.Line{line}}
	return change(cx.Context, c, api.MbApply, q, func(w table, a api.Applied) {
		did := args[0] + " " + describeChange(args[0], cx.Args().Slice(), a.Changes)
		if a.Made {
			w.printf("revision %d: %s\n", a.Rev, did)
		} else {
			w.printf("%s; the tree stays at revision %d\n", did, a.Rev)
		}
	})
}

// describeChange names what an operation was about, with the paths as the tree
// has them. The value of set may be secret: it is shown as the answer has it, and
// never as it was given.
func describeChange(verb string, args []string, changes []api.Change) string {
	ofProperty := slices.Contains([]string{"set", "unset", "lock", "unlock"}, verb)
	if ofProperty && len(changes) == 1 && changes[0].Property != "" {
		one := changes[0]
		text := string(one.Path.Join(one.Property))
		if verb == "set" {
			text += " " + words.OneLine(one.New, one.NewText)
		}
		return strings.TrimSpace(text)
	}
	shown, paths := slices.Clone(args), 1
	switch {
	case ofProperty: // without the value, which PATH/PROP in one word comes before
		shown = args[:1]
		if _, oneWord := schema.IIS().Property(path.Base(args[0])); !oneWord && len(args) > 1 {
			shown = []string{args[0] + "/" + args[1]}
		}
	case verb == "cp", verb == "mv", verb == "cpdata":
		paths = 2
	}
	for i := range shown[:min(paths, len(shown))] {
		shown[i] = canonicalPath(shown[i], changes)
	}
	return strings.Join(shown, " ")
}

// canonicalPath is a path as the changes spell it, or as it would be.
func canonicalPath(word string, changes []api.Change) string {
	p, err := admin.ParsePath(word)
	if err != nil {
		return word
	}
	for _, c := range changes {
		for _, q := range []metabase.Path{c.Path, c.To} {
			if q.Equal(p) {
				return string(q)
			}
		}
	}
	return string(p)
}

// filterFlags are the options that pick items.
func filterFlags(more ...urfave.Flag) []urfave.Flag {
	return append(more,
		&urfave.StringFlag{Name: "type", Usage: "pick items of the data `TYPE`: DWORD, STRING, BINARY, EXPANDSZ or MULTISZ", DefaultText: "any"},
		&urfave.StringFlag{Name: "user-type", Usage: "pick items of the user type `N`, a number or IIS's name for it", DefaultText: "any"},
	)
}

func (c *cli) mbSet() *urfave.Command {
	return &urfave.Command{
		Name: "set", Usage: "store a value", ArgsUsage: "PATH PROP VALUE...",
		Description: "What is stored there keeps its data type, its attributes and its user type, and so does a number without a name\n" +
			"that is inherited. A property with a name has those of the schema. The options say otherwise, within what the schema\n" +
			"allows. A list may be empty. Before a value that begins with a hyphen stands the word --.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "type", Usage: "store it as the data `TYPE`: DWORD, STRING, BINARY, EXPANDSZ or MULTISZ", DefaultText: "as it is"},
			&urfave.StringFlag{Name: "attributes", Usage: "store it with `ATTRIBUTES` such as 'INHERIT|SECURE', or NO_ATTRIBUTES", DefaultText: "as they are"},
			&urfave.StringFlag{Name: "user-type", Usage: "store it with the user type `N`, a number or IIS's name for it", DefaultText: "as it is"},
		},
		Action: c.withArgs(1, -1, func(cx *urfave.Context) error { return c.applyFlags(cx, "set") }),
	}
}

func (c *cli) mbUnset() *urfave.Command {
	return &urfave.Command{
		Name: "unset", Usage: "remove a stored value, so that the inherited one holds", ArgsUsage: "PATH PROP",
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error { return c.applyFlags(cx, "unset") }),
	}
}

func (c *cli) mbLock(name, usage string) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "PATH PROP",
		Description: "A property that is locked at a key cannot be stored below it. It takes the right control to lock one, to change\n" +
			"it while it is locked, and to unlock it. What overrides it already has to be unset before.",
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error { return c.applyFlags(cx, name) }),
	}
}

func (c *cli) mbAdd() *urfave.Command {
	return &urfave.Command{
		Name: "add", Usage: "create a key", ArgsUsage: "PATH [CLASS]",
		Flags: []urfave.Flag{&urfave.StringFlag{Name: "class", Usage: "give it the class `CLASS`", DefaultText: "by its place"}},
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error {
			line := append([]string{"add", "--"}, cx.Args().Slice()...)
			if class := cx.String("class"); class != "" {
				if cx.NArg() == 2 && !strings.EqualFold(class, cx.Args().Get(1)) {
					return c.usage("--class says another class than the second word")
				}
				line = append(line[:3], class)
			}
			return c.applyOne(cx, line...)
		}),
	}
}

func (c *cli) mbRm() *urfave.Command {
	return &urfave.Command{
		Name: "rm", Usage: "remove a key", ArgsUsage: "PATH",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "recursive", Aliases: []string{"r"}, Usage: "also remove all keys below it"},
			&urfave.BoolFlag{Name: "children", Usage: "remove only the keys below it"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			return hintUnset(c.applyFlags(cx, "rm"), cx.Args().First())
		}),
	}
}

// hintUnset names the command that removes a property where the path of a key
// that is not there ends in one's name.
func hintUnset(err error, word string) error {
	at := strings.TrimRight(word, "/")
	prop, known := schema.IIS().Property(path.Base(at))
	if err == nil || api.AsError(err).Kind != api.KindNotFound || !known || prop.Name == "" || !strings.Contains(at, "/") {
		return err
	}
	hinted := *api.AsError(err)
	hinted.Hint = "mb unset " + words.Quoted([]string{path.Dir(at)}) + " " + prop.Name
	return &hinted
}

func (c *cli) mbPair(name, usage string) *urfave.Command {
	return &urfave.Command{
		Name: name, Usage: usage, ArgsUsage: "SRC DST",
		Flags:  []urfave.Flag{&urfave.BoolFlag{Name: "overwrite", Usage: "merge into an existing key: values of SRC win, others of DST stay"}},
		Action: c.withArgs(2, 2, func(cx *urfave.Context) error { return c.applyFlags(cx, name) }),
	}
}

func (c *cli) mbClear() *urfave.Command {
	return &urfave.Command{
		Name: "clear", Usage: "remove all values that are stored at a key", ArgsUsage: "PATH",
		Description: "The key, its class and the keys below it stay.",
		Flags:       filterFlags(),
		Action:      c.withArgs(1, 1, func(cx *urfave.Context) error { return c.applyFlags(cx, "clear") }),
	}
}

func (c *cli) mbCpdata() *urfave.Command {
	return &urfave.Command{
		Name: "cpdata", Usage: "copy the values that are stored at a key to another", ArgsUsage: "SRC DST",
		Description: "DST must exist. Its class stays, and so do its values that SRC does not have.",
		Flags: filterFlags(
			&urfave.BoolFlag{Name: "move", Usage: "remove them from SRC"},
			&urfave.StringFlag{Name: "attributes", Usage: "pick items with all of `ATTRIBUTES`; with INHERIT also what SRC inherits", DefaultText: "any"},
		),
		Action: c.withArgs(2, 2, func(cx *urfave.Context) error { return c.applyFlags(cx, "cpdata") }),
	}
}

func (c *cli) mbTouch() *urfave.Command {
	return &urfave.Command{
		Name: "touch", Usage: "set the time of a key's last change", ArgsUsage: "PATH [TIME]",
		Description: "TIME is written as 2026-01-31T12:00:00Z; without it, it is now.",
		Action:      c.withArgs(1, 2, func(cx *urfave.Context) error { return c.applyFlags(cx, "touch") }),
	}
}
