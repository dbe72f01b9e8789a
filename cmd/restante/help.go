// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"restante/cmd/restante/internal/cmdline"

	urfave "github.com/urfave/cli/v2"
)

func (c *cli) helpCommand() *urfave.Command {
	return &urfave.Command{
		Name: "help", Usage: "explain a command", ArgsUsage: "[COMMAND]...",
		Action: c.withArgs(0, -1, func(cx *urfave.Context) error { return c.help(cx.App, cx.Args().Slice()) }),
	}
}

// help explains the command that path names, and with no path all of them.
func (c *cli) help(app *urfave.App, path []string) error {
	commands, cmd := app.Commands, (*urfave.Command)(nil)
	for i, word := range path {
		if cmd = cmdline.FindCommand(commands, word); cmd == nil {
			c.path = strings.Join(path[:i], " ")
			return c.noCommand(commands, word)
		}
		commands = cmd.Subcommands
	}
	var err error
	switch name := strings.Join(path, " "); {
	case c.json && cmd == nil:
		err = c.answerOwn(helpText{Summary: app.Usage, Usage: "[OPTION]... COMMAND [ARG]...",
			Options: optionTexts(app.Flags), Commands: helpTexts("", commands)}, nil)
	case c.json:
		err = c.answerOwn(helpOf(name, cmd), nil)
	case cmd == nil:
		err = overview(c.out, app)
	default:
		err = explain(c.out, name, cmd)
	}
	return err
}

// A helpText is what help prints of a command, as JSON.
type helpText struct {
	Command     string       `json:"command"`
	Summary     string       `json:"summary"`
	Usage       string       `json:"usage"`
	Description string       `json:"description,omitempty"`
	Options     []optionText `json:"options"`
	Commands    []helpText   `json:"commands,omitempty"`
}

type optionText struct {
	Option  string `json:"option"`
	Meaning string `json:"meaning"`
}

func helpOf(path string, cmd *urfave.Command) helpText {
	return helpText{path, cmd.Usage, synopsis(path, cmd), cmd.Description, optionTexts(cmd.Flags), helpTexts(path, cmd.Subcommands)}
}

func helpTexts(path string, commands []*urfave.Command) (out []helpText) {
	for _, cmd := range commands {
		if !cmd.Hidden {
			out = append(out, helpOf(strings.TrimSpace(path+" "+cmd.Name), cmd))
		}
	}
	return out
}

func optionTexts(flags []urfave.Flag) []optionText {
	out := make([]optionText, len(flags))
	for i, f := range flags {
		out[i].Option, out[i].Meaning = option(f)
	}
	return out
}

func overview(out io.Writer, app *urfave.App) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "restante: %s\n\nusage: restante [OPTION]... COMMAND [ARG]...\n\ncommands:\n", app.Usage)
	for _, c := range app.Commands {
		if !c.Hidden {
			fmt.Fprintf(w, "  %s\t%s\n", c.Name, c.Usage)
		}
	}
	fmt.Fprint(w, "\noptions of every command:\n")
	options(w, app.Flags)
	fmt.Fprint(w, "\nSee restante help COMMAND for more.\n")
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
	if len(c.Subcommands) > 0 {
		fmt.Fprintf(w, "\nSee restante help %s COMMAND for more.\n", path)
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
	case len(c.Flags) > 0 && cmdline.OptionsFirst(path):
		return path + " [OPTION]... " + c.ArgsUsage
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
