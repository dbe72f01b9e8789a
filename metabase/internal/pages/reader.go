// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"context"
	"fmt"

	"restante/metabase/internal/history"
	"restante/metabase/internal/stored"
	"restante/metabase/item"
	"restante/metabase/key"
)

// A Reader reads revisions. It keeps the page that it read last, as readers mostly
// ask for neighbouring revisions.
type Reader struct {
	log *Log
	stored.Page
	entries [][]byte
}

// Reader returns a reader of l, for one goroutine.
func (l *Log) Reader() *Reader { return &Reader{log: l} }

// Entry returns revision rev. The error is NotFound if there is no such revision, or
// it was dropped.
func (r *Reader) Entry(ctx context.Context, rev item.Rev) (*history.Entry, error) {
	fail := func(kind key.Kind, err error) (*history.Entry, error) {
		return nil, &key.Error{Op: fmt.Sprintf("revision %d", rev), Kind: kind, Err: err}
	}
	if err := context.Cause(ctx); err != nil {
		return fail("", err)
	}
	if rev < r.First || rev >= r.First+item.Rev(len(r.entries)) {
		p, ok := r.log.Find(rev)
		if !ok {
			return fail(key.NotFound, r.log.notKept(rev))
		}
		entries, err := r.log.Read(p)
		if err != nil && rev < r.log.Oldest() {
			return fail(key.NotFound, r.log.notKept(rev)) // dropped meanwhile
		}
		if err != nil {
			return fail(key.KindOf(err), err)
		}
		r.Page, r.entries = p, entries
	}
	if rev >= r.First+item.Rev(len(r.entries)) {
		return fail(key.Damaged, fmt.Errorf("is not in its page, which has the %d from %d", len(r.entries), r.First))
	}
	h, err := history.Decode(r.entries[rev-r.First], r.log.Key)
	if err == nil && h.Rev != rev {
		err = key.Errorf(key.Damaged, "its record says %d", h.Rev)
	}
	if err != nil {
		return fail(key.KindOf(err), err)
	}
	return h, nil
}

func (l *Log) notKept(rev item.Rev) error {
	if now := l.newest(); rev == 0 || rev > now {
		return fmt.Errorf("the newest is %d", now)
	}
	return fmt.Errorf("is no longer kept; the oldest that is: %d", l.Oldest())
}
