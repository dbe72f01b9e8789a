// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"restante/internal/kv"
	"restante/metabase/internal/history"
	"restante/metabase/internal/stored"
	"restante/metabase/key"
)

// The history is stored in pages. Each commit writes one page with the entries of
// all its revisions, in order, and a page is dropped as a whole. The history of a
// revision that shares its commit costs next to nothing.

// loadPages finds the pages of a store that is at revision rev.
func (s *Store) loadPages(ctx context.Context, rev Rev) error {
	var list []stored.Page
	for pair, err := range s.db.Scan(ctx, []byte{stored.PageKeys}) {
		if err != nil {
			return err
		}
		if len(pair.Key) == loneKey {
			return s.makePages(ctx, rev)
		}
		first, err := stored.KeyRev(pair.Key)
		if err != nil {
			return err
		}
		p, _, err := stored.OpenPage(first, pair.Value)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	s.pages.Begin(list, rev)
	return nil
}

// loneKey is the length of the key of a record in a store from before there were
// pages: the revision, and the part.
const loneKey = 1 + 8 + 4

// makePages makes a page of each record of such a store.
func (s *Store) makePages(ctx context.Context, now Rev) error {
	var ops []kv.Op
	var list []stored.Page
	var rev Rev
	var raw []byte
	add := func() {
		if raw != nil {
			p, write := stored.NewPage(rev, [][]byte{raw})
			list, ops, raw = append(list, p), append(ops, write...), nil
		}
	}
	for pair, err := range s.db.Scan(ctx, []byte{stored.PageKeys}) {
		if err != nil {
			return err
		}
		if len(pair.Key) != loneKey {
			return key.Errorf(Damaged, "a record of the history has a key of %d octets", len(pair.Key))
		}
		if next := Rev(binary.BigEndian.Uint64(pair.Key[1:])); next != rev {
			add()
			rev = next
		}
		raw = append(raw, pair.Value...)
		ops = append(ops, kv.Del(slices.Clone(pair.Key)))
	}
	add()
	if err := s.db.Commit(ctx, ops...); err != nil {
		return err
	}
	s.pages.Begin(list, now)
	return nil
}

// A historyReader caches the page that it read last: readers mostly ask for
// neighbouring revisions.
type historyReader struct {
	stored.Page
	entries [][]byte
}

// entry returns revision rev, from the cached page or from the store.
func (f *historyReader) entry(ctx context.Context, s *Store, rev Rev) (*history.Entry, error) {
	fail := func(kind Kind, err error) (*history.Entry, error) {
		return nil, &Error{Op: fmt.Sprintf("revision %d", rev), Kind: kind, Err: err}
	}
	if err := context.Cause(ctx); err != nil {
		return fail("", err)
	}
	if rev < f.First || rev >= f.First+Rev(len(f.entries)) {
		p, ok := s.pages.Find(rev)
		if !ok {
			return fail(NotFound, s.notKept(rev))
		}
		entries, err := s.readPage(p)
		if err != nil && rev < s.pages.Oldest() {
			return fail(NotFound, s.notKept(rev)) // dropped meanwhile
		}
		if err != nil {
			return fail(key.KindOf(err), err)
		}
		f.Page, f.entries = p, entries
	}
	if rev >= f.First+Rev(len(f.entries)) {
		return fail(Damaged, fmt.Errorf("is not in its page, which has the %d from %d", len(f.entries), f.First))
	}
	h, err := history.Decode(f.entries[rev-f.First], s.key)
	if err == nil && h.Rev != rev {
		err = key.Errorf(Damaged, "its record says %d", h.Rev)
	}
	if err != nil {
		return fail(key.KindOf(err), err)
	}
	return h, nil
}

func (s *Store) notKept(rev Rev) error {
	if now := s.Snapshot().Rev(); rev == 0 || rev > now {
		return fmt.Errorf("the newest is %d", now)
	}
	return fmt.Errorf("is no longer kept; the oldest that is: %d", s.pages.Oldest())
}

// pageFrom reads the page whose first revision is first, if it is kept.
func (s *Store) pageFrom(first Rev) (p stored.Page, entries [][]byte, ok bool, err error) {
	value, ok, err := s.db.Get(stored.RevKey(stored.PageKeys, first))
	if err != nil || !ok {
		return p, nil, false, err
	}
	if p, _, err = stored.OpenPage(first, value); err == nil {
		entries, err = s.readPage(p)
	}
	return p, entries, true, err
}

// readPage returns the entries of p.
func (s *Store) readPage(p stored.Page) ([][]byte, error) {
	var body []byte
	for part := range p.Parts {
		value, ok, err := s.db.Get(p.Key(part))
		if err == nil && !ok {
			err = key.Errorf(Damaged, "part %d is missing", part)
		}
		if err == nil && part == 0 {
			_, value, err = stored.OpenPage(p.First, value)
		}
		if err != nil {
			return nil, err
		}
		body = append(body, value...)
	}
	return stored.SplitPage(body)
}
