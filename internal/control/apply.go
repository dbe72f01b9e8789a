// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/metabase"
	"restante/metabase/schema"
)

// The calls that change the tree as a tree.
const (
	MbApply   Method[ApplyRequest, Applied]   = "mb/apply"
	MbConfirm Method[ConfirmRequest, Applied] = "mb/confirm"
)

// An ApplyRequest is a batch in words, as `mb apply` reads them.
type ApplyRequest struct {
	Lines   []Line       `json:"lines"`
	DryRun  bool         `json:"dry_run,omitempty"`
	IfRev   metabase.Rev `json:"if_rev,omitempty"`
	Confirm float64      `json:"confirm,omitempty"` // seconds
}

// A Line is one operation: a verb and its arguments.
type Line struct {
	Number int      `json:"number,omitempty"` // in its file; 0: it has none
	Words  []string `json:"words"`
	Broken string   `json:"broken,omitempty"` // why it could not be split into words
}

// Applied says what came of a batch, or with a dry run would come of it.
type Applied struct {
	Rev     metabase.Rev `json:"rev"`
	DryRun  bool         `json:"dry_run,omitempty"`
	Until   time.Time    `json:"until,omitzero"` // to be confirmed before
	Changes []Change     `json:"changes"`
	Touches *Touches     `json:"touches,omitempty"`
}

// A ConfirmRequest confirms a revision, 0 for the newest that waits.
type ConfirmRequest struct {
	Rev metabase.Rev `json:"rev"`
}

func (d *Desk) apply(ctx context.Context, who Caller, q ApplyRequest) (Applied, error) {
	ops, err := d.plan(ctx, who, q.Lines)
	if err != nil {
		return Applied{}, d.alsoRefused(ctx, who.batch(ops...), err)
	}
	b := who.batch(ops...)
	b.IfRev, b.Confirm = q.IfRev, time.Duration(q.Confirm*float64(time.Second))
	return d.commit(ctx, b, q.DryRun)
}

// alsoRefused adds to err, about lines that cannot be understood, what stands
// against the others: all problems are told at once.
func (d *Desk) alsoRefused(ctx context.Context, b metabase.Batch, err error) error {
	var refused *metabase.Refused
	if len(b.Ops) == 0 {
		return err
	}
	if _, tried := d.tree.Try(ctx, b); !errors.As(tried, &refused) {
		return err
	}
	e, more := *AsError(err), ofRefused(refused)
	e.Problems = append(slices.Clone(e.Problems), more.Problems...)
	if more.Kind != KindNotFound {
		e.Kind = KindRefused
	}
	return &e
}

// commit applies the batch or tries it, and tells what changes.
func (d *Desk) commit(ctx context.Context, b metabase.Batch, dry bool) (Applied, error) {
	if dry {
		c, err := d.tree.Try(ctx, b)
		if err != nil {
			return Applied{}, err
		}
		touches := d.touches(c)
		return Applied{Rev: c.Old.Rev(), DryRun: true, Changes: d.changes(c.Diff()), Touches: &touches}, nil
	}
	before := d.tree.Snapshot().Rev()
	rev, err := d.tree.Apply(ctx, b)
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Rev: rev, Changes: []Change{}}
	if rev == before {
		return a, nil
	}
	if r, err := d.tree.Record(ctx, rev); err == nil {
		a.Changes = d.changes(r.Changes)
		a.Until = r.Until
	}
	return a, nil
}

func (d *Desk) confirm(ctx context.Context, who Caller, q ConfirmRequest) (Applied, error) {
	rev, err := d.mayConfirm(ctx, who, q.Rev)
	if err != nil {
		return Applied{}, err
	}
	rev, err = d.tree.Confirm(ctx, rev)
	return Applied{Rev: rev, Changes: []Change{}}, err
}

