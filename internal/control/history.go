// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"restante/metabase"
)

// The calls about what was.
const (
	MbLog    Method[LogRequest, []Entry]    = "mb/log"
	MbDiff   Method[DiffRequest, []Change]  = "mb/diff"
	MbRevert Method[RevertRequest, Applied] = "mb/revert"
	MbWatch  Flow[WatchRequest, Entry]      = "mb/watch"
)

// A LogRequest asks for the newest Count revisions that changed something at
// or below Path, 0 for all there are.
type LogRequest struct {
	Path  string `json:"path"`
	Count int    `json:"count"`
}

// An Entry is one revision.
type Entry struct {
	Rev     metabase.Rev       `json:"rev"`
	Time    time.Time          `json:"time,omitzero"`
	Actor   metabase.Principal `json:"actor"`
	Origin  metabase.Origin    `json:"origin"`
	Comment string             `json:"comment,omitempty"`
	Reverts metabase.Rev       `json:"reverts,omitempty"`
	Until   time.Time          `json:"until,omitzero"`
	Kept    []string           `json:"kept,omitempty"`
	Changes []Change           `json:"changes"`
}

// A Change is one line of a difference.
type Change struct {
	Path     metabase.Path `json:"path"`
	What     string        `json:"what"`
	Property string        `json:"property,omitempty"`
	ID       metabase.ID   `json:"id,omitempty"`
	Old      any           `json:"old,omitempty"`
	New      any           `json:"new,omitempty"`
	OldText  []string      `json:"old_text,omitempty"`
	NewText  []string      `json:"new_text,omitempty"`
	To       metabase.Path `json:"to,omitempty"`
}

// A DiffRequest asks what leads from one revision to another, 0 for now.
type DiffRequest struct {
	From metabase.Rev `json:"from"`
	To   metabase.Rev `json:"to"`
}

// A RevertRequest takes a revision back, at and below Path.
type RevertRequest struct {
	Rev  metabase.Rev `json:"rev"`
	Path string       `json:"path"`
}

// A WatchRequest asks for each change at and below Path, from revision Since
// on, 0 for now.
type WatchRequest struct {
	Path  string       `json:"path"`
	Since metabase.Rev `json:"since,omitempty"`
}

