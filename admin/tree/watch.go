// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"errors"
	"fmt"
	"iter"

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
			if err = d.Allow(ctx, who, path, metabase.Read); d.View(who).Conceals(path, metabase.Read) {
				err = nil // as for a key that does not exist: nothing comes
			}
		}
		if err != nil {
			yield(api.Entry{}, err)
			return
		}
		notes := d.Tree.Watch(path)
		defer notes.Close()
		w := watcher{handlers: d, who: who, path: path, yield: yield, told: d.Tree.Snapshot()}
		if q.Since != nil && !w.resume(ctx, *q.Since) {
			return
		}
		for w.tell(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-notes.C():
			}
		}
	}
}

// A watcher tells one caller what changes at and below a path. It keeps the state
// that it has told of: when the history drops what follows, the difference is told
// instead, with what was removed.
type watcher struct {
	handlers
	who   api.Caller
	path  metabase.Path
	yield func(api.Entry, error) bool
	told  metabase.Snapshot
}

// resume begins after revision since. Where the history does not reach back to it,
// what was removed meanwhile is not known: the caller must read anew.
func (w *watcher) resume(ctx context.Context, since metabase.Rev) bool {
	now := w.told
	if since > now.Rev() {
		w.yield(api.Entry{}, api.Missing(fmt.Sprintf("revision %d", since), fmt.Sprintf("not found: the newest is %d", now.Rev())))
		return false
	}
	was, err := w.Tree.At(ctx, since)
	if err == nil {
		w.told = was
		return true
	}
	if !errors.Is(err, metabase.NotFound) && !errors.Is(err, metabase.Damaged) {
		w.yield(api.Entry{}, err)
		return false
	}
	one := w.entry(w.ChangeView(w.who), metabase.Record{
		Rev: now.Rev(), Changes: standing(now, w.path, since),
		Comment: fmt.Sprintf("the history does not reach back to revision %d: this was stored since and still holds; what was removed is not told, so read %s anew", since, w.path),
	})
	one.Anew = true
	return w.yield(one, nil)
}

// tell yields the revisions after the one that was told, oldest first; as one, if
// the history has lost some of them. It reports whether the caller wants more.
func (w *watcher) tell(ctx context.Context) bool {
	v := w.ChangeView(w.who)
	from := w.told
	w.told, v.After = v.Now, from
	for rev := from.Rev() + 1; rev <= v.Now.Rev(); rev++ {
		r, err := w.Tree.Record(ctx, rev)
		if err == nil {
			err = v.Forward(ctx, w.Tree.At, r)
		}
		if rev <= w.Tree.Oldest() || errors.Is(err, metabase.Damaged) {
			return w.tellDifference(from)
		}
		if err != nil {
			w.yield(api.Entry{}, err)
			return false
		}
		r.Changes = linesWithin(r.Changes, w.path)
		if one := w.entry(v, r); len(one.Changes) > 0 && !w.yield(one, nil) {
			return false
		}
	}
	return true
}

func (w *watcher) tellDifference(from metabase.Snapshot) bool {
	v := w.ChangeView(w.who)
	w.told, v.Before = v.Now, from
	one := w.entry(v, metabase.Record{
		Rev: v.Now.Rev(), Changes: linesWithin(metabase.Change{Old: from, New: v.Now}.Diff(), w.path),
		Comment: fmt.Sprintf("the history has dropped what follows revision %d: this is the difference", from.Rev()),
	})
	return len(one.Changes) == 0 || w.yield(one, nil)
}

// standing lists what holds at and below path and was stored after a revision.
func standing(snap metabase.Snapshot, path metabase.Path, since metabase.Rev) (out []metabase.DiffLine) {
	for p := range snap.Walk(path) {
		for _, item := range snap.Properties(p) {
			if item.Rev > since && item.Attr&metabase.Volatile == 0 {
				out = append(out, metabase.DiffLine{Path: admin.Canonical(snap, p), Kind: metabase.PropertySet, ID: item.ID, New: &item})
			}
		}
	}
	return out
}
