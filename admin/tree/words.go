// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"slices"
	"strings"

	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

// An operation is the words of a line that makes one: the columns of the table
// of operations that depend on the schema. The other columns are the methods of
// [metabase.Op].
type operation struct {
	name    string
	usage   string
	options string // "=" follows those that take a value
	paths   int    // how many of its first words are paths
	parse   func(*lineParser, call) (metabase.Op, error)
	makes   []metabase.Op // of which types parse makes its operation
}

var operations = []operation{
	{"set", "PATH PROP VALUE...", "type= attributes= user-type=", 1, (*lineParser).parseSet, []metabase.Op{metabase.Set{}, metabase.SetBits{}, metabase.Amend{}}},
	{"unset", "PATH PROP", "", 1, (*lineParser).parseUnset, []metabase.Op{metabase.Unset{}}},
	{"lock", "PATH PROP", "", 1, (*lineParser).parseLock, []metabase.Op{metabase.Lock{}}},
	{"unlock", "PATH PROP", "", 1, (*lineParser).parseLock, []metabase.Op{metabase.Lock{}}},
	{"add", "PATH and a class", "", 1, (*lineParser).parseAdd, []metabase.Op{metabase.AddKey{}}},
	{"rm", "PATH", "recursive children", 1, (*lineParser).parseRemove, []metabase.Op{metabase.Remove{}, metabase.RemoveChildren{}}},
	{"cp", "SRC DST", "overwrite", 2, (*lineParser).parseCopy, []metabase.Op{metabase.Copy{}}},
	{"mv", "SRC DST", "overwrite", 2, (*lineParser).parseMove, []metabase.Op{metabase.Move{}}},
	{"clear", "PATH", "type= user-type=", 1, (*lineParser).parseClear, []metabase.Op{metabase.Clear{}}},
	{"cpdata", "SRC DST", "move attributes= type= user-type=", 2, (*lineParser).parseCopyData, []metabase.Op{metabase.CopyData{}}},
	{"touch", "PATH and a time", "", 1, (*lineParser).parseTouch, []metabase.Op{metabase.Touch{}}},
}

// operationNames lists the operations for an error.
func operationNames() string {
	var names []string
	for _, o := range operations {
		names = append(names, o.name)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// A call is a line taken apart.
type call struct {
	*operation
	args []string
	opts map[string]string // by name; "" of those that take no value
	file *api.File
	prop *api.Property

	amends bool // prop was made of what holds for the key
}

// readCall takes a line apart. Options may stand anywhere after the operation's
// name; the words after "--" are arguments.
func readCall(l api.Line) (c call, err error) {
	if l.Broken != "" || len(l.Words) == 0 {
		return c, api.Usage(l.Broken, "")
	}
	i := slices.IndexFunc(operations, func(o operation) bool { return strings.EqualFold(o.name, l.Words[0]) })
	if i < 0 {
		return c, api.Usage(fmt.Sprintf("invalid operation %q: use %s", l.Words[0], operationNames()), "")
	}
	c = call{operation: &operations[i], opts: map[string]string{}, file: l.File, prop: l.Property, amends: l.Amends}
	for words := l.Words[1:]; len(words) > 0; {
		word := words[0]
		words = words[1:]
		switch {
		case word == "--":
			c.args = append(c.args, words...)
			return c, err
		case word == "-r" && c.name == "rm":
			c.opts["recursive"] = ""
		case !strings.HasPrefix(word, "--"):
			c.args = append(c.args, word)
		default:
			var bad error
			if words, bad = c.option(word[2:], words); bad != nil && err == nil {
				err = bad
			}
		}
	}
	return c, err
}

// option reads one option, perhaps with its value off the words that follow.
func (c call) option(word string, rest []string) ([]string, error) {
	name, value, inOne := strings.Cut(word, "=")
	for known := range strings.FieldsSeq(c.options) {
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
			return rest, api.Usage("--"+name+" is given twice", "")
		}
		c.opts[name] = value
		return rest, nil
	}
	text := fmt.Sprintf("%s has no option --%s", c.name, name)
	if c.name == "set" {
		text += "; a value that begins with -- follows the word --"
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
		return api.Usage(c.name+" takes "+c.usage, "")
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
