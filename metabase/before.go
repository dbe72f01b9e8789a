// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"slices"

	"restante/metabase/internal/history"
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// A searcher finds what a revision changed as it was before, without what nobody
// confirmed: a revert must not bring that back for good.
type searcher struct {
	void  map[Rev]bool // revisions that were never confirmed
	first Rev          // of those
	wants []*sought
	found []Problem
}

// A sought is a part whose earlier state is looked for, in ever older revisions.
type sought struct {
	at   Path // of its key in the revision that is looked at
	id   ID   // 0 for the key itself
	old  **Property
	skip map[Rev]bool // what it wrote there was reverted since
	key  Path         // where it is now
}

// before puts into the deltas of h, which the caller has for itself, the earlier
// values that were confirmed. A problem is a key at or below a path whose earlier
// existence hangs on what was never confirmed.
func (s *Store) before(ctx context.Context, h *history.Entry, below Path) ([]Problem, error) {
	f := searcher{void: map[Rev]bool{}}
	if err := f.findVoid(ctx, s, h); err != nil || len(f.void) == 0 {
		return nil, err
	}
	for i := range h.Deltas {
		d := &h.Deltas[i]
		if !d.Path.Within(below) {
			continue
		}
		if d.Added || d.Removed {
			f.wants = append(f.wants, &sought{at: d.Path, key: d.Path})
		}
		for j := range d.Props {
			if !d.Added { // otherwise there was none
				f.wants = append(f.wants, &sought{at: d.Path, key: d.Path, id: d.Props[j].ID, old: &d.Props[j].Old})
			}
		}
	}
	at := s.pages.Reader()
	for rev := h.Rev - 1; rev >= f.first && len(f.wants) > 0; rev-- {
		e, err := at.Entry(ctx, rev)
		switch key.KindOf(err) {
		case NotFound, Damaged:
			continue
		}
		if err != nil {
			return nil, err
		}
		f.look(e)
	}
	return f.found, nil
}

// findVoid finds the revisions before h that were pending and were not confirmed.
// That h itself takes one of them back does not count: to revert it is to want that.
func (f *searcher) findVoid(ctx context.Context, s *Store, h *history.Entry) error {
	at := s.pages.Reader()
	timed := map[Rev]bool{}
	for rev := s.pages.Oldest(); rev <= s.Snapshot().Rev(); rev++ {
		e, err := at.Entry(ctx, rev)
		switch kind := key.KindOf(err); {
		case kind == NotFound || kind == Damaged:
			continue
		case err != nil:
			return err
		case !e.Until.IsZero() && rev < h.Rev && rev != h.Reverts:
			timed[rev] = true
		case e.Origin == FromSystem && timed[e.Reverts]:
			f.void[e.Reverts] = true
		}
	}
	for _, p := range s.timed() {
		if timed[p.Rev] {
			f.void[p.Rev] = true
		}
	}
	f.first = h.Rev
	for rev := range f.void {
		f.first = min(f.first, rev)
	}
	return nil
}

// look passes over what e wrote, where that is void, and ends the search of the
// parts that it wrote for good.
func (f *searcher) look(e *history.Entry) {
	index := map[string]*tree.KeyDelta{}
	for i := range e.Deltas {
		index[e.Deltas[i].Path.Fold()] = &e.Deltas[i]
	}
	f.wants = slices.DeleteFunc(f.wants, func(w *sought) bool {
		d := index[w.at.Fold()]
		if d == nil {
			return false
		}
		w.at = tree.Back(e.Moves, w.at)
		was, wrote := w.written(e.Rev, d)
		if !wrote {
			return false
		}
		switch {
		case e.Reverts != 0:
			if w.skip == nil {
				w.skip = map[Rev]bool{}
			}
			w.skip[e.Reverts] = true
			return false
		case !f.void[e.Rev] && !w.skip[e.Rev]:
			return true
		case w.id != 0:
			*w.old = was
			return false
		case !w.skip[e.Rev]:
			f.found = append(f.found, Problem{Path: w.key, Err: key.Errorf(Conflict,
				"cannot be as it was: revision %d, which was not confirmed, has made or removed it", e.Rev)})
		}
		return false
	})
}

// written reports whether revision rev wrote the part, and what was there before.
func (w *sought) written(rev Rev, d *tree.KeyDelta) (was *Property, wrote bool) {
	if w.id == 0 {
		return nil, d.Added || d.Removed
	}
	i := slices.IndexFunc(d.Props, func(p tree.PropertyDelta) bool { return p.ID == w.id })
	if i < 0 {
		return nil, false
	}
	p := d.Props[i]
	return p.Old, p.New == nil || p.New.Rev == rev
}