// mayConfirm finds the revision that waits and that the caller may keep: who
// may write at every key that it changed. Rev 0 is the newest such.
func (d *Desk) mayConfirm(ctx context.Context, who Caller, rev metabase.Rev) (metabase.Rev, error) {
	snap, waits := d.tree.Snapshot(), false
	for _, p := range d.tree.Pending() {
		if rev != 0 && p.Rev != rev {
			continue
		}
		waits = true
		r, err := d.tree.Record(ctx, p.Rev)
		if err != nil {
			return 0, err
		}
		if !slices.ContainsFunc(r.Changes, func(c metabase.Changed) bool { return !snap.Allows(who.Who, c.Path, metabase.Write) }) {
			return p.Rev, nil
		}
	}
	if waits {
		return 0, d.allow(ctx, who, metabase.Root, metabase.Write)
	}
	return rev, nil
}

// plan makes the operations of a batch in words. Every line that cannot be
// understood is in the error, which comes with the operations of the others.
func (d *Desk) plan(ctx context.Context, who Caller, lines []Line) ([]metabase.Op, error) {
	p := planner{desk: d, snap: d.tree.Snapshot(), set: map[string]metabase.Property{}}
	var ops []metabase.Op
	var problems []Problem
	var single error
	notFound := 0
	for _, l := range lines {
		op, err := p.line(l)
		if err == nil {
			ops = append(ops, op)
			continue
		}
		if len(l.Words) > 1 {
			err = d.veil(ctx, who, l.Words[1], err)
		}
		e := AsError(err)
		if single = e; e.Kind == KindNotFound {
			notFound++
		}
		at := ""
		if l.Number > 0 {
			at = "line " + strconv.Itoa(l.Number)
		}
		problems = append(problems, Problem{Path: at, Why: e.Error()})
	}
	switch {
	case len(problems) == 0:
		return ops, nil
	case len(lines) == 1 && lines[0].Number == 0:
		return nil, single
	case notFound == len(problems):
		return ops, &Error{Kind: KindNotFound, Problems: problems}
	}
	return ops, &Error{Kind: KindRefused, Problems: problems}
}

// A planner turns words into operations, and remembers what earlier ones did
// as far as later ones ask for it.
type planner struct {
	desk *Desk
	snap metabase.Snapshot
	made []made                       // by add, cp and mv
	set  map[string]metabase.Property // by path and id in small letters
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
		if m.from != "" && path.Within(m.path) && p.snap.Has(m.from+path[len(m.path):]) {
			return true
		}
	}
	return false
}

func (p *planner) line(l Line) (metabase.Op, error) {
	if l.Broken != "" || len(l.Words) == 0 {
		return nil, usage(l.Broken, "")
	}
	return p.op(l.Words)
}

func (p *planner) op(words []string) (metabase.Op, error) {
	verb, args := words[0], words[1:]
	switch strings.ToLower(verb) {
	case "set":
		return p.setOp(args)
	case "unset":
		t, err := p.desk.find(p.has, args)
		if err == nil && len(t.rest) > 0 {
			err = usage("unset takes PATH PROP", "")
		}
		p.set[t.key()] = metabase.Property{}
		return metabase.Unset{Path: t.path, ID: t.prop.ID}, err
	case "lock", "unlock":
		return p.lockOp(strings.ToLower(verb), args)
	case "add":
		return p.addOp(args)
	case "rm":
		return p.rmOp(args)
	case "cp", "mv":
		return p.copyOp(strings.ToLower(verb), args)
	}
	return nil, usage(fmt.Sprintf("%q is no operation: use set, unset, lock, unlock, add, rm, cp or mv", verb), "")
}

