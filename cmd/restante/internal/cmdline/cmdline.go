// SPDX-License-Identifier: Apache-2.0

// Package cmdline adds to the command line library what it lacks: options anywhere in
// a line, help as text and as JSON, and where in a line a word to complete stands.
package cmdline

import (
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"restante/admin/api"
	"restante/adsi-compat/adsutil"
)

// A Line is a command line in the order that the library needs: flags before arguments.
type Line struct {
	Args []string
	Path []string // the command's words
	Help bool

	// Global options that are needed before the library reads them.
	Data string
	JSON bool
}

// Reorder lets flags stand anywhere. What follows "--", what looks like a
// negative number, and all that follows a script's name are arguments.
func Reorder(app *urfave.App, args []string) (Line, error) {
	r := reorder{app: app, commands: app.Commands}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		var err error
		switch {
		case word == "--":
			r.rest, args = append(r.rest, args...), nil
		case word == "--help" || word == "-h":
			r.line.Help = true
		case IsFlag(word) && !r.takes(word):
			args, err = r.flag(word, args)
		case r.word(word):
			r.rest, args = append(r.rest, args...), nil
		}
		if err != nil {
			return r.line, err
		}
	}
	if r.line.Help && r.inGroup() {
		r.line.Path = append(r.line.Path, r.rest...) // which help says is no command
	}
	r.line.Args = slices.Concat(r.global, r.line.Path, r.own)
	if len(r.rest) > 0 {
		r.line.Args = append(append(r.line.Args, "--"), r.rest...)
	}
	return r.line, nil
}

// A reorder is the state of Reorder.
type reorder struct {
	app               *urfave.App
	line              Line
	commands          []*urfave.Command // that the next word may name
	leaf              *urfave.Command   // that the last word named
	global, own, rest []string
}

// inGroup reports whether the words so far name a group of commands, or none.
func (r *reorder) inGroup() bool { return r.leaf == nil || len(r.leaf.Subcommands) > 0 }

// word takes a command's name or an argument. It returns true when only
// arguments follow.
func (r *reorder) word(word string) (last bool) {
	if cmd := FindCommand(r.commands, word); cmd != nil && len(r.rest) == 0 {
		r.leaf, r.commands = cmd, cmd.Subcommands
		r.line.Path = append(r.line.Path, cmd.Name)
		return false
	}
	if word == "help" && len(r.line.Path) > 0 && len(r.rest) == 0 && r.inGroup() {
		r.line.Help = true
		return false
	}
	r.rest = append(r.rest, word)
	r.commands = nil
	return r.leaf != nil && (r.leaf.SkipFlagParsing || OptionsFirst(strings.Join(r.line.Path, " ")))
}

// OptionsFirst reports whether the options of a command stand before its first
// argument, as what follows that is for a script or a verb.
func OptionsFirst(path string) bool { return path == "run" || path == "adsutil" }

// takes reports whether a word that looks like a flag is an argument all the same.
func (r *reorder) takes(word string) bool {
	return r.leaf != nil && r.leaf.Name == "adsutil" && adsutil.IsServer(word)
}

// flag takes a flag, and its value from args where it has one. It returns the
// rest of args.
func (r *reorder) flag(word string, args []string) ([]string, error) {
	var f urfave.Flag
	into := &r.own
	if r.leaf != nil {
		f = FindFlag(r.leaf.Flags, word)
	}
	if f == nil {
		into, f = &r.global, FindFlag(r.app.Flags, word)
	}
	hint := strings.TrimSpace("help " + strings.Join(r.line.Path, " "))
	if f == nil {
		return nil, &api.Error{Kind: api.KindUsage, Text: "there is no option " + word, Hint: hint}
	}
	*into = append(*into, word)
	_, value, inOne := strings.Cut(word, "=")
	if IsOptional(f) && !inOne && (len(args) == 0 || IsFlag(args[0])) {
		(*into)[len(*into)-1] += "="
		inOne = true
	}
	if !IsBool(f) && !inOne {
		if len(args) == 0 {
			return nil, &api.Error{Kind: api.KindUsage, Text: word + " needs a value", Hint: hint}
		}
		value, args = args[0], args[1:]
		*into = append(*into, value)
	}
	if into == &r.global {
		switch f.Names()[0] {
		case "data":
			r.line.Data = value
		case "json":
			r.line.JSON = value != "false"
		}
	}
	return args, nil
}

// IsFlag reports whether word looks like a flag.
func IsFlag(word string) bool {
	if len(word) < 2 || word[0] != '-' {
		return false
	}
	_, err := strconv.ParseFloat(word, 64)
	return err != nil
}

// FindCommand returns the command that word names, or nil.
func FindCommand(commands []*urfave.Command, word string) *urfave.Command {
	for _, c := range commands {
		if c.HasName(word) {
			return c
		}
	}
	return nil
}

// FindFlag returns the flag that word names, or nil.
func FindFlag(flags []urfave.Flag, word string) urfave.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

// IsOptional reports whether the value of a flag may be left out: its name stands in
// brackets.
func IsOptional(f urfave.Flag) bool {
	s, ok := f.(*urfave.StringFlag)
	return ok && strings.Contains(s.Usage, "`[")
}

// IsBool reports whether a flag takes no value.
func IsBool(f urfave.Flag) bool {
	_, ok := f.(*urfave.BoolFlag)
	return ok
}
