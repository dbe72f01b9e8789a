// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"restante/internal/control"
	"restante/internal/desk"
	"restante/metabase"
	"restante/metabase/schema"
)

// plan makes the operations of a batch in words. Every line that cannot be
// understood is in the error, which comes with the operations of the others.
func (d drawer) plan(ctx context.Context, who control.Caller, lines []control.Line) ([]metabase.Op, error) {
	p := planner{desk: d, who: who, snap: d.Tree.Snapshot()}
	var ops []metabase.Op
	var problems []control.Problem
	var single error
	notFound := 0
	for _, l := range lines {
		op, err := p.line(ctx, l)
		if err == nil {
			ops = append(ops, op)
			continue
		}
		e := control.AsError(err)
		if single = e; e.Kind == control.KindNotFound {
			notFound++
		}
		at := ""
		if l.Number > 0 {
			at = "line " + strconv.Itoa(l.Number)
		}
		problems = append(problems, control.Problem{Path: at, Why: e.Error()})
	}
	switch {
	case len(problems) == 0:
		return ops, nil
	case len(lines) == 1 && lines[0].Number == 0:
		return nil, single
	case notFound == len(problems):
		return ops, &control.Error{Kind: control.KindNotFound, Problems: problems}
	}
	return ops, &control.Error{Kind: control.KindRefused, Problems: problems}
}

// A planner turns words into operations, and remembers what earlier ones did
// as far as later ones ask for it.
type planner struct {
	desk drawer
	who  control.Caller
	snap metabase.Snapshot
	made []made // by add, cp and mv
}

// made is a key that an earlier line makes, by copying from where that is set.
type made struct{ path, from metabase.Path }

func (p *planner) has(path metabase.Path) bool {
	if p.snap.Has(path) {
		return true
	}
	for _, m := range p.made {
		if path.Equal(m.path) {
			return true
		}
		if m.from != "" && path.Within(m.path) {
			// What the caller may not read does not come along, nor is it told.
			from := m.from + path[len(m.path):]
			if p.snap.Has(from) && p.snap.Allows(p.who.Who, from, metabase.Read) {
				return true
			}
		}
	}
	return false
}

func (p *planner) line(ctx context.Context, l control.Line) (metabase.Op, error) {
	if l.Broken != "" || len(l.Words) == 0 {
		return nil, control.Usage(l.Broken, "")
	}
	if err := p.ask(ctx, l.Words); err != nil {
		return nil, err
	}
	op, err := p.op(ctx, l.Words)
	if err != nil && len(l.Words) > 1 {
		if at, bad := desk.ParsePath(l.Words[1]); bad == nil {
			err = p.desk.Veil(ctx, p.who, at, err)
		}
	}
	return op, err
}

// verbs has, for each key that an operation names, the rights of which it may
// need one.
var verbs = map[string][]metabase.Right{
	"set":    {metabase.Write | metabase.WriteSecret | metabase.Control},
	"unset":  {metabase.Write | metabase.WriteSecret | metabase.Control},
	"lock":   {metabase.Control},
	"unlock": {metabase.Control},
	"add":    {metabase.Create},
	"rm":     {metabase.Delete},
	"cp":     {metabase.Read, metabase.Create},
	"mv":     {metabase.Read, metabase.Create},
}

// ask refuses a line about a key that the caller may neither read nor do that
// to, before anything of the key is looked at. For all others the tree asks.
func (p *planner) ask(ctx context.Context, words []string) error {
	for i, any := range verbs[strings.ToLower(words[0])] {
		if i+1 >= len(words) {
			break
		}
		at, err := desk.ParsePath(words[i+1])
		if err != nil {
			return err
		}
		if p.snap.Rights(p.who.Who, at)&(metabase.Read|any) == 0 {
			return p.desk.Deny(ctx, p.who, at, any&-any, at, "") // the least of them
		}
	}
	return nil
}

