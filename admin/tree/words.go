// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"strings"

	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

// A verb is an operation in words.
type verb struct {
	usage   string
	options string           // "=" follows those that take a value
	asks    []metabase.Right // for each key that it names, the rights of which it may need one
}

// changes are the rights of which one is enough to set some property.
const changes = metabase.Write | metabase.WriteSecret | metabase.Control

// verbs are the operations that a line may have.
var verbs = map[string]verb{
	"set":    {"PATH PROP VALUE...", "type= attributes= user-type=", []metabase.Right{changes}},
	"unset":  {"PATH PROP", "", []metabase.Right{changes}},
	"lock":   {"PATH PROP", "", []metabase.Right{metabase.Control}},
	"unlock": {"PATH PROP", "", []metabase.Right{metabase.Control}},
	"add":    {"PATH and a class", "", []metabase.Right{metabase.Create}},
	"rm":     {"PATH", "recursive children", []metabase.Right{metabase.Delete}},
	"cp":     {"SRC DST", "overwrite", []metabase.Right{metabase.Read, metabase.Create}},
	"mv":     {"SRC DST", "overwrite", []metabase.Right{metabase.Read, metabase.Create}},
	"clear":  {"PATH", "type= user-type=", []metabase.Right{changes}},
	"cpdata": {"SRC DST", "move attributes= type= user-type=", []metabase.Right{metabase.Read, changes}},
	"touch":  {"PATH and a time", "", []metabase.Right{metabase.Write}},
}

const verbNames = "set, unset, lock, unlock, add, rm, cp, mv, clear, cpdata or touch"

// A call is a line taken apart.
type call struct {
	verb string
	args []string
	opts map[string]string // by name; "" of those that take no value
	file *api.File
}

// readCall takes a line apart. Options stand anywhere behind the verb; what
// follows "--" is an argument, whatever it looks like. Of a line that is wrong,
// verb and arguments come as far as they go.
func readCall(l api.Line) (c call, err error) {
	if l.Broken != "" || len(l.Words) == 0 {
		return c, api.Usage(l.Broken, "")
	}
	c = call{verb: strings.ToLower(l.Words[0]), opts: map[string]string{}, file: l.File}
	v, known := verbs[c.verb]
	if !known {
		c.args = l.Words[1:]
		return c, api.Usage(fmt.Sprintf("%q is no operation: use %s", l.Words[0], verbNames), "")
	}
	for words := l.Words[1:]; len(words) > 0; {
		word := words[0]
		words = words[1:]
		switch {
		case word == "--":
			c.args = append(c.args, words...)
			return c, err
		case word == "-r" && c.verb == "rm":
			c.opts["recursive"] = ""
		case !strings.HasPrefix(word, "--"):
			c.args = append(c.args, word)
		default:
			var bad error
			if words, bad = c.option(v, word[2:], words); bad != nil && err == nil {
				err = bad
			}
		}
	}
	return c, err
}

// option reads one option, perhaps with its value off the words that follow.
func (c call) option(v verb, word string, rest []string) ([]string, error) {
	name, value, inOne := strings.Cut(word, "=")
	for known := range strings.FieldsSeq(v.options) {
		bare, takes := strings.CutSuffix(known, "=")
		switch {
		case bare != name:
			continue
		case !takes && inOne:
			return rest, api.Usage("--"+name+" takes no value", "")
		case takes && !inOne && len(rest) == 0:
			return rest, api.Usage("--"+name+" needs a value", "")
		case takes && !inOne:
			value, rest = rest[0], rest[1:]
		}
		if _, twice := c.opts[name]; twice {
			return rest, api.Usage("--"+name+" stands there twice", "")
		}
		c.opts[name] = value
		return rest, nil
	}
	text := fmt.Sprintf("%s has no option --%s", c.verb, name)
	if c.verb == "set" {
		text += "; what is to be a value follows the word --"
	}
	return rest, api.Usage(text, "")
}

func (c call) has(option string) bool {
	_, ok := c.opts[option]
	return ok
}

// count refuses a call with another number of arguments.
func (c call) count(least, most int) error {
	if len(c.args) < least || len(c.args) > most {
		return api.Usage(c.verb+" takes "+verbs[c.verb].usage, "")
	}
	return nil
}

// A filter says which properties of a key are meant: 0 for any.
type filter struct {
	attr metabase.Attr
	user metabase.UserType
	typ  metabase.Type
}

// filter reads the options --attributes, --type and --user-type.
func (c call) filter() (f filter, err error) {
	bad := func(option string, err error) (filter, error) {
		return filter{}, api.Usage("--"+option+": "+err.Error(), "")
	}
	if c.has("attributes") {
		if f.attr, err = schema.ParseAttr(c.opts["attributes"]); err != nil {
			return bad("attributes", err)
		}
	}
	if c.has("type") {
		if f.typ, err = schema.ParseType(c.opts["type"]); err != nil {
			return bad("type", err)
		}
	}
	if c.has("user-type") {
		if f.user, err = schema.ParseUserType(c.opts["user-type"]); err != nil {
			return bad("user-type", err)
		}
	}
	return f, nil
}