func (p *planner) setOp(args []string) (metabase.Op, error) {
	t, err := p.desk.find(p.has, args)
	if err != nil {
		return nil, err
	}
	prop := t.prop
	v, err := prop.Parse(t.rest)
	if err != nil {
		return nil, &Error{Kind: KindRefused, Text: join(string(spelled(p.snap, t.path)), prop.Label(), err.Error())}
	}
	was, stored := p.stored(t)
	if prop.Syntax == schema.Flag {
		whole, _ := p.desk.schema.ByID(prop.ID)
		base := was.Value
		if !stored {
			base, _, _ = p.desk.schema.Effective(p.snap, t.path, prop.ID)
		}
		v, prop = prop.WithBit(base, v.DWord() != 0), whole
	}
	item := prop.Item(v)
	item.Attr |= was.Attr & metabase.Locked // only unlock takes a lock away
	return p.store(t, item), nil
}

// stored is what the key of t holds itself, after the earlier lines.
func (p *planner) stored(t target) (metabase.Property, bool) {
	if item, ok := p.set[t.key()]; ok {
		return item, !item.Value.IsZero()
	}
	return p.snap.Stored(t.path, t.prop.ID)
}

func (p *planner) store(t target, item metabase.Property) metabase.Op {
	p.set[t.key()] = item
	return metabase.Set{Path: t.path, Property: item}
}

// lockOp locks what is stored at a key against being overridden below it, or
// lets it be overridden again.
func (p *planner) lockOp(verb string, args []string) (metabase.Op, error) {
	t, err := p.desk.find(p.has, args)
	if err == nil && len(t.rest) > 0 {
		err = usage(verb+" takes PATH PROP", "")
	}
	if err != nil {
		return nil, err
	}
	item, ok := p.stored(t)
	path, whole := string(spelled(p.snap, t.path)), t.prop
	if whole.Syntax == schema.Flag {
		whole, _ = p.desk.schema.ByID(t.prop.ID) // a flag is locked with the rest of its number
	}
	switch {
	case !ok:
		return nil, missing(path, whole.Label()+": not stored there, so there is nothing to "+verb)
	case verb == "unlock" && item.Attr&metabase.Locked == 0:
		return nil, refused(path, whole.Label()+": is not locked there")
	case item.Attr&(metabase.Inherit|metabase.Volatile) != metabase.Inherit:
		return nil, refused(path, whole.Label()+": is not inherited, so nothing below can override it")
	}
	item.Attr ^= item.Attr & metabase.Locked
	if verb == "lock" {
		item.Attr |= metabase.Locked
	}
	return p.store(t, item), nil
}

func (p *planner) addOp(args []string) (metabase.Op, error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, usage("add takes PATH and a class", "")
	}
	path, err := parsePath(args[0])
	if err != nil {
		return nil, err
	}
	op := metabase.AddKey{Path: path}
	if len(args) == 2 {
		c, ok := p.desk.schema.Class(args[1])
		if !ok {
			return nil, missing(string(path), fmt.Sprintf("no class is called %q", args[1]))
		}
		op.Class = c.Name
	} else {
		op.Class = p.desk.schema.ClassAt(p.snap, path)
	}
	p.made = append(p.made, made{path: path})
	return op, nil
}

func (p *planner) rmOp(args []string) (metabase.Op, error) {
	recursive := len(args) == 2 && (args[1] == "--recursive" || args[1] == "-r")
	if len(args) != 1 && !recursive {
		return nil, usage("rm takes PATH", "")
	}
	path, err := parsePath(args[0])
	if err != nil {
		return nil, err
	}
	if !p.has(path) {
		return nil, missing(string(path), "not found")
	}
	return metabase.Remove{Path: path, Recursive: recursive}, nil
}

func (p *planner) copyOp(verb string, args []string) (metabase.Op, error) {
	if len(args) != 2 {
		return nil, usage(verb+" takes SRC DST", "")
	}
	from, err := parsePath(args[0])
	if err != nil {
		return nil, err
	}
	to, err := parsePath(args[1])
	if err != nil {
		return nil, err
	}
	if !p.has(from) {
		return nil, missing(string(from), "not found")
	}
	p.made = append(p.made, made{to, from})
	if verb == "mv" {
		return metabase.Move{From: from, To: to}, nil
	}
	return metabase.Copy{From: from, To: to}, nil
}
