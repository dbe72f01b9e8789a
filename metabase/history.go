// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"time"

	"restante/internal/kv"
	"restante/metabase/internal/history"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// writes returns the ops that a plan makes of the keys.
func (s *Store) writes(p *plan) (ops []kv.Op) {
	for _, d := range p.deltas {
		if d.Removed {
			ops = append(ops, kv.Del(stored.NodeKey(d.Path)))
		} else {
			ops = append(ops, kv.Put(stored.NodeKey(d.Path), stored.AppendNode(make([]byte, 0, history.Roomy), d.Node, s.key)))
		}
	}
	return ops
}

// record encodes the history of a plan.
func (s *Store) record(p *plan, r *request) []byte {
	h := history.Entry{
		Record: Record{
			Rev: p.next.rev, Time: p.next.time, Actor: r.batch.Actor, Origin: r.batch.Origin,
			Comment: r.batch.Comment, Reverts: r.reverts, Until: r.deadline(p.next.time), Kept: r.kept,
		},
		Moves: p.edit.moves, Deltas: p.deltas,
	}
	return h.Encode(s.key)
}

// entry reads revision rev. The error is NotFound if there is no such revision, or
// it was dropped.
func (s *Store) entry(ctx context.Context, rev Rev) (*history.Entry, error) {
	return s.pages.Reader().Entry(ctx, rev)
}

// compare lists the changes that lead from one state to another, without secure
// values and volatile properties.
func compare(from, to Snapshot) []DiffLine {
	var a, b *tree.Node
	if from.img != nil {
		a = from.img.root
	}
	if to.img != nil {
		b = to.img.root
	}
	var out []DiffLine
	for _, d := range tree.Diff(a, b) {
		out = history.AppendLines(out, d)
	}
	return out
}

// Log lists the newest n revisions with changes at or below p, the newest first,
// with those changes; 0 means all. For the root it includes revisions without
// changes.
func (s *Store) Log(ctx context.Context, p Path, n int) ([]Record, error) {
	var out []Record
	at := s.pages.Reader()
	first := s.pages.Oldest()
	for rev := s.Snapshot().Rev(); rev >= first && rev > 0 && (n == 0 || len(out) < n); rev-- {
		h, err := at.Entry(ctx, rev)
		if key.KindOf(err) == NotFound {
			break // compacted meanwhile
		}
		if key.KindOf(err) == Damaged {
			h, err = &history.Entry{Record: Record{Rev: rev, Comment: err.Error()}}, nil
		}
		if err != nil {
			return out, err
		}
		if r := h.Below(p); len(r.Changes) > 0 || p == Root {
			out = append(out, r)
		}
	}
	return out, nil
}

// Record returns the record of revision rev. With the Rev of a Property it tells
// where the value comes from. Of a revision whose page was dropped the changes
// are gone, and the rest stays as long as a property that it stored is in place.
// After that the error is NotFound.
func (s *Store) Record(ctx context.Context, rev Rev) (Record, error) {
	h, err := s.entry(ctx, rev)
	if key.KindOf(err) == NotFound {
		if head, ok, err := s.pages.DroppedHead(rev); ok || err != nil {
			return head, err
		}
	}
	if err != nil {
		return Record{}, err
	}
	return h.Below(Root), nil
}

// Oldest is the earliest revision that At can go back to.
func (s *Store) Oldest() Rev { return s.pages.Oldest() - 1 }

// At returns the state at revision rev, without volatile properties. The cost
// grows with the number of revisions since. The error is NotFound if the history
// does not reach back so far.
func (s *Store) At(ctx context.Context, rev Rev) (Snapshot, error) {
	now := s.Snapshot()
	img := *now.img
	img.vol = nil
	if rev > img.rev {
		_, err := s.entry(ctx, rev)
		return Snapshot{}, err
	}
	at := s.pages.Reader()
	for img.rev > rev {
		h, err := at.Entry(ctx, img.rev)
		if err != nil {
			return Snapshot{}, err
		}
		img.root = tree.Undo(img.root, h.Deltas)
		img.rev--
	}
	if rev < now.Rev() {
		img.time = time.Time{}
		if h, err := at.Entry(ctx, rev); err == nil {
			img.time = h.Time
		} else if key.KindOf(err) != NotFound {
			return Snapshot{}, err
		}
	}
	return Snapshot{&img}, nil
}

// Diff lists the changes from one revision to another; 0 is the empty tree.
func (s *Store) Diff(ctx context.Context, from, to Rev) ([]DiffLine, error) {
	a, err := s.At(ctx, from)
	if err != nil {
		return nil, err
	}
	b, err := s.At(ctx, to)
	if err != nil {
		return nil, err
	}
	return compare(a, b), nil
}