func (d *Desk) changes(in []metabase.Changed) []Change {
	out := []Change{}
	for _, c := range in {
		line := Change{Path: c.Path, What: string(c.What), ID: c.ID, To: c.To}
		if c.ID != 0 {
			p, ok := d.schema.ByID(c.ID)
			if !ok {
				p, _ = d.schema.Property(number(c.ID))
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
		}
		out = append(out, line)
	}
	return out
}

// visible leaves out what the caller may not read.
func visible(snap metabase.Snapshot, who Caller, in []Change) []Change {
	out := []Change{}
	for _, c := range in {
		if snap.Allows(who.Who, c.Path, metabase.Read) {
			out = append(out, c)
		}
	}
	return out
}

func (d *Desk) entry(who Caller, r metabase.Record) Entry {
	snap := d.tree.Snapshot()
	return Entry{
		r.Rev, r.Time, r.Actor, r.Origin, r.Comment, r.Reverts, r.Until, d.kept(snap, who, r.Kept),
		visible(snap, who, d.changes(r.Changes)),
	}
}

func (d *Desk) log(ctx context.Context, who Caller, q LogRequest) ([]Entry, error) {
	path, err := parsePath(q.Path)
	if err != nil {
		return nil, err
	}
	if err := d.allow(ctx, who, path, metabase.Read); err != nil {
		return nil, err
	}
	records, err := d.tree.Log(ctx, path, q.Count)
	if err != nil {
		return nil, err
	}
	entries := []Entry{}
	for _, r := range records {
		if e := d.entry(who, r); len(e.Changes) > 0 || len(r.Changes) == 0 {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func (d *Desk) diff(ctx context.Context, who Caller, q DiffRequest) ([]Change, error) {
	snap := d.tree.Snapshot()
	if q.To == 0 {
		q.To = snap.Rev()
	}
	changed, err := d.tree.Diff(ctx, q.From, q.To)
	if err != nil {
		return nil, err
	}
	return visible(snap, who, d.changes(changed)), nil
}

func (d *Desk) revert(ctx context.Context, who Caller, q RevertRequest) (Applied, error) {
	path, err := parsePath(q.Path)
	if err != nil {
		return Applied{}, err
	}
	if err := d.maySee(ctx, who, q.Rev, path); err != nil {
		return Applied{}, err
	}
	rev, err := d.tree.Revert(ctx, q.Rev, path, who.batch())
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Rev: rev, Changes: []Change{}}
	if r, err := d.tree.Record(ctx, rev); err == nil {
		a.Changes = d.changes(r.Changes)
	}
	return a, nil
}

// maySee refuses a revision that changed, at or below path, what the caller may
// not read: what stands in the way of taking it back would tell.
func (d *Desk) maySee(ctx context.Context, who Caller, rev metabase.Rev, path metabase.Path) error {
	if err := d.allow(ctx, who, path, metabase.Read); err != nil {
		return err
	}
	r, err := d.tree.Record(ctx, rev)
	if err != nil {
		return err
	}
	for _, c := range r.Changes {
		if c.Path.Within(path) && d.allow(ctx, who, c.Path, metabase.Read) != nil {
			return refused(string(path), fmt.Sprintf("denied: revision %d changed more below it than you may see", rev))
		}
	}
	return nil
}

// kept gives the lines on what was not taken back, each of which begins with a
// path and perhaps a property, without those that the caller may not read.
func (d *Desk) kept(snap metabase.Snapshot, who Caller, lines []string) (out []string) {
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
			if prop, ok := d.schema.Property(id); ok {
				words[1] = prop.Label()
			}
		}
		out = append(out, strings.Join(words, ": "))
	}
	return out
}

// watch yields each revision that changes something at or below a path. It
// reads the newest state at each note, so that one who is slow gets several
// revisions at once and holds nobody up.
func (d *Desk) watch(ctx context.Context, who Caller, q WatchRequest) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		path, err := parsePath(q.Path)
		if err == nil && d.engine == nil {
			err = ErrNoService // without it nobody can change what is watched
		}
		if err == nil {
			err = d.allow(ctx, who, path, metabase.Read)
		}
		if err != nil {
			yield(Entry{}, err)
			return
		}
		w := d.tree.Watch(path)
		defer w.Close()
		seen := d.tree.Snapshot().Rev()
		if q.Since > 0 {
			seen = q.Since
		}
		for {
			now := d.tree.Snapshot().Rev()
			if now > seen && !d.tell(ctx, who, path, seen, now, yield) {
				return
			}
			seen = max(now, seen)
			select {
			case <-ctx.Done():
				return
			case <-w.C():
			}
		}
	}
}

// tell yields the revisions after seen and up to now, oldest first. Where the
// history has dropped some of them it yields, as one, what they stored and still
// holds.
func (d *Desk) tell(ctx context.Context, who Caller, path metabase.Path, seen, now metabase.Rev, yield func(Entry, error) bool) bool {
	if seen < d.tree.Oldest() {
		e := d.entry(who, metabase.Record{
			Rev: now, Changes: d.standing(path, seen),
			Comment: fmt.Sprintf("the history does not reach back to revision %d: this was stored since and still holds", seen),
		})
		return len(e.Changes) == 0 || yield(e, nil)
	}
	for rev := seen + 1; rev <= now; rev++ {
		r, err := d.tree.Record(ctx, rev)
		if rev <= d.tree.Oldest() { // dropped just now
			return d.tell(ctx, who, path, rev-1, now, yield)
		}
		if err != nil {
			yield(Entry{}, err)
			return false
		}
		e := d.entry(who, r)
		e.Changes = slices.DeleteFunc(e.Changes, func(c Change) bool { return !c.Path.Within(path) && !path.Within(c.Path) })
		if len(e.Changes) > 0 && !yield(e, nil) {
			return false
		}
	}
	return true
}

// standing lists what holds at and below path, or is stored above it, and was
// stored after a revision.
func (d *Desk) standing(path metabase.Path, since metabase.Rev) (out []metabase.Changed) {
	snap := d.tree.Snapshot()
	add := func(p metabase.Path) {
		for _, item := range snap.Properties(p) {
			if item.Rev > since && item.Attr&metabase.Volatile == 0 {
				out = append(out, metabase.Changed{Path: spelled(snap, p), What: metabase.PropertySet, ID: item.ID, New: &item})
			}
		}
	}
	for p := path; p != metabase.Root; p = p.Parent() {
		if p != path {
			add(p)
		}
	}
	for p := range snap.Walk(path) {
		add(p)
	}
	return out
}
