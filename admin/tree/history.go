// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
)

func (d handlers) changes(in []metabase.DiffLine) []api.Change {
	out := make([]api.Change, 0, len(in))
	for _, c := range in {
		line := api.Change{Path: c.Path, What: string(c.Kind), ID: c.ID, To: c.To}
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
					return metabase.Asterisks, []string{metabase.Asterisks}
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
func beside(line *api.Change, c metabase.DiffLine) {
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

func (d handlers) entry(v metabase.ChangeView, r metabase.Record) api.Entry {
	return api.Entry{
		Rev: r.Rev, Time: r.Time, Actor: r.Actor, Origin: r.Origin, Comment: r.Comment, Reverts: r.Reverts, Until: r.Until,
		Kept: d.kept(v.Kept(r.Kept)), Changes: d.changes(v.Lines(r.Changes)),
	}
}

// log walks back from today, and so meets every change of a list before the
// revisions that it bears on.
func (d handlers) log(ctx context.Context, who api.Caller, q api.LogRequest) ([]api.Entry, error) {
	path, err := admin.ParsePath(q.Path)
	if err != nil {
		return nil, err
	}
	missing := api.Missing(string(path), "not found, and not in the history that is kept")
	if err := d.Require(ctx, who, path, metabase.Read, true, missing); err != nil {
		return nil, err
	}
	entries, v := []api.Entry{}, d.ChangeView(who)
	for rev := v.Now.Rev(); rev > d.Tree.Oldest() && (q.Count == 0 || len(entries) < q.Count); rev-- {
		r, err := d.Tree.Record(ctx, rev)
		was := v
		if err == nil {
			err = v.Back(ctx, d.Tree.At, r)
		}
		if rev <= d.Tree.Oldest() { // dropped just now
			break
		}
		if errors.Is(err, metabase.Damaged) {
			// What it changed of the access lists is not known.
			if !v.Now.Allows(who.Who, metabase.Root, metabase.AllRights) {
				return append(entries, unreadable(rev, errors.New("its record and the older ones cannot be shown: one of them is damaged"))), nil
			}
			if v = was; r.Rev == 0 {
				entries = append(entries, unreadable(rev, err))
				continue
			}
			err = nil
		}
		if err != nil {
			return nil, err
		}
		// A revision that changed nothing but the history is in that of the root.
		always := path == metabase.Root && len(r.Changes) == 0
		r.Changes = linesWithin(r.Changes, path)
		if one := d.entry(v, r); len(one.Changes) > 0 || always {
			entries = append(entries, one)
		}
	}
	if len(entries) == 0 && !v.Now.Has(path) {
		return nil, missing
	}
	return entries, nil
}

// unreadable stands for a revision whose record cannot be decoded.
func unreadable(rev metabase.Rev, err error) api.Entry {
	return api.Entry{Rev: rev, Comment: err.Error(), Changes: []api.Change{}}
}

// linesWithin gives what is about keys at or below a path.
func linesWithin(list []metabase.DiffLine, path metabase.Path) []metabase.DiffLine {
	return slices.DeleteFunc(list, func(c metabase.DiffLine) bool {
		return !c.Path.Within(path) && !(c.Kind == metabase.KeyMoved && c.To.Within(path))
	})
}

func (d handlers) diff(ctx context.Context, who api.Caller, q api.DiffRequest) ([]api.Change, error) {
	v := d.ChangeView(who)
	if q.To == 0 {
		q.To = v.Now.Rev()
	}
	var err error
	if v.Before, err = d.Tree.At(ctx, q.From); err != nil {
		return nil, err
	}
	if v.After, err = d.Tree.At(ctx, q.To); err != nil {
		return nil, err
	}
	return d.changes(v.Lines(metabase.Change{Old: v.Before, New: v.After}.Diff())), nil
}

func (d handlers) revert(ctx context.Context, who api.Caller, q api.RevertRequest) (api.Applied, error) {
	path, err := admin.ParsePath(q.Path)
	if err != nil {
		return api.Applied{}, err
	}
	if err := d.maySee(ctx, who, q.Rev, path); err != nil {
		return api.Applied{}, err
	}
	if q.DryRun {
		c, err := d.As(who).TryRevert(ctx, q.Rev, path, who.Batch())
		if err != nil {
			return api.Applied{}, err
		}
		return d.tried(who, c), nil
	}
	before := d.Tree.Snapshot().Rev()
	rev, err := d.As(who).Revert(ctx, q.Rev, path, who.Batch())
	return d.made(ctx, who, before, rev), err
}

// maySee asks for the right to read all that a revision changed at or below
// path: what stands in the way of taking it back would tell.
func (d handlers) maySee(ctx context.Context, who api.Caller, rev metabase.Rev, path metabase.Path) error {
	r, err := d.Tree.Record(ctx, rev)
	if err != nil {
		return d.Redact(ctx, who, path, err)
	}
	v, err := d.ViewRecord(ctx, who, r)
	if err != nil {
		return d.Redact(ctx, who, path, err)
	}
	now, mine := v.Now.View(who.Who), false
	if now.Conceals(path, metabase.Read) {
		return d.AllowNamed(ctx, who, path, metabase.Read)
	}
	for _, c := range r.Changes {
		if !c.Path.Within(path) {
			continue
		}
		hidden, is := c.Path, !v.Sees(c.Path)
		if !is && c.Kind == metabase.KeyAdded {
			hidden, is = now.Hidden(c.Path) // it would be in the way
		}
		switch {
		case is && !v.Now.Has(path) && !v.Sees(path) && v.Sees(path.Parent()):
			return api.Missing(string(path), "not found") // as a key that there never was
		case is:
			return d.Deny(ctx, who, hidden, metabase.Read, path, fmt.Sprintf("revision %d changed more below it than you may see", rev))
		}
		mine = true
	}
	if mine {
		return nil
	}
	if err := d.Allow(ctx, who, path, metabase.Read); err != nil || v.Now.Has(path) {
		return err
	}
	return api.Missing(string(path), "not found")
}

// kept gives the lines of a Record on what was not taken back.
func (d handlers) kept(lines []string) (out []string) {
	for _, line := range lines {
		out = append(out, d.Schema.Named(line))
	}
	return out
}