func (p *planner) op(ctx context.Context, words []string) (metabase.Op, error) {
	verb, args := words[0], words[1:]
	switch strings.ToLower(verb) {
	case "set":
		return p.setOp(args)
	case "unset":
		t, err := p.desk.find(p.has, args)
		if err == nil && len(t.rest) > 0 {
			err = control.Usage("unset takes PATH PROP", "")
		}
		return metabase.Unset{Path: t.path, ID: t.prop.ID}, err
	case "lock", "unlock":
		return p.lockOp(ctx, strings.ToLower(verb), args)
	case "add":
		return p.addOp(args)
	case "rm":
		return p.rmOp(args)
	case "cp", "mv":
		return p.copyOp(strings.ToLower(verb), args)
	}
	return nil, control.Usage(fmt.Sprintf("%q is no operation: use set, unset, lock, unlock, add, rm, cp or mv", verb), "")
}

func (p *planner) setOp(args []string) (metabase.Op, error) {
	t, err := p.desk.find(p.has, args)
	if err != nil {
		return nil, err
	}
	prop := t.prop
	v, err := prop.Parse(t.rest)
	if err != nil {
		return nil, control.Refused(string(desk.Spelled(p.snap, t.path))+": "+prop.Label(), err.Error())
	}
	if prop.Syntax == schema.Flag {
		whole, _ := p.desk.Schema.ByID(prop.ID)
		return metabase.SetBits{Path: t.path, Property: whole.Item(prop.WithBit(whole.Default, v.DWord() != 0)), Mask: prop.Mask}, nil
	}
	return metabase.Set{Path: t.path, Property: prop.Item(v)}, nil
}

// lockOp locks what is stored at a key against being overridden below it, or
// lets it be overridden again.
func (p *planner) lockOp(ctx context.Context, verb string, args []string) (metabase.Op, error) {
	t, err := p.desk.find(p.has, args)
	if err == nil && len(t.rest) > 0 {
		err = control.Usage(verb+" takes PATH PROP", "")
	}
	if err != nil {
		return nil, err
	}
	if verb == "lock" {
		if err := p.overrides(ctx, t); err != nil {
			return nil, err
		}
	}
	return metabase.Lock{Path: t.path, ID: t.prop.ID, Off: verb == "unlock"}, nil
}

// overrides refuses a lock that is overridden where the caller may not read:
// the tree would name the place.
func (p *planner) overrides(ctx context.Context, t target) error {
	for _, at := range p.snap.DataPaths(t.path, t.prop.ID) {
		if !p.snap.Allows(p.who.Who, at, metabase.Read) {
			return p.desk.Deny(ctx, p.who, at, metabase.Read, t.path, belowIt)
		}
	}
	return nil
}

func (p *planner) addOp(args []string) (metabase.Op, error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, control.Usage("add takes PATH and a class", "")
	}
	path, err := desk.ParsePath(args[0])
	if err != nil {
		return nil, err
	}
	op := metabase.AddKey{Path: path}
	if len(args) == 2 {
		c, ok := p.desk.Schema.Class(args[1])
		if !ok {
			return nil, control.Missing(string(path), fmt.Sprintf("no class is called %q", args[1]))
		}
		op.Class = c.Name
	} else {
		op.Class = p.desk.Schema.ClassAt(p.snap, path)
	}
	p.made = append(p.made, made{path: path})
	return op, nil
}

func (p *planner) rmOp(args []string) (metabase.Op, error) {
	recursive := len(args) == 2 && (args[1] == "--recursive" || args[1] == "-r")
	if len(args) != 1 && !recursive {
		return nil, control.Usage("rm takes PATH", "")
	}
	path, err := desk.ParsePath(args[0])
	if err != nil {
		return nil, err
	}
	if !p.has(path) {
		return nil, control.Missing(string(path), "not found")
	}
	return metabase.Remove{Path: path, Recursive: recursive}, nil
}

func (p *planner) copyOp(verb string, args []string) (metabase.Op, error) {
	if len(args) != 2 {
		return nil, control.Usage(verb+" takes SRC DST", "")
	}
	from, err := desk.ParsePath(args[0])
	if err != nil {
		return nil, err
	}
	to, err := desk.ParsePath(args[1])
	if err != nil {
		return nil, err
	}
	if !p.has(from) {
		return nil, control.Missing(string(from), "not found")
	}
	p.made = append(p.made, made{to, from})
	if verb == "mv" {
		return metabase.Move{From: from, To: to}, nil
	}
	return metabase.Copy{From: from, To: to}, nil
}
