// SPDX-License-Identifier: Apache-2.0

package cmdline

import (
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// A Place is where in a command line the next word stands.
type Place struct {
	Commands []*urfave.Command // that it may name
	Flags    []urfave.Flag
	Leaf     *urfave.Command // that the words before it named
	Argument int             // its number among the arguments
}

// FindPlace finds where the word after words stands, and the data folder that they
// name. It is false for the value of a flag.
func FindPlace(app *urfave.App, words []string) (at Place, data string, ok bool) {
	at = Place{Commands: app.Commands, Flags: app.Flags}
	for i := 0; i < len(words); i++ {
		word := words[i]
		if IsFlag(word) {
			f := FindFlag(slices.Concat(at.Flags, app.Flags), word)
			if f == nil || IsBool(f) || strings.Contains(word, "=") {
				continue
			}
			if i++; i == len(words) {
				return at, data, false
			}
			if f.Names()[0] == "data" {
				data = words[i]
			}
			continue
		}
		if cmd := FindCommand(at.Commands, word); cmd != nil && at.Argument == 0 {
			at.Leaf, at.Commands, at.Flags = cmd, cmd.Subcommands, cmd.Flags
			continue
		}
		at.Argument++
	}
	return at, data, true
}

// ArgumentKind derives the kind of the word from the usage of its command: "" is
// none that can be completed.
func (at Place) ArgumentKind() string {
	c, n := at.Leaf, at.Argument
	words := strings.Fields(c.ArgsUsage)
	if n >= len(words) {
		return ""
	}
	switch strings.Trim(words[n], "[]") {
	case "PATH", "SRC", "DST":
		return "path"
	case "PROP", "CLASS|PROP":
		return "property"
	case "N", "SITE":
		return "site"
	case "DOMAIN", "NAME":
		if strings.HasPrefix(c.ArgsUsage, "N ") || words[n] == "DOMAIN" {
			return "domain"
		}
	case "ACCOUNT", "SITE/]NAME":
		return "account"
	}
	return ""
}
