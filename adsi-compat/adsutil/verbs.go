// SPDX-License-Identifier: Apache-2.0

package adsutil

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	adsi "restante/adsi-compat"
	"restante/metabase/schema"
)

// A verb is a row of the table.
type verb struct {
	name  string
	args  string // as help has it
	least int    // of arguments
	most  int    // -1: any number
	paths int    // arguments that an error repeats; values may be secret
	does  string // a sentence without its end
	run   func(*call) error
}

// verbs is the table of all verbs, in the order of the help.
func verbs() []verb {
	list := []verb{
		{"GET", "PATH/PROP", 1, 1, 1, "prints a property that is stored at the key; one that is inherited or not set is exit 3", (*call).get},
		{"SET", "PATH/PROP VALUE...", 2, -1, 1, "stores a value, of a list all of its strings; ServerCommand 1 to 4 starts, stops, pauses, continues", (*call).set},
		{"ENUM", "[PATH] [/P]", 0, 2, 1, "prints all properties that are stored at the key, and its child keys; with /P only these", (*call).enum},
		{"ENUM_ALL", "[PATH] [/P]", 0, 2, 1, "is ENUM of the key and of all keys below it", (*call).enumAll},
		{"ENUMALL", "[PATH] [/P]", 0, 2, 1, "is ENUM_ALL", (*call).enumAll},
		{"FIND", "PATH/PROP", 1, 1, 1, "lists the keys at and below the path that store the property", (*call).find},
		{"CREATE", "PATH [KEYTYPE]", 1, 2, 2, "creates a key with those above it that are missing; without KEYTYPE it has the class of its place, " +
			"else " + schema.Object + " with a warning and exit 1", (*call).create},
		{"CREATE_VSERV", "PATH", 1, 1, 1, "creates a site", func(c *call) error { return c.createOf(schema.Server) }},
		{"DELETE", "PATH[/PROP]", 1, 1, 1, "removes a stored property, else the key with all below it; a slash at the end names a key", (*call).remove},
		{"COPY", "SRC DST", 2, 2, 2, "copies a key with all below it", func(c *call) error { return c.transfer("copied", (*adsi.Object).CopyHere) }},
		{"MOVE", "SRC DST", 2, 2, 2, "moves a key with all below it", func(c *call) error { return c.transfer("moved", (*adsi.Object).MoveHere) }},
	}
	for i, act := range acts {
		list = append(list, verb{act.verb, "PATH", 1, 1, 1, act.does, func(c *call) error { return c.act(c.parse(c.args[0]), i) }})
	}
	for _, name := range []string{
		"CREATE_VDIR", "APPCREATEINPROC", "APPCREATEOUTPROC", "APPCREATEPOOLPROC", "APPDELETE", "APPUNLOAD", "APPDISABLE", "APPENABLE", "APPGETSTATUS",
	} {
		list = append(list, verb{name, "PATH", 0, -1, 0, "is of the web service, which is not here: exit 2", ofTheWeb})
	}
	return append(list, verb{"HELP", "", 0, 0, 0, "prints this table", (*call).help})
}

func names() string {
	var out []string
	for _, v := range verbs() {
		out = append(out, v.name)
	}
	return strings.Join(out, ", ")
}

func ofTheWeb(c *call) error {
	return &Usage{c.verb.name + " is a verb of the web service; this is the SMTP service"}
}

func (c *call) help() error {
	for _, v := range verbs() {
		c.printf("%-32s: %s\n", strings.TrimSpace(v.name+" "+v.args), v.does)
	}
	c.printf("Verbs, paths and properties are taken in any case. A path is smtpsvc/1, /LM/SMTPSVC/1, IIS://LocalHost/smtpsvc/1 or smtpsvc\\1.\n")
	return nil
}

func (c *call) get() error {
	o, _, name, err := c.property(c.args[0])
	if err != nil {
		return err
	}
	p, ok, err := o.StoredHere(c.ctx, name)
	if err == nil && !ok {
		err = notSet(o, name)
	}
	if err == nil {
		c.show(p)
	}
	return err
}

