// SPDX-License-Identifier: Apache-2.0

// Package pages keeps the history of a store in an ordered map. Each commit writes one
// page with the entries of all its revisions, in order, and a page is dropped as a
// whole. The history of a revision that shares its commit costs next to nothing.
package pages

import (
	"context"
	"encoding/binary"
	"slices"

	"restante/internal/kv"
	"restante/metabase/internal/stored"
	"restante/metabase/item"
	"restante/metabase/key"
)

// Load finds the pages of a store that is at revision rev.
func (l *Log) Load(ctx context.Context, rev item.Rev) error {
	var list []stored.Page
	for pair, err := range l.DB.Scan(ctx, []byte{stored.PageKeys}) {
		if err != nil {
			return err
		}
		if len(pair.Key) == loneKey {
			return l.makePages(ctx, rev)
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
	l.Begin(list, rev)
	return nil
}

// loneKey is the length of the key of a record in a store from before there were
// pages: the revision, and the part.
const loneKey = 1 + 8 + 4

// makePages makes a page of each record of such a store.
func (l *Log) makePages(ctx context.Context, now item.Rev) error {
	var ops []kv.Op
	var list []stored.Page
	var rev item.Rev
	var raw []byte
	add := func() {
		if raw != nil {
			p, write := stored.NewPage(rev, [][]byte{raw})
			list, ops, raw = append(list, p), append(ops, write...), nil
		}
	}
	for pair, err := range l.DB.Scan(ctx, []byte{stored.PageKeys}) {
		if err != nil {
			return err
		}
		if len(pair.Key) != loneKey {
			return key.Errorf(key.Damaged, "a record of the history has a key of %d octets", len(pair.Key))
		}
		if next := item.Rev(binary.BigEndian.Uint64(pair.Key[1:])); next != rev {
			add()
			rev = next
		}
		raw = append(raw, pair.Value...)
		ops = append(ops, kv.Del(slices.Clone(pair.Key)))
	}
	add()
	if err := l.DB.Commit(ctx, ops...); err != nil {
		return err
	}
	l.Begin(list, now)
	return nil
}

// From reads the page whose first revision is first, if it is kept.
func (l *Log) From(first item.Rev) (p stored.Page, entries [][]byte, ok bool, err error) {
	value, ok, err := l.DB.Get(stored.RevKey(stored.PageKeys, first))
	if err != nil || !ok {
		return p, nil, false, err
	}
	if p, _, err = stored.OpenPage(first, value); err == nil {
		entries, err = l.Read(p)
	}
	return p, entries, true, err
}

// Read returns the entries of p.
func (l *Log) Read(p stored.Page) ([][]byte, error) {
	var body []byte
	for part := range p.Parts {
		value, ok, err := l.DB.Get(p.Key(part))
		if err == nil && !ok {
			err = key.Errorf(key.Damaged, "part %d is missing", part)
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
