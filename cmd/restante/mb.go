// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/cmd/restante/internal/explained"
	"restante/cmd/restante/internal/visible"
	"restante/cmd/restante/internal/words"
	"restante/metabase"
	"restante/metabase/schema"
)

func (c *cli) mbCommand() *urfave.Command {
	return &urfave.Command{
		Name: "mb", Usage: "look at the metabase and change it",
		Description: "PATH is a path of the metabase such as /LM/SMTPSVC/1, in any case; the leading /LM may be left out.\n" +
			"PROP is a property's name or number. PATH/PROP in one word means the same.\n" +
			"Values: numbers decimal or 0x hex, true or false, text as it is, lists as one argument per string,\n" +
			"BINARY as hexadecimal digits or @FILE; flags also by names: RouteAction etrn_cmd,smarthost.",
		Subcommands: []*urfave.Command{
			c.mbGet(), c.mbSet(), c.mbUnset(), c.mbLock("lock", "forbid keys below to override a stored value"),
			c.mbLock("unlock", "allow keys below to override it again"), c.mbLs(), c.mbTree(), c.mbShow(),
			c.mbAdd(), c.mbRm(), c.mbPair("cp", "copy a key with all below it"), c.mbPair("mv", "move or rename a key with all below it"),
			c.mbClear(), c.mbCpdata(), c.mbTouch(), c.mbFind(), c.mbApply(), c.mbConfirm(), c.mbLog(), c.mbDiff(), c.mbRevert(), c.mbWatch(),
			c.mbExport(), c.mbImport(), c.mbBackup(), c.mbBackups(), c.mbRestore(), c.mbSchema(), c.mbVerify(),
		},
	}
}

func (c *cli) mbGet() *urfave.Command {
	return &urfave.Command{
		Name: "get", Usage: "print the effective value of a property", ArgsUsage: "PATH PROP",
		Description: "Where a value has the attribute INSERT_PATH, its token <%INSERT_PATH%> is printed as the path of the key that holds\n" +
			"the value; with --stored it stays.",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "stored", Usage: "only the value that is stored there"},
			&urfave.BoolFlag{Name: "default", Usage: "only the schema's default"},
			&urfave.BoolFlag{Name: "from", Usage: "also the key that it comes from, and who set it"},
			&urfave.BoolFlag{Name: "partial", Usage: "where there is no key PATH, use the deepest existing key above it"},
			&urfave.Uint64Flag{Name: "rev", Usage: "print the value as of `REVISION`", DefaultText: "now"},
		},
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error {
			if cx.Bool("stored") && cx.Bool("default") {
				return c.usage("--stored and --default exclude each other")
			}
			q := api.GetRequest{
				Words: cx.Args().Slice(), Stored: cx.Bool("stored"), Default: cx.Bool("default"), Partial: cx.Bool("partial"),
			}
			if cx.IsSet("rev") {
				q.Rev = new(metabase.Rev(cx.Uint64("rev")))
			}
			return call(cx.Context, c, api.MbGet, q, func(_ table, it api.Item) {
				for _, text := range it.Text {
					fmt.Fprintln(c.verbatimLines(), text)
				}
				if cx.Bool("from") {
					fmt.Fprintln(c.out, visible.Line("from "+origin(it)))
				}
			})
		}),
	}
}

// origin says where a value comes from.
func origin(it api.Item) string {
	text := string(it.From)
	if it.Level == api.LevelDefault {
		return "the schema's default"
	}
	if it.Locked {
		text += ", locked"
	}
	return text + explained.Made(it.Made)
}

func (c *cli) mbLs() *urfave.Command {
	return &urfave.Command{
		Name: "ls", Usage: "list the keys directly below a key", ArgsUsage: "[PATH]",
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			q := api.ListRequest{Path: pathOrRoot(cx), Data: c.json}
			return list(cx.Context, c, api.MbList, q, "there are no keys below "+q.Path, func(w table, k api.Key) {
				w.printf("%s\n", k.Name)
			})
		}),
	}
}

// pathOrRoot is the PATH argument, or /LM.
func pathOrRoot(cx *urfave.Context) string {
	if cx.NArg() == 0 {
		return "/LM"
	}
	return cx.Args().First()
}