func notSet(o *adsi.Object, name string) error {
	return &Error{Code: adsi.CodeUnknownProp, Err: fmt.Errorf("the parameter %q is not set at this node", name),
		Hint: "mb get " + adsi.Below(o.ADsPath()) + " " + name + " --from"}
}

// show prints a property in adsutil's form.
func (c *call) show(p adsi.StoredProperty) {
	head := fmt.Sprintf("%-32s: (%s) ", p.Name, strings.ToUpper(p.Syntax))
	items := func(about string, list []string) {
		c.printf("%s%s(%d Items)\n", head, about, len(list))
		for _, item := range list {
			c.printf("  \"%s\"\n", item)
		}
	}
	switch v := p.Value.(type) {
	case string:
		c.printf("%s\"%s\"\n", head, v)
	case bool:
		c.printf("%s%s\n", head, title(v))
	case []byte:
		c.printf("%s%X\n", head, v)
	case []string:
		items("", v)
	case adsi.IPList:
		list, kept := slices.Concat(v.IPGrant, v.DomainGrant), slices.Concat(v.IPDeny, v.DomainDeny)
		if v.GrantByDefault {
			list, kept = kept, list
		}
		items("GrantByDefault "+title(v.GrantByDefault)+" ", list)
		for _, item := range kept { // it decides nothing
			c.printf("  kept: \"%s\"\n", item)
		}
	case uint32: // a Long of VBScript has a sign
		c.printf("%s%d\n", head, int32(v))
	default:
		c.printf("%s%v\n", head, v)
	}
}

