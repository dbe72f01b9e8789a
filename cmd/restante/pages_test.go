// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/scriptcalls"
	"restante/cmd/restante/internal/cmdline"
)

// exitCodes explains the exit codes, by number.
func exitCodes() []string {
	return []string{
		"done", "it failed", "the call is wrong: an unknown command or option, or the number of arguments",
		"there is no such key, property, site, domain, account or message",
		"refused by a check, which lists every problem, or by a conflict", "the service is needed and does not run",
	}
}

// pages returns the generated documentation by file name below docs.
func pages(app *urfave.App) map[string]string {
	out := map[string]string{"commands.md": markdown(app), "man/restante.1": manual(app), "lua/modules.md": modulesPage(), "lua/restante.d.lua": definitions()}
	for _, c := range app.Commands {
		if len(c.Subcommands) > 0 {
			out["man/restante-"+c.Name+".1"] = groupManual(c)
		}
	}
	return out
}

// walkCommands calls do for every command that is not hidden, and not for groups.
func walkCommands(commands []*urfave.Command, prefix string, do func(path string, c *urfave.Command)) {
	for _, c := range commands {
		switch path := strings.TrimSpace(prefix + " " + c.Name); {
		case c.Hidden:
		case len(c.Subcommands) > 0:
			walkCommands(c.Subcommands, path, do)
		default:
			do(path, c)
		}
	}
}

func modulesPage() string {
	var b strings.Builder
	b.WriteString(`# Modules

Generated from the table of functions by ` + "`make docs`" + `.

What the commands do, a script does by these functions, over the same calls and with the same checks. The fields of a request go into a
table, ` + "`site.create{name = \"Two\", bind = {\"127.0.0.1:2525\"}}`" + `, and those under *arguments* by position, too: ` + "`site.show(1)`" + `. An answer is a table with
the names of ` + "`restante --json`" + `. An error begins as that of the command and ends with its kind in parentheses: ` + "`failed`, `usage`, `not_found`,\n`refused` or `no_service`" + `.

` + "`metabase.set`, `unset`, `add`, `rm`, `cp`, `mv` and `apply`" + ` make batches: a dry run shows them, and a transaction takes them. Other functions that
change something are errors within a transaction. In a dry run those with a field ` + "`dry_run`" + ` are only tried, and those without are errors;
` + "`metabase.revert`, `import` and `restore`" + ` are errors, too, after a change, as what they do depends on the whole tree.
An empty list is ` + "`json.array()`" + `.
`)
	module := ""
	for _, f := range scriptcalls.Functions() {
		if f.Module != module {
			module = f.Module
			fmt.Fprintf(&b, "\n## %s\n\n| function | arguments | other fields | does | gives |\n|---|---|---|---|---|\n", module)
		}
		var others []string
		for _, name := range f.Fields {
			if !slices.Contains(f.Args, name) && !slices.Contains(f.Args, name+"...") {
				others = append(others, name)
			}
		}
		gives := strings.Join(f.Answer, ", ")
		if f.Many {
			gives = "a list of: " + gives
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Path(), strings.Join(f.Args, ", "), strings.Join(others, ", "), f.Does, gives)
	}
	return b.String()
}

func markdown(app *urfave.App) string {
	var b strings.Builder
	b.WriteString("# Commands\n\nGenerated from the definitions of the commands by `make docs`; `restante help COMMAND` prints the same.\n\n## Options\n\nThey may stand before or after the command, and apply to every command.\n\n")
	mdOptions(&b, app.Flags)
	b.WriteString("\n## Exit codes\n\n| code | means |\n|---|---|\n")
	for i, text := range exitCodes() {
		fmt.Fprintf(&b, "| %d | %s |\n", i, text)
	}
	b.WriteString("\n## Characters\n\nA control, bidirectional or other invisible character, and an octet that is not UTF-8, is printed as an escape such as `\\x1b` or\n`\\u202e`, in answers, errors and the log. A value (`mb get`), a message (`queue show --body`), an export and what a script\nprints are written to the octet, unless standard output is a terminal. With `--json` the answer is JSON as it is.\n")
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.Name, upper(c.Usage))
		if c.Description != "" {
			fmt.Fprintf(&b, "\n%s\n", mdText(c.Description))
		}
		if len(c.Subcommands) == 0 {
			mdCommand(&b, c.Name, c)
			continue
		}
		walkCommands(c.Subcommands, c.Name, func(path string, c *urfave.Command) {
			fmt.Fprintf(&b, "\n### %s\n\n%s.\n", path, upper(c.Usage))
			if c.Description != "" {
				fmt.Fprintf(&b, "\n%s\n", mdText(c.Description))
			}
			mdCommand(&b, path, c)
		})
	}
	return b.String()
}

