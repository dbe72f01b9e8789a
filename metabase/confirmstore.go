// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"

	"restante/metabase/internal/unconfirmed"
	"restante/metabase/item"
)

// loadUnconfirmed reads the revisions that are not confirmed.
func (s *Store) loadUnconfirmed(ctx context.Context) (unconfirmed.List, error) {
	return unconfirmed.Load(ctx, s.db, s.key, func(u *unconfirmed.Revision) error { return s.guess(ctx, u) })
}

// guess fills in u, which an earlier version has stored: that had only the deadline.
// It takes what the revision changed and still stands.
func (s *Store) guess(ctx context.Context, u *unconfirmed.Revision) error {
	h, err := s.entry(ctx, u.Rev)
	if err != nil {
		return err
	}
	a := await{parts: map[unconfirmed.PartName]unconfirmed.Part{}}
	a.write(h.Deltas, &edit{})
	u.Parts = a.parts
	root := s.cur.Load().root
	for _, d := range h.Deltas {
		for _, p := range d.Props {
			now := unconfirmed.Part{Path: d.Path, ID: p.ID}.In(root).Was
			if n := (unconfirmed.Part{Path: d.Path, ID: p.ID}).PartName(); !item.SamePointed(now, p.New) || now != nil && now.Rev != u.Rev {
				if now != nil && u.Parts[n].Path != "" {
					u.TakenOver = append(u.TakenOver, unconfirmed.TakenOver{Path: d.Path, ID: p.ID, By: now.Rev})
				}
				delete(u.Parts, n)
			}
		}
	}
	return nil
}
