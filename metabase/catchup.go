// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bytes"
	"context"
	"fmt"

	"restante/metabase/internal/history"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// followOthers catches up with other processes whenever changed receives.
func (s *Store) followOthers(changed <-chan struct{}) {
	for {
		select {
		case <-s.committer.quit:
			return
		case <-changed:
		}
		if err := s.refresh(context.Background()); err != nil && key.KindOf(err) != Closed {
			s.opts.Log.Error("metabase: catch up with another process", "err", err) // the next commit tries again
		}
	}
}

// refresh catches up with other processes.
func (s *Store) refresh(ctx context.Context) error {
	return s.do(ctx, &pending{op: "catch up", large: true, validate: func(*image) error { return s.catchUp(ctx) }})
}

// catchUp brings memory to the revision of the store after another process has
// committed. It applies the entries of the history that are new, or reads the
// whole tree if the history has them no longer. It is for the goroutine at work.
func (s *Store) catchUp(ctx context.Context) error {
	raw, _, err := s.db.Get([]byte{stored.MetaKey})
	if err != nil {
		return err
	}
	m, err := stored.DecodeMeta(raw)
	if err != nil {
		return fmt.Errorf("the record of the revision: %w", err)
	}
	img := *s.cur.Load()
	var deltas []tree.KeyDelta
	if !bytes.Equal(raw, s.committer.meta) {
		if deltas, err = s.follow(ctx, &img, m.Rev); err != nil {
			return err
		}
		img.time = m.Time
	}
	if img.unconfirmed, err = s.loadUnconfirmed(ctx); err != nil {
		return err
	}
	s.committer.meta = raw
	s.publishGroup([]*pending{{work: work{deltas: deltas}}}, &img)
	notify(s.janitor.deadline)
	return nil
}

// follow changes img, the present image, into that of revision to and returns
// what differs.
func (s *Store) follow(ctx context.Context, img *image, to Rev) (deltas []tree.KeyDelta, err error) {
	var pages []stored.Page
	from := img.rev
	for img.rev < to {
		page, entries, ok, err := s.pages.From(img.rev + 1)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		for _, raw := range entries {
			h, err := history.Decode(raw, s.key)
			if err != nil {
				return nil, err
			}
			img.root = tree.Undo(img.root, tree.Inverse(h.Deltas))
			deltas = append(deltas, h.Deltas...)
		}
		pages, img.rev = append(pages, page), img.rev+Rev(len(entries))
	}
	if from < to && img.rev == to {
		s.pages.Add(pages, to)
		return deltas, nil
	}
	// The history does not reach, or the store was put back to an earlier state.
	if to <= from {
		s.opts.Log.Error("metabase: the store has gone back, and is read anew", "from", from, "to", to)
	}
	was := s.cur.Load().root
	if img.root, err = stored.LoadTree(ctx, s.db, s.key); err != nil {
		return nil, err
	}
	img.rev = to
	return tree.Diff(was, img.root), s.pages.Load(ctx, to)
}
