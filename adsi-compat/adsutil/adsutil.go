// SPDX-License-Identifier: Apache-2.0

// Package adsutil carries out the verbs of IIS's adsutil.vbs over the objects of
// package adsi, with its forms of paths and of output. Each verb does what a
// script would: Get, PutEx and SetInfo, so that rights, checks and history are
// the same.
package adsutil

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	adsi "restante/adsi-compat"
	"restante/metabase"
)

// A call is one verb with its arguments.
type call struct {
	ctx    context.Context
	dir    *adsi.Directory
	out    io.Writer
	server string // of -s:, "" for this machine
	verb   verb
	args   []string
	warned []string
}

// Run carries out args, a verb and its arguments, and writes what adsutil.vbs
// would to out. The error is a *Usage, a *Error or a *Warning.
func Run(ctx context.Context, dir *adsi.Directory, out io.Writer, args []string) error {
	c := &call{ctx: ctx, dir: dir, out: out}
	for _, word := range args {
		if IsServer(word) {
			c.server = word[len("-s:"):]
		} else {
			c.args = append(c.args, word)
		}
	}
	if len(c.args) == 0 {
		return &Usage{"a verb is needed: " + names()}
	}
	found := false
	for _, v := range verbs() {
		if strings.EqualFold(v.name, c.args[0]) {
			c.verb, found = v, true
		}
	}
	if !found {
		return &Usage{fmt.Sprintf("Command not recognized: %s: the verbs are %s", c.args[0], names())}
	}
	if c.args = c.args[1:]; len(c.args) < c.verb.least || c.verb.most >= 0 && len(c.args) > c.verb.most {
		return &Usage{c.verb.name + " takes " + cmp.Or(c.verb.args, "no arguments")}
	}
	err := c.verb.run(c)
	var usage *Usage
	if errors.As(err, &usage) {
		return err
	}
	if err != nil {
		return c.explain(err)
	}
	if len(c.warned) > 0 {
		return &Warning{c.warned}
	}
	return nil
}

// IsServer reports whether a word is the option -s:SERVER, which may stand
// anywhere.
func IsServer(word string) bool { return len(word) > 3 && strings.EqualFold(word[:3], "-s:") }

// A Usage is the error of a call that is wrong in itself.
type Usage struct{ Text string }

func (e *Usage) Error() string { return e.Text }

// A Warning says what to look at after a verb that was carried out.
type Warning struct{ lines []string }

func (e *Warning) Error() string { return strings.Join(e.lines, "\n") }

// Lines are those of the text.
func (e *Warning) Lines() []string { return e.lines }

// An Error is what a verb ended in: what was being done, the cause,
// and the number that scripts look for.
type Error struct {
	Doing string // the verb and its path
	Code  uint32
	Err   error
	Hint  string // arguments of a command that is of use, or ""
}

// Error has the description, and on a line of its own the number, signed as
// scripts have it.
func (e *Error) Error() string { return strings.Join(e.Lines(), "\n") }

// Lines are those of the text.
func (e *Error) Lines() []string {
	lines := strings.Split(e.Err.Error(), "\n")
	for i := range lines {
		lines[i] = e.Doing + ": " + lines[i]
	}
	return append(lines, fmt.Sprintf("ErrNumber: %d (0x%X)", int32(e.Code), e.Code))
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// explain makes an Error of what an object said.
func (c *call) explain(err error) error {
	e := &Error{Doing: strings.TrimSpace(c.verb.name + " " + strings.Join(c.args[:min(c.verb.paths, len(c.args))], " ")), Code: adsi.CodeFailed, Err: err}
	var own *Error
	if errors.As(err, &own) {
		e.Code, e.Err, e.Hint = own.Code, own.Err, own.Hint
		return e
	}
	var said *adsi.Error
	if !errors.As(err, &said) {
		return e
	}
	e.Code, e.Err = said.Code, said.Err
	if said.On != "" && said.Code == adsi.CodePathNotFound {
		e.Err = fmt.Errorf("%s: %w", metabase.OneLine(said.On), said.Err)
	}
	if c.server != "" && said.Code == adsi.CodeNoHost {
		e.Err = fmt.Errorf("-s:%s: %w", c.server, said.Err)
		e.Hint = "adsutil " + e.Doing
	}
	return e
}

// A path is a path in one of IIS's spellings, in parts below its host.
type path struct {
	host  string
	parts []string
	key   bool // a slash at its end says that it names a key
}

// parse reads smtpsvc/1, /LM/SMTPSVC/1, IIS://LocalHost/smtpsvc/1 and smtpsvc\1.
func (c *call) parse(word string) path {
	const scheme = "IIS:"
	p := path{host: c.server}
	word = strings.ReplaceAll(word, `\`, "/")
	p.key = strings.HasSuffix(word, "/")
	if len(word) >= len(scheme) && strings.EqualFold(word[:len(scheme)], scheme) {
		p.host, word, _ = strings.Cut(strings.TrimLeft(word[len(scheme):], "/"), "/")
	}
	for part := range strings.SplitSeq(word, "/") {
		if part != "" {
			p.parts = append(p.parts, part)
		}
	}
	if len(p.parts) > 0 && strings.EqualFold(p.parts[0], "LM") {
		p.parts = p.parts[1:]
	}
	if p.host == "" {
		p.host = "LocalHost"
	}
	return p
}

func (p path) String() string  { return strings.Join(p.parts, "/") }
func (p path) adsPath() string { return strings.TrimSuffix("IIS://"+p.host+"/"+p.String(), "/") }

// split parts the last name from the path.
func (p path) split() (above path, name string) {
	last := len(p.parts) - 1
	return path{host: p.host, parts: p.parts[:last]}, p.parts[last]
}

// below is the path of a key below p.
func (p path) below(names ...string) path {
	return path{host: p.host, parts: append(p.parts[:len(p.parts):len(p.parts)], names...)}
}

func (c *call) bind(p path) (*adsi.Object, error) { return c.dir.GetObject(c.ctx, p.adsPath()) }

func (c *call) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

func (c *call) warn(format string, args ...any) {
	c.warned = append(c.warned, c.verb.name+": "+fmt.Sprintf(format, args...))
}

// property binds the key of an argument PATH/PROP, and gives the property's name.
func (c *call) property(word string) (*adsi.Object, path, string, error) {
	p := c.parse(word)
	if len(p.parts) == 0 {
		return nil, p, "", &Usage{c.verb.name + " takes " + c.verb.args + ": " + word + " names no property"}
	}
	above, name := p.split()
	o, err := c.bind(above)
	return o, above, c.current(name), err
}

// current is the name that a property has today, as the schema spells it.
func (c *call) current(name string) string {
	for old, now := range map[string]string{"AccessPerm": "AccessFlags", "VrPath": "Path", "Authorization": "AuthFlags"} {
		if strings.EqualFold(name, old) {
			return now
		}
	}
	if facts, ok := c.dir.Describe(c.ctx, "IIS://LocalHost/Schema/"+name); ok && facts["PropName"] != nil {
		return fmt.Sprint(facts["PropName"])
	}
	return name
}
