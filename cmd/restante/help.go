// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"
)

// version is what the build says of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func (c *cli) versionCommand() *urfave.Command {
	return &urfave.Command{
		Name: "version", Usage: "print the version",
		Action: c.withArgs(0, 0, func(*urfave.Context) error {
			_, err := fmt.Fprintln(c.out, version())
			return err
		}),
	}
}

func (c *cli) helpCommand() *urfave.Command {
	return &urfave.Command{
		Name: "help", Usage: "explain a command", ArgsUsage: "[COMMAND]...",
		Action: c.withArgs(0, -1, func(cx *urfave.Context) error { return c.help(cx.App, cx.Args().Slice()) }),
	}
}

// help prints what there is to know of the command that path names.
func (c *cli) help(app *urfave.App, path []string) error {
	if len(path) == 0 {
		return overview(c.out, app)
	}
	commands := app.Commands
	var cmd *urfave.Command
	for _, word := range path {
		if cmd = findCommand(commands, word); cmd == nil {
			return c.noCommand(commands, word)
		}
		commands = cmd.Subcommands
	}
	return explain(c.out, strings.Join(path, " "), cmd)
}

func overview(out io.Writer, app *urfave.App) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "restante: %s\n\nusage: restante [OPTION]... COMMAND [ARG]...\n\ncommands:\n", app.Usage)
	for _, c := range app.Commands {
		if !c.Hidden {
			fmt.Fprintf(w, "  %s\t%s\n", c.Name, c.Usage)
		}
	}
	fmt.Fprint(w, "\noptions, before the command:\n")
	options(w, app.Flags)
	fmt.Fprint(w, "\nrestante help COMMAND tells more.\n")
	return w.Flush()
}

func explain(out io.Writer, path string, c *urfave.Command) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "restante %s: %s\n\nusage: restante %s\n", path, c.Usage, synopsis(path, c))
	if c.Description != "" {
		fmt.Fprintf(w, "\n%s\n", c.Description)
	}
	if len(c.Subcommands) > 0 {
		fmt.Fprint(w, "\ncommands:\n")
		for _, sub := range c.Subcommands {
			fmt.Fprintf(w, "  %s\t%s\n", strings.TrimSpace(sub.Name+" "+sub.ArgsUsage), sub.Usage)
		}
	}
	if len(c.Flags) > 0 {
		fmt.Fprint(w, "\noptions:\n")
		options(w, c.Flags)
	}
	return w.Flush()
}

func options(w io.Writer, flags []urfave.Flag) {
	for _, f := range flags {
		name, usage := option(f)
		fmt.Fprintf(w, "  %s\t%s\n", name, usage)
	}
}

// synopsis is a command's own line.
func synopsis(path string, c *urfave.Command) string {
	switch {
	case len(c.Subcommands) > 0:
		return path + " COMMAND [ARG]..."
	case len(c.Flags) > 0 && c.Name == "run":
		return path + " [OPTION]... " + c.ArgsUsage // what follows is the script's
	case len(c.Flags) > 0 && c.ArgsUsage != "":
		return path + " " + c.ArgsUsage + " [OPTION]..."
	case len(c.Flags) > 0:
		return path + " [OPTION]..."
	}
	return strings.TrimSpace(path + " " + c.ArgsUsage)
}

// option is a flag with the name of its value, and what it does.
func option(f urfave.Flag) (name, usage string) {
	name = "--" + f.Names()[0]
	doc, ok := f.(urfave.DocGenerationFlag)
	if !ok {
		return name, ""
	}
	value, usage := unquote(doc.GetUsage())
	if doc.TakesValue() {
		if value == "" {
			value = "VALUE"
		}
		name += " " + value
	}
	if text := doc.GetDefaultText(); doc.TakesValue() && text != "" && text != `""` {
		usage += " (default " + strings.Trim(text, `"`) + ")"
	}
	if env := doc.GetEnvVars(); len(env) > 0 {
		usage += " (environment " + strings.Join(env, ", ") + ")"
	}
	return name, usage
}

// unquote takes the name between back quotes out of a flag's usage.
func unquote(usage string) (name, rest string) {
	before, after, ok := strings.Cut(usage, "`")
	if !ok {
		return "", usage
	}
	name, after, _ = strings.Cut(after, "`")
	return name, before + name + after
}
