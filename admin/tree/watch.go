// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"restante/admin"
	"restante/admin/api"
	"restante/metabase"
)

// watch yields each revision that changes something at or below a path. It
// reads the newest state at each note, so that one who is slow gets several
// revisions at once and holds nobody up.
func (d handlers) watch(ctx context.Context, who api.Caller, q api.WatchRequest) iter.Seq2[api.Entry, error] {
	return func(yield func(api.Entry, error) bool) {
		path, err := admin.ParsePath(q.Path)
		if err == nil && d.Engine == nil {
			err = api.ErrNoService // without it nobody can change what is watched
		}
		if err == nil {
			err = d.Allow(ctx, who, path, metabase.Read)
		}
		if err != nil {
			yield(api.Entry{}, err)
			return
		}
		w := d.Tree.Watch(path)
		defer w.Close()
		seen := d.Tree.Snapshot().Rev()
		if q.Since > seen {
			yield(api.Entry{}, api.Missing(fmt.Sprintf("revision %d", q.Since), fmt.Sprintf("not found: the newest is %d", seen)))
			return
		}
		if q.Since > 0 {
			seen = q.Since
		}
		for {
			now := d.Tree.Snapshot().Rev()
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
func (d handlers) tell(ctx context.Context, who api.Caller, path metabase.Path, seen, now metabase.Rev, yield func(api.Entry, error) bool) bool {
	v := d.ChangeView(who)
	if seen < d.Tree.Oldest() {
		one := d.entry(v, metabase.Record{
			Rev: now, Changes: d.standing(path, seen),
			Comment: fmt.Sprintf("the history does not reach back to revision %d: this was stored since and still holds", seen),
		})
		return len(one.Changes) == 0 || yield(one, nil)
	}
	var err error
	v.After, err = d.Tree.At(ctx, seen)
	for rev := seen + 1; rev <= now; rev++ {
		var r metabase.Record
		if err == nil {
			r, err = d.Tree.Record(ctx, rev)
		}
		if err == nil {
			err = v.Forward(ctx, d.Tree.At, r)
		}
		if rev <= d.Tree.Oldest() { // dropped just now
			return d.tell(ctx, who, path, rev-1, now, yield)
		}
		if err != nil {
			yield(api.Entry{}, err)
			return false
		}
		one := d.entry(v, r)
		one.Changes = slices.DeleteFunc(one.Changes, func(c api.Change) bool { return !c.Path.Within(path) && !path.Within(c.Path) })
		if len(one.Changes) > 0 && !yield(one, nil) {
			return false
		}
	}
	return true
}

// standing lists what holds at and below path, or is stored above it, and was
// stored after a revision.
func (d handlers) standing(path metabase.Path, since metabase.Rev) (out []metabase.DiffLine) {
	snap := d.Tree.Snapshot()
	add := func(p metabase.Path) {
		for _, item := range snap.Properties(p) {
			if item.Rev > since && item.Attr&metabase.Volatile == 0 {
				out = append(out, metabase.DiffLine{Path: admin.Canonical(snap, p), Kind: metabase.PropertySet, ID: item.ID, New: &item})
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