func mdCommand(b *strings.Builder, path string, c *urfave.Command) {
	fmt.Fprintf(b, "\n    restante %s\n", cmdline.Synopsis(path, c))
	if len(c.Flags) > 0 {
		b.WriteString("\n")
		mdOptions(b, c.Flags)
	}
}

func mdOptions(b *strings.Builder, flags []urfave.Flag) {
	b.WriteString("| option | does |\n|---|---|\n")
	for _, f := range flags {
		name, usage := cmdline.Option(f)
		fmt.Fprintf(b, "| `%s` | %s |\n", name, mdText(usage))
	}
}

// mdText escapes markup.
func mdText(s string) string {
	return strings.NewReplacer("<", "&lt;", "|", `\|`, "*", `\*`, "_", `\_`).Replace(s)
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// roff keeps text from being taken for requests and escapes.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	var b strings.Builder
	for line := range strings.Lines(s) {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			b.WriteString(`\&`)
		}
		b.WriteString(line)
	}
	return b.String()
}

func manual(app *urfave.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH RESTANTE 1\n.SH NAME\nrestante \\- %s\n.SH SYNOPSIS\n.B restante\n[OPTION]... COMMAND [ARG]...\n.SH COMMANDS\n", roff(app.Usage))
	for _, c := range app.Commands {
		switch {
		case c.Hidden:
		case len(c.Subcommands) > 0:
			fmt.Fprintf(&b, ".TP\n.B %s\n%s; see\n.BR restante\\-%s (1)\n", roff(c.Name), roff(c.Usage), c.Name)
		default:
			manCommand(&b, c.Name, c)
		}
	}
	b.WriteString(".SH OPTIONS\n")
	manOptions(&b, app.Flags)
	b.WriteString(".SH EXIT STATUS\n")
	for i, text := range exitCodes() {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", i, roff(text))
	}
	return b.String()
}

func groupManual(group *urfave.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH RESTANTE\\-%s 1\n.SH NAME\nrestante\\-%s \\- %s\n.SH SYNOPSIS\n.B restante %s\nCOMMAND [ARG]...\n",
		strings.ToUpper(group.Name), group.Name, roff(group.Usage), group.Name)
	if group.Description != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(group.Description))
	}
	b.WriteString(".SH COMMANDS\n")
	walkCommands(group.Subcommands, group.Name, func(path string, c *urfave.Command) { manCommand(&b, path, c) })
	b.WriteString(".SH SEE ALSO\n.BR restante (1)\n")
	return b.String()
}

func manCommand(b *strings.Builder, path string, c *urfave.Command) {
	fmt.Fprintf(b, ".TP\n.B restante %s\n%s.\n", roff(cmdline.Synopsis(path, c)), roff(upper(c.Usage)))
	if c.Description != "" {
		fmt.Fprintf(b, "%s\n", roff(c.Description))
	}
	if len(c.Flags) > 0 {
		b.WriteString(".RS\n")
		manOptions(b, c.Flags)
		b.WriteString(".RE\n")
	}
}

func manOptions(b *strings.Builder, flags []urfave.Flag) {
	for _, f := range flags {
		name, usage := cmdline.Option(f)
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(usage))
	}
}
