// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"time"

	"restante/metabase/internal/history"
	"restante/metabase/key"
)

// Retention limits the history to the newest Count revisions, and of those to
// the ones younger than Age. 0 sets no limit. Up to a twentieth more may be kept
// for a while, and revisions that shared a commit are dropped together. A
// revision that is not confirmed is always kept.
type Retention struct {
	Count int
	Age   time.Duration
}

// defaultCount is the Count without Options.Keep.
const defaultCount = 10_000

// dropAtOnce bounds one commit of the compaction, so that writers do not wait
// long for it.
const dropAtOnce = 200

// compact drops the history beyond the retention. Writers go on meanwhile.
func (s *Store) compact(ctx context.Context) error {
	keep := Retention{Count: defaultCount}
	if s.opts.Keep != nil {
		keep = s.opts.Keep(s.Snapshot())
	}
	end := s.Snapshot().Rev() + 1 // the oldest to be kept
	if keep.Count > 0 && end > Rev(keep.Count) {
		end -= Rev(keep.Count)
	} else {
		end = 1
	}
	if s.pages.Oldest()+Rev(min(keep.Count/20, dropAtOnce)) > end {
		end = 1 // too few to be worth a commit
	}
	for more := true; more; {
		var err error
		if more, err = s.drop(ctx, end); err != nil {
			return err
		}
	}
	if keep.Age > 0 {
		return s.dropOlder(ctx, s.now().Add(-keep.Age))
	}
	return nil
}

// dropOlder drops the revisions made before t.
func (s *Store) dropOlder(ctx context.Context, t time.Time) error {
	for {
		_, next := s.pages.Head(s.Snapshot().Rev()+1, 0)
		if next == 0 {
			return nil
		}
		if s.janitor.oldest.Rev != next-1 {
			h, err := s.entry(ctx, next-1)
			if key.KindOf(err) == Damaged {
				h, err = &history.Entry{}, nil // nobody can tell its time, nor read it
			}
			if err != nil {
				return err
			}
			s.janitor.oldest = Record{Rev: next - 1, Time: h.Time}
		}
		if !s.janitor.oldest.Time.Before(t) {
			return nil
		}
		if more, err := s.drop(ctx, next); err != nil || !more {
			return err
		}
	}
}

// drop removes the oldest pages that lie below end and below the first revision
// that is not confirmed, at most dropAtOnce. It reports whether there were any.
func (s *Store) drop(ctx context.Context, end Rev) (bool, error) {
	for _, p := range s.timed() {
		end = min(end, p.Rev)
	}
	list, next := s.pages.Head(end, dropAtOnce)
	if len(list) == 0 {
		return false, nil
	}
	ops, err := s.pages.Dropping(ctx, list, next, &s.live)
	if err != nil {
		return false, err
	}
	// Forgotten first: a reader is then told that they are gone, not damaged.
	s.pages.Drop(len(list))
	p := &pending{op: "compact"} // it shares a commit with other writers
	p.validate = func(*image) error { p.ops = ops; return nil }
	if err := s.do(ctx, p); err != nil {
		s.pages.Undrop(list)
		return false, err
	}
	return true, nil
}
