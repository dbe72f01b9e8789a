// SPDX-License-Identifier: Apache-2.0

package mb

import (
	"context"
	"fmt"
	"strings"

	"restante/internal/control"
	"restante/internal/desk"
	"restante/metabase"
)

func (d drawer) changes(in []metabase.Changed) []control.Change {
	out := []control.Change{}
	for _, c := range in {
		line := control.Change{Path: c.Path, What: string(c.What), ID: c.ID, To: c.To}
		if c.ID != 0 {
			p, ok := d.Schema.ByID(c.ID)
			if !ok {
				p, _ = d.Schema.Property(number(c.ID))
			}
			line.Property = p.Label()
			show := func(item *metabase.Property) (any, []string) {
				switch {
				case item == nil:
					return nil, nil
				case item.Attr&metabase.Secure != 0 || p.Attr&metabase.Secure != 0:
					return secret, []string{secret}
				}
				if text := p.Format(item.Value); len(text) > 0 {
					return jsonValue(p, item.Value), text
				}
				return jsonValue(p, item.Value), []string{""} // empty, not absent
			}
			line.Old, line.OldText = show(c.Old)
			line.New, line.NewText = show(c.New)
			beside(&line, c)
		}
		out = append(out, line)
	}
	return out
}

// beside tells of a changed property what it has beside its value: a lock, or
// another data type, may be all that changed.
func beside(line *control.Change, c metabase.Changed) {
	if c.Old != nil {
		line.OldAttributes = c.Old.Attr.String()
	}
	if c.New != nil {
		line.NewAttributes = c.New.Attr.String()
	}
	if c.Old == nil || c.New == nil {
		return
	}
	if old, next := c.Old.Value.Type(), c.New.Value.Type(); old != next {
		line.OldType, line.NewType = old.String(), next.String()
	}
	if c.Old.UserType != c.New.UserType {
		line.OldUserType, line.NewUserType = &c.Old.UserType, &c.New.UserType
	}
}

// visible leaves out what the caller may not read.
func visible(snap metabase.Snapshot, who control.Caller, in []control.Change) []control.Change {
	out := []control.Change{}
	for _, c := range in {
		if snap.Allows(who.Who, c.Path, metabase.Read) {
			out = append(out, c)
		}
	}
	return out
}

func (d drawer) entry(who control.Caller, r metabase.Record) control.Entry {
	snap := d.Tree.Snapshot()
	return control.Entry{
		Rev: r.Rev, Time: r.Time, Actor: r.Actor, Origin: r.Origin, Comment: r.Comment, Reverts: r.Reverts, Until: r.Until,
		Kept: d.kept(snap, who, r.Kept), Changes: visible(snap, who, d.changes(r.Changes)),
	}
}

func (d drawer) log(ctx context.Context, who control.Caller, q control.LogRequest) ([]control.Entry, error) {
	path, err := desk.ParsePath(q.Path)
	if err != nil {
		return nil, err
	}
	if err := d.Allow(ctx, who, path, metabase.Read); err != nil {
		return nil, err
	}
	records, err := d.Tree.Log(ctx, path, q.Count)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 && !d.Tree.Snapshot().Has(path) {
		return nil, control.Missing(string(path), "not found, and not in the history that is kept")
	}
	entries := []control.Entry{}
	for _, r := range records {
		if e := d.entry(who, r); len(e.Changes) > 0 || len(r.Changes) == 0 {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func (d drawer) diff(ctx context.Context, who control.Caller, q control.DiffRequest) ([]control.Change, error) {
	snap := d.Tree.Snapshot()
	if q.To == 0 {
		q.To = snap.Rev()
	}
	changed, err := d.Tree.Diff(ctx, q.From, q.To)
	if err != nil {
		return nil, err
	}
	return visible(snap, who, d.changes(changed)), nil
}

func (d drawer) revert(ctx context.Context, who control.Caller, q control.RevertRequest) (control.Applied, error) {
	path, err := desk.ParsePath(q.Path)
	if err != nil {
		return control.Applied{}, err
	}
	if err := d.maySee(ctx, who, q.Rev, path); err != nil {
		return control.Applied{}, err
	}
	if q.DryRun {
		c, err := d.Tree.TryRevert(ctx, q.Rev, path, who.Batch())
		return d.tried(c, err)
	}
	before := d.Tree.Snapshot().Rev()
	rev, err := d.Tree.Revert(ctx, q.Rev, path, who.Batch())
	if err != nil {
		return control.Applied{}, err
	}
	a := control.Applied{Rev: rev, Changes: []control.Change{}}
	if r, err := d.Tree.Record(ctx, rev); err == nil && rev > before && r.Reverts == q.Rev {
		a.Changes = d.changes(r.Changes)
		a.Made = true
	}
	return a, nil
}

// maySee refuses a revision that changed, at or below path, what the caller may
// not read: what stands in the way of taking it back would tell.
func (d drawer) maySee(ctx context.Context, who control.Caller, rev metabase.Rev, path metabase.Path) error {
	if err := d.Allow(ctx, who, path, metabase.Read); err != nil {
		return err
	}
	r, err := d.Tree.Record(ctx, rev)
	if err != nil {
		return err
	}
	for _, c := range r.Changes {
		if c.Path.Within(path) && d.Allow(ctx, who, c.Path, metabase.Read) != nil {
			return control.Refused(string(path), fmt.Sprintf("denied: revision %d changed more below it than you may see", rev))
		}
	}
	return nil
}

// kept gives the lines on what was not taken back, each of which begins with a
// path and perhaps a property, without those that the caller may not read.
func (d drawer) kept(snap metabase.Snapshot, who control.Caller, lines []string) (out []string) {
	for _, line := range lines {
		words := strings.SplitN(line, ": ", 3)
		p, err := metabase.ParsePath(words[0])
		if err != nil {
			p = metabase.Root
		}
		if !snap.Allows(who.Who, p, metabase.Read) {
			continue
		}
		// The tree itself knows no names.
		if id, ok := strings.CutPrefix(strings.Join(words[1:min(2, len(words))], ""), "property "); ok {
			if prop, ok := d.Schema.Property(id); ok {
				words[1] = prop.Label()
			}
		}
		out = append(out, strings.Join(words, ": "))
	}
	return out
}