func title(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func (c *call) set() error {
	o, at, name, err := c.property(c.args[0])
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(c.args[1]); strings.EqualFold(name, "ServerCommand") && err == nil && n >= 1 && n <= len(acts) {
		return c.act(at, n-1)
	}
	value, err := c.value(name, c.args[1:])
	if err == nil {
		err = o.Put(c.ctx, name, value)
	}
	if err == nil {
		err = o.SetInfo(c.ctx)
	}
	if err != nil {
		return err
	}
	stored, ok, err := o.StoredHere(c.ctx, name)
	if err == nil && ok {
		c.show(stored)
	}
	return err
}

// value makes of words what an object takes.
func (c *call) value(name string, words []string) (any, error) {
	facts, _ := c.dir.Describe(c.ctx, "IIS://LocalHost/Schema/"+name)
	if strings.EqualFold(name, "AuthFlags") {
		if n, ok := authFlags(words); ok {
			return n, nil
		}
	}
	switch {
	case len(words) > 1:
		if _, known := facts["Syntax"]; known && facts["MultiValued"] != true && facts["Syntax"] != "IPSec" {
			return nil, &Usage{fmt.Sprintf("SET takes one value for %s, which is no list", name)}
		}
		return words, nil
	case facts["Syntax"] == "Boolean": // as CBool reads it
		if n, err := strconv.ParseFloat(words[0], 64); err == nil {
			return n != 0, nil
		}
	}
	return words[0], nil
}

// authFlags reads the words that adsutil has for sign-in.
func authFlags(words []string) (string, bool) {
	bits := map[string]int{"ANONYMOUS": 1, "BASIC": 2, "NT": 4}
	sum := 0
	for _, word := range words {
		bit, ok := bits[strings.ToUpper(word)]
		if !ok {
			return "", false
		}
		sum |= bit
	}
	return strconv.Itoa(sum), true
}

// listing gives the path that ENUM shows, and whether only keys are.
func (c *call) listing() (o *adsi.Object, keysOnly bool, err error) {
	words := slices.DeleteFunc(slices.Clone(c.args), func(w string) bool { return strings.EqualFold(w, "/P") })
	if len(words) > 1 {
		return nil, false, &Usage{c.verb.name + " takes " + c.verb.args}
	}
	o, err = c.bind(c.parse(strings.Join(words, "")))
	return o, len(words) < len(c.args), err
}

func (c *call) enum() error {
	o, keysOnly, err := c.listing()
	if err != nil {
		return err
	}
	return c.list(o, keysOnly, false)
}

func (c *call) enumAll() error {
	o, keysOnly, err := c.listing()
	if err != nil {
		return err
	}
	return c.list(o, keysOnly, true)
}

func (c *call) list(o *adsi.Object, keysOnly, deep bool) error {
	if !keysOnly {
		all, err := o.AllStored(c.ctx)
		if err != nil {
			return err
		}
		for _, stored := range all {
			c.show(stored)
		}
	}
	children, err := o.Children(c.ctx, "")
	if err != nil {
		return err
	}
	for _, child := range children {
		c.printf("[/%s]\n", adsi.Below(child.ADsPath()))
		if deep {
			if err := c.list(child, keysOnly, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *call) find() error {
	o, at, name, err := c.property(c.args[0])
	if err != nil {
		return err
	}
	paths, err := o.GetDataPaths(c.ctx, name, false)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		c.printf("Property %s was not found beneath /%s\n", name, at)
		return nil
	}
	c.printf("Property %s found at:\n", name)
	for _, p := range paths {
		c.printf("  %s\n", adsi.Below(p))
	}
	return nil
}

func (c *call) create() error {
	class := ""
	if len(c.args) > 1 {
		class = c.args[1]
	}
	return c.createOf(class)
}

// createOf creates the key and those above it that are missing.
func (c *call) createOf(class string) error {
	p := c.parse(c.args[0])
	if len(p.parts) == 0 {
		return &Usage{"CREATE takes " + c.verb.args + ": there is no name"}
	}
	root := path{host: p.host}
	o, err := c.bind(root)
	for i := range p.parts {
		if err != nil {
			return err
		}
		at, last := root.below(p.parts[:i+1]...), i == len(p.parts)-1
		var next *adsi.Object
		if !last {
			next, err = c.bind(at)
			var said *adsi.Error
			if err == nil || !errors.As(err, &said) || said.Code != adsi.CodePathNotFound {
				o = next
				continue
			}
		}
		kind := ""
		if last {
			kind = class
		}
		o, err = c.make(o, at, kind)
	}
	if err == nil {
		c.printf("created \"%s\"\n", p)
	}
	return err
}

// make creates one key; without a class it gets that of its place.
func (c *call) make(above *adsi.Object, at path, class string) (o *adsi.Object, err error) {
	byPlace := class == ""
	if byPlace {
		if class, err = c.dir.ClassAt(c.ctx, at.adsPath()); err != nil {
			return nil, err
		}
	}
	_, name := at.split()
	if o, err = above.Create(c.ctx, class, name); err == nil {
		err = o.SetInfo(c.ctx)
	}
	if err == nil && byPlace && o.Class() == schema.Object {
		c.warn("%s has no KeyType, so that it takes no properties of the service", at)
	}
	return o, err
}

func (c *call) remove() error {
	p := c.parse(c.args[0])
	if len(p.parts) == 0 {
		return &Usage{"DELETE takes " + c.verb.args + ": there is no name"}
	}
	above, name := p.split()
	o, err := c.bind(above)
	if err != nil {
		return err
	}
	prop := c.current(name)
	_, stored, unknown := o.StoredHere(c.ctx, prop)
	if stored && !p.key {
		if err := o.PutEx(c.ctx, adsi.OpClear, prop, nil); err != nil {
			return err
		}
		if err := o.SetInfo(c.ctx); err != nil {
			return err
		}
		c.printf("deleted property \"%s\"\n", prop)
		return nil
	}
	if _, err := c.bind(p); err != nil && unknown == nil && !p.key {
		return notSet(o, prop)
	}
	if err := o.Delete(c.ctx, schema.Object, name); err != nil {
		return err
	}
	c.printf("deleted path \"%s\"\n", p)
	return nil
}

// transfer copies or moves: the container is what both paths begin with.
func (c *call) transfer(did string, do transferFunc) error {
	from, to := c.parse(c.args[0]), c.parse(c.args[1])
	n := 0
	for n < len(from.parts)-1 && n < len(to.parts)-1 && strings.EqualFold(from.parts[n], to.parts[n]) {
		n++
	}
	o, err := c.bind(path{host: from.host, parts: from.parts[:n]})
	if err != nil {
		return err
	}
	if _, err := do(o, c.ctx, strings.Join(from.parts[n:], "/"), strings.Join(to.parts[n:], "/")); err != nil {
		return err
	}
	c.printf("%s from %s to %s\n", did, from, to)
	return nil
}
