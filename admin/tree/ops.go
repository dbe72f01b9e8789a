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

func (p *lineParser) parseUnset(c call) (metabase.Op, error) {
	t, err := p.find(p.exists, c.args)
	if err == nil && len(t.rest) > 0 {
		err = api.Usage(c.name+" takes "+c.usage, "")
	}
	if err != nil {
		return nil, err
	}
	if t.prop.Syntax == schema.Flag {
		whole, _ := p.Schema.ByID(t.prop.ID)
		path := string(admin.Canonical(p.view.Snapshot, t.path))
		return nil, &api.Error{
			Kind: api.KindRefused,
			Text: fmt.Sprintf("%s: %s: is one bit of %s: set it to false, or unset %s with all its bits", path, t.prop.Label(), whole.Label(), whole.Label()),
			Hint: "mb set " + shellWord(path) + " " + t.prop.Label() + " false",
		}
	}
	p.stored[t.key()] = metabase.Property{}
	return metabase.Unset{Path: t.path, ID: t.prop.ID}, nil
}

// shellWord quotes a word of a hint.
func shellWord(s string) string {
	if strings.ContainsAny(s, " '\"\\$*?[]&;|<>()~#`!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

func (p *lineParser) parseAdd(c call) (metabase.Op, error) {
	if err := c.count(1, 2); err != nil {
		return nil, err
	}
	path, err := admin.ParsePath(c.args[0])
	if err != nil {
		return nil, err
	}
	op := metabase.AddKey{Path: path}
	if len(c.args) == 2 {
		class, ok := p.Schema.Class(c.args[1])
		if !ok {
			return nil, api.Missing(string(path), fmt.Sprintf("no class is called %q", c.args[1]))
		}
		op.Class = class.Name
	} else {
		op.Class = p.Schema.ClassAt(p.view.Snapshot, path)
	}
	p.made = append(p.made, made{path: path})
	return op, nil
}

// parseLock also parses unlock.
func (p *lineParser) parseLock(c call) (metabase.Op, error) {
	t, err := p.find(p.exists, c.args)
	if err == nil && len(t.rest) > 0 {
		err = api.Usage(c.name+" takes "+c.usage, "")
	}
	return metabase.Lock{Path: t.path, ID: t.prop.ID, Off: c.name == "unlock"}, err
}

// there reads a path that must lead to a key.
func (p *lineParser) there(word string) (metabase.Path, error) {
	path, err := admin.ParsePath(word)
	if err == nil && !p.exists(path) {
		err = api.Missing(string(path), "not found")
	}
	return path, err
}

func (p *lineParser) parseRemove(c call) (metabase.Op, error) {
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

// copied reads SRC and DST.
func (p *lineParser) copied(c call) (from, to metabase.Path, err error) {
	if err := c.count(2, 2); err != nil {
		return "", "", err
	}
	if to, err = admin.ParsePath(c.args[1]); err == nil {
		from, err = p.there(c.args[0])
	}
	if err == nil {
		p.made = append(p.made, made{to, from})
	}
	return from, to, err
}

func (p *lineParser) parseCopy(c call) (metabase.Op, error) {
	from, to, err := p.copied(c)
	return metabase.Copy{From: from, To: to, Overwrite: c.has("overwrite")}, err
}

func (p *lineParser) parseMove(c call) (metabase.Op, error) {
	from, to, err := p.copied(c)
	return metabase.Move{From: from, To: to, Overwrite: c.has("overwrite")}, err
}

func (p *lineParser) parseClear(c call) (metabase.Op, error) {
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

func (p *lineParser) parseCopyData(c call) (metabase.Op, error) {
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

func (p *lineParser) parseTouch(c call) (metabase.Op, error) {
	if err := c.count(1, 2); err != nil {
		return nil, err
	}
	op := metabase.Touch{Time: time.Now()}
	var err error
	if len(c.args) == 2 {
		op.Time, err = time.Parse(time.RFC3339, c.args[1])
		if err != nil || op.Time.Before(firstTime) || op.Time.After(lastTime) {
			return nil, api.Usage(fmt.Sprintf("invalid time %q: use RFC 3339, such as 2026-03-01T12:00:00Z, from the year 1678 to 2262", c.args[1]), "")
		}
	}
	op.Path, err = p.there(c.args[0])
	return op, err
}
