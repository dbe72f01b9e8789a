// SPDX-License-Identifier: Apache-2.0

package cmdline

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"
)

// A Help is what help prints of a command, as JSON.
type Help struct {
	Command     string       `json:"command"`
	Summary     string       `json:"summary"`
	Usage       string       `json:"usage"`
	Description string       `json:"description,omitempty"`
	Options     []OptionText `json:"options"`
	Commands    []Help       `json:"commands,omitempty"`
}

type OptionText struct {
	Option  string `json:"option"`
	Meaning string `json:"meaning"`
}

// HelpOfAll is the help without a command.
func HelpOfAll(app *urfave.App) Help {
	return Help{Summary: app.Usage, Usage: "[OPTION]... COMMAND [ARG]...", Options: optionTexts(app.Flags), Commands: helpTexts("", app.Commands)}
}

// HelpOf is the help of one command.
func HelpOf(path string, cmd *urfave.Command) Help {
	return Help{path, cmd.Usage, Synopsis(path, cmd), cmd.Description, optionTexts(cmd.Flags), helpTexts(path, cmd.Subcommands)}
}

func helpTexts(path string, commands []*urfave.Command) (out []Help) {
	for _, cmd := range commands {
		if !cmd.Hidden {
			out = append(out, HelpOf(strings.TrimSpace(path+" "+cmd.Name), cmd))
		}
	}
	return out
}

func optionTexts(flags []urfave.Flag) []OptionText {
	out := make([]OptionText, len(flags))
	for i, f := range flags {
		out[i].Option, out[i].Meaning = Option(f)
	}
	return out
}

// Overview prints the commands of app.
func Overview(out io.Writer, app *urfave.App) error {
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

// Explain prints the help of one command.
func Explain(out io.Writer, path string, c *urfave.Command) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "restante %s: %s\n\nusage: restante %s\n", path, c.Usage, Synopsis(path, c))
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
		name, usage := Option(f)
		fmt.Fprintf(w, "  %s\t%s\n", name, usage)
	}
}

// Synopsis is a command's own line.
func Synopsis(path string, c *urfave.Command) string {
	switch {
	case len(c.Subcommands) > 0:
		return path + " COMMAND [ARG]..."
	case len(c.Flags) > 0 && OptionsFirst(path):
		return path + " [OPTION]... " + c.ArgsUsage
	case len(c.Flags) > 0 && c.ArgsUsage != "":
		return path + " " + c.ArgsUsage + " [OPTION]..."
	case len(c.Flags) > 0:
		return path + " [OPTION]..."
	}
	return strings.TrimSpace(path + " " + c.ArgsUsage)
}

// Option is a flag with the name of its value, and what it does.
func Option(f urfave.Flag) (name, usage string) {
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