func (c *cli) mbTree() *urfave.Command {
	return &urfave.Command{
		Name: "tree", Usage: "list a key with all below it", ArgsUsage: "[PATH]",
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			q := api.ListRequest{Path: pathOrRoot(cx), Deep: true, Data: c.json}
			top := -1 // the depth of the first key, which is printed in full
			return list(cx.Context, c, api.MbList, q, "there is no key "+q.Path, func(w table, k api.Key) {
				name, depth := k.Name, strings.Count(string(k.Path), "/")
				if top < 0 {
					name, top = string(k.Path), depth
				}
				w.printf("%s%s\t%s\n", strings.Repeat("  ", depth-top), name, k.Class)
			})
		}),
	}
}

func (c *cli) mbShow() *urfave.Command {
	return &urfave.Command{
		Name: "show", Usage: "print the properties stored at a key", ArgsUsage: "PATH",
		Flags: []urfave.Flag{
			&urfave.BoolFlag{Name: "all", Usage: "also print inherited values and defaults, each with its origin"},
			&urfave.BoolFlag{Name: "attributes", Usage: "also print data type, attributes and user type"},
		},
		Action: c.withArgs(1, 1, func(cx *urfave.Context) error {
			q := api.ShowRequest{Path: cx.Args().First(), All: cx.Bool("all")}
			return list(cx.Context, c, api.MbShow, q, "no properties are stored at "+q.Path, func(w table, it api.Item) {
				printItem(w, it, cx.Bool("attributes"), q.All)
			})
		}),
	}
}

// printItem prints a property, one line per string of a list.
func printItem(w table, it api.Item, attributes, from bool) {
	texts := it.Text
	if len(texts) == 0 {
		texts = []string{""}
	}
	for i, text := range texts {
		name := it.Property
		if i > 0 {
			name = ""
		}
		w.printf("%s\t%s", name, text)
		if attributes && i == 0 {
			w.printf("\t%s\t%s\tuser type %s", it.Type, it.Attributes, schema.UserTypeText(it.UserType))
		}
		if from && i == 0 {
			w.printf("\t%s", origin(it))
		}
		w.printf("\n")
	}
}

func (c *cli) mbFind() *urfave.Command {
	return &urfave.Command{
		Name: "find", Usage: "list where a property is stored", ArgsUsage: "PROP [PATH]",
		Flags: []urfave.Flag{&urfave.BoolFlag{Name: "inheritable", Usage: "list only values that keys below inherit"}},
		Action: c.withArgs(1, 2, func(cx *urfave.Context) error {
			q := api.FindRequest{Property: cx.Args().First(), Path: cx.Args().Get(1), Inheritable: cx.Bool("inheritable")}
			return list(cx.Context, c, api.MbFind, q, q.Property+" is stored nowhere there", func(w table, it api.Item) {
				w.printf("%s\t%s\n", it.Path, words.OneLine(it.Value, it.Text))
			})
		}),
	}
}

func (c *cli) mbSchema() *urfave.Command {
	return &urfave.Command{
		Name: "schema", Usage: "explain a class or a property", ArgsUsage: "[CLASS|PROP]",
		Action: c.withArgs(0, 1, func(cx *urfave.Context) error {
			q := api.SchemaRequest{Name: cx.Args().First()}
			return call(cx.Context, c, api.MbSchema, q, func(w table, all []api.Description) {
				for _, c := range all {
					if q.Name != "" {
						w.text(c.Text + "\n")
						continue
					}
					w.printf("%s\t%s\t%s\n", c.Kind, c.Name, c.Meaning)
				}
			})
		}),
	}
}

func (c *cli) mbVerify() *urfave.Command {
	return &urfave.Command{
		Name: "verify", Usage: "check the store for damage",
		Action: c.withArgs(0, 0, func(cx *urfave.Context) error {
			return call(cx.Context, c, api.MbVerify, struct{}{}, func(w table, v api.Verified) {
				w.printf("whole: revision %d, %s\n", v.Rev, words.Plural(v.Keys, "key"))
			})
		}),
	}
}
