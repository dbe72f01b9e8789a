// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
)

// An invocation is a command line in the order that the library needs: flags before arguments.
type invocation struct {
	args []string
	path []string // the command's words
	data string   // the value of --data, for hints before the flags are read
	help bool
}

// reorderFlags lets flags stand anywhere. What follows "--", what looks like a
// negative number, and all that follows a script's name are arguments.
func reorderFlags(app *urfave.App, args []string) (invocation, error) {
	var l invocation
	var global, own, rest []string
	commands := app.Commands
	var leaf *urfave.Command
	for i := 0; i < len(args); i++ {
		word := args[i]
		if word == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if !isFlag(word) {
			if c := findCommand(commands, word); c != nil && len(rest) == 0 {
				leaf, commands = c, c.Subcommands
				l.path = append(l.path, c.Name)
				continue
			}
			rest = append(rest, word)
			commands = nil
			if leaf != nil && leaf.SkipFlagParsing || slices.Equal(l.path, []string{"run"}) {
				rest = append(rest, args[i+1:]...)
				break
			}
			continue
		}
		if word == "--help" || word == "-h" {
			l.help = true
			continue
		}
		into, f := &own, flagOf(leaf, word)
		if f == nil {
			if f = findFlag(app.Flags, word); f != nil {
				into = &global
			}
		}
		if f == nil {
			return l, unknownFlag(l.path, word)
		}
		*into = append(*into, word)
		if !isBool(f) && !strings.Contains(word, "=") {
			if i++; i == len(args) {
				return l, &api.Error{Kind: api.KindUsage, Text: word + " needs a value", Hint: strings.TrimSpace("help " + strings.Join(l.path, " "))}
			}
			*into = append(*into, args[i])
			if into == &global && f.Names()[0] == "data" {
				l.data = args[i]
			}
		}
	}
	l.args = slices.Concat(global, l.path, own)
	if len(rest) > 0 {
		l.args = append(l.args, "--")
		l.args = append(l.args, rest...)
	}
	return l, nil
}

func unknownFlag(path []string, word string) error {
	return &api.Error{Kind: api.KindUsage, Text: "there is no option " + word, Hint: strings.TrimSpace("help " + strings.Join(path, " "))}
}

func isFlag(word string) bool {
	if len(word) < 2 || word[0] != '-' {
		return false
	}
	_, err := strconv.ParseFloat(word, 64)
	return err != nil
}

func findCommand(commands []*urfave.Command, word string) *urfave.Command {
	for _, c := range commands {
		if c.HasName(word) {
			return c
		}
	}
	return nil
}

func flagOf(c *urfave.Command, word string) urfave.Flag {
	if c == nil {
		return nil
	}
	return findFlag(c.Flags, word)
}

func findFlag(flags []urfave.Flag, word string) urfave.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func isBool(f urfave.Flag) bool {
	_, ok := f.(*urfave.BoolFlag)
	return ok
}
