// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"math"
	"strings"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

func (p *planner) unsetOp(c call) (metabase.Op, error) {
	t, err := p.handlers.find(p.has, c.args)
	if err == nil && len(t.rest) > 0 {
		err = api.Usage("unset takes PATH PROP", "")
	}
	if err != nil {
		return nil, err
	}
	if t.prop.Syntax == schema.Flag {
		whole, _ := p.handlers.Schema.ByID(t.prop.ID)
		path := string(admin.Canonical(p.snap, t.path))
		return nil, &api.Error{
			Kind: api.KindRefused,
			Text: fmt.Sprintf("%s: %s: is one bit of %s: set it to false, or unset %s with all its bits", path, t.prop.Label(), whole.Label(), whole.Label()),
			Hint: "mb set " + shellWord(path) + " " + t.prop.Label() + " false",
		}
	}
	p.set[t.key()] = metabase.Property{}
	return metabase.Unset{Path: t.path, ID: t.prop.ID}, nil
}

// shellWord quotes a word of a hint.
func shellWord(s string) string {
	if strings.ContainsAny(s, " '\"\\$*?[]&;|<>()~#`!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func (p *planner) addOp(c call) (metabase.Op, error) {
	if err := c.count(1, 2); err != nil {
		return nil, err
	}
	path, err := admin.ParsePath(c.args[0])
	if err != nil {
		return nil, err
	}
	op := metabase.AddKey{Path: path}
	if len(c.args) == 2 {
		class, ok := p.handlers.Schema.Class(c.args[1])
		if !ok {
			return nil, api.Missing(string(path), fmt.Sprintf("no class is called %q", c.args[1]))
		}
		op.Class = class.Name
	} else {
		op.Class = p.handlers.Schema.ClassAt(p.snap, path)
	}
	p.made = append(p.made, made{path: path})
	return op, nil
}

// there reads a path that must lead to a key.
func (p *planner) there(word string) (metabase.Path, error) {
	path, err := admin.ParsePath(word)
	if err == nil && !p.has(path) {
		err = api.Missing(string(path), "not found")
	}
	return path, err
}

func (p *planner) rmOp(c call) (metabase.Op, error) {
	if err := c.count(1, 1); err != nil {
		return nil, err
	}
	if c.has("children") && c.has("recursive") {
		return nil, api.Usage("--children and --recursive exclude each other", "")
	}
	path, err := p.there(c.args[0])
	if err != nil {
		return nil, err
	}
	if c.has("children") {
		return metabase.RemoveChildren{Path: path}, nil
	}
	return metabase.Remove{Path: path, Recursive: c.has("recursive")}, nil
}

func (p *planner) copyOp(c call) (metabase.Op, error) {
	if err := c.count(2, 2); err != nil {
		return nil, err
	}
	to, err := admin.ParsePath(c.args[1])
	if err != nil {
		return nil, err
	}
	from, err := p.there(c.args[0])
	if err != nil {
		return nil, err
	}
	p.made = append(p.made, made{to, from})
	if c.verb == "mv" {
		return metabase.Move{From: from, To: to, Overwrite: c.has("overwrite")}, nil
	}
	return metabase.Copy{From: from, To: to, Overwrite: c.has("overwrite")}, nil
}

func (p *planner) clearOp(c call) (metabase.Op, error) {
	if err := c.count(1, 1); err != nil {
		return nil, err
	}
	f, err := c.filter()
	if err != nil {
		return nil, err
	}
	path, err := p.there(c.args[0])
	return metabase.Clear{Path: path, UserType: f.user, Type: f.typ}, err
}

func (p *planner) cpdataOp(c call) (metabase.Op, error) {
	if err := c.count(2, 2); err != nil {
		return nil, err
	}
	f, err := c.filter()
	if err != nil {
		return nil, err
	}
	from, err := p.there(c.args[0])
	if err != nil {
		return nil, err
	}
	to, err := p.there(c.args[1])
	return metabase.CopyData{From: from, To: to, Attr: f.attr, UserType: f.user, Type: f.typ, Move: c.has("move")}, err
}

// The times that a key can hold, in nanoseconds from 1970 on.
var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

func (p *planner) touchOp(c call) (metabase.Op, error) {
	if err := c.count(1, 2); err != nil {
		return nil, err
	}
	op := metabase.Touch{Time: time.Now()}
	var err error
	if len(c.args) == 2 {
		op.Time, err = time.Parse(time.RFC3339, c.args[1])
		if err != nil || op.Time.Before(firstTime) || op.Time.After(lastTime) {
			return nil, api.Usage(fmt.Sprintf("%q is no time such as 2026-01-31T12:00:00Z, from the year 1678 to 2262", c.args[1]), "")
		}
	}
	op.Path, err = p.there(c.args[0])
	return op, err
}
