// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"restante/internal/kv"
	"restante/internal/record"
	"restante/internal/seal"
	"restante/metabase/key"
)

// The history is stored in pages. Each commit writes one page with the entries of
// all its revisions, in order, and a page is dropped as a whole. The history of a
// revision that shares its commit costs next to nothing.

// A historyPage stores the entries of consecutive revisions.
type historyPage struct {
	first Rev // the last is the one before the next page's
	parts int // a large one is kept in parts, as the map bounds a value
}

const (
	maxPart  = 128 << 10
	maxParts = 1 << 20 // more is a damaged number
)

// key is the key of the map for a part of p. The first parts have a prefix of
// their own, so that a scan of all pages reads no others.
func (p historyPage) key(part int) []byte {
	if part == 0 {
		return revKey(pageKeys, p.first)
	}
	return binary.BigEndian.AppendUint32(revKey(partKeys, p.first), uint32(part))
}

// newPage returns the page of entries, the first of which is of revision first,
// and the ops that write it, the first part first.
func newPage(first Rev, entries [][]byte) (historyPage, []kv.Op) {
	size := 0
	for _, e := range entries {
		size += binary.MaxVarintLen64 + len(e)
	}
	body := make([]byte, 0, size)
	for _, e := range entries {
		body = append(binary.AppendUvarint(body, uint64(len(e))), e...)
	}
	p := historyPage{first, (len(body) + maxPart - 1) / maxPart}
	var ops []kv.Op
	for part := range p.parts {
		n := min(len(body), maxPart)
		value := body[:n:n]
		if part == 0 {
			value = append(binary.AppendUvarint([]byte{pageForm}, uint64(p.parts)), value...)
		}
		ops = append(ops, kv.Put(p.key(part), value))
		body = body[n:]
	}
	return p, ops
}

// dropping appends the ops that remove p.
func (p historyPage) dropping(ops []kv.Op) []kv.Op {
	for part := range p.parts {
		ops = append(ops, kv.Del(p.key(part)))
	}
	return ops
}

// openPage decodes the head of the first part of a page and returns the rest.
func openPage(first Rev, value []byte) (historyPage, []byte, error) {
	r := read(value, seal.Key{})
	r.Form(pageForm)
	p := historyPage{first, int(r.Num32())}
	if p.parts == 0 || p.parts > maxParts {
		r.Bad()
	}
	if r.Err() != nil {
		return historyPage{}, nil, fmt.Errorf("the history from revision %d: %w", first, r.end())
	}
	return p, r.Rest(), nil
}

// pages lists the pages that are stored.
type pages struct {
	mu   sync.Mutex    // guards what follows
	list []historyPage // in order, without a gap
	next Rev           // the revision after the last page
}

// begin notes the pages of a store that is at revision rev.
func (l *pages) begin(list []historyPage, rev Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list, l.next = list, rev+1
}

// add notes pages that were written up to revision last.
func (l *pages) add(list []historyPage, last Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list, l.next = append(l.list, list...), last+1
}

// oldest is the first revision that is stored, or the next one if none is.
func (l *pages) oldest() Rev {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == 0 {
		return l.next
	}
	return l.list[0].first
}

// find returns the page that has rev, if it is stored.
func (l *pages) find(rev Rev) (historyPage, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := slices.BinarySearchFunc(l.list, rev, func(p historyPage, rev Rev) int { return int(int64(p.first) - int64(rev)) })
	if !ok {
		i--
	}
	if i < 0 || rev >= l.next {
		return historyPage{}, false
	}
	return l.list[i], true
}

// head returns the oldest pages that lie wholly below end, with at most limit
// revisions or one page, and the revision after them.
func (l *pages) head(end Rev, limit int) (list []historyPage, next Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range l.list {
		after := l.next
		if i+1 < len(l.list) {
			after = l.list[i+1].first
		}
		if after > end || i > 0 && after > l.list[0].first+Rev(limit) {
			break
		}
		list, next = append(list, p), after
	}
	return list, next
}

// drop forgets the oldest n.
func (l *pages) drop(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = l.list[n:]
}

// undrop puts the pages of drop back.
func (l *pages) undrop(list []historyPage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.Concat(list, l.list)
}

// loadPages finds the pages of a store that is at revision rev.
func (s *Store) loadPages(ctx context.Context, rev Rev) error {
	var list []historyPage
	for pair, err := range s.db.Scan(ctx, []byte{pageKeys}) {
		if err != nil {
			return err
		}
		if len(pair.Key) == loneKey {
			return s.makePages(ctx, rev)
		}
		first, err := keyRev(pair.Key)
		if err != nil {
			return err
		}
		p, _, err := openPage(first, pair.Value)
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	s.pages.begin(list, rev)
	return nil
}

// loneKey is the length of the key of a record in a store from before there were
// pages: the revision, and the part.
const loneKey = 1 + 8 + 4

// makePages makes a page of each record of such a store.
func (s *Store) makePages(ctx context.Context, now Rev) error {
	var ops []kv.Op
	var list []historyPage
	var rev Rev
	var raw []byte
	add := func() {
		if raw != nil {
			p, write := newPage(rev, [][]byte{raw})
			list, ops, raw = append(list, p), append(ops, write...), nil
		}
	}
	for pair, err := range s.db.Scan(ctx, []byte{pageKeys}) {
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
	s.pages.begin(list, now)
	return nil
}

// A historyReader caches the page that it read last: readers mostly ask for
// neighbouring revisions.
type historyReader struct {
	historyPage
	entries [][]byte
}

// entry returns revision rev, from the cached page or from the store.
func (f *historyReader) entry(ctx context.Context, s *Store, rev Rev) (*entry, error) {
	fail := func(kind Kind, err error) (*entry, error) {
		return nil, &Error{Op: fmt.Sprintf("revision %d", rev), Kind: kind, Err: err}
	}
	if err := context.Cause(ctx); err != nil {
		return fail("", err)
	}
	if rev < f.first || rev >= f.first+Rev(len(f.entries)) {
		p, ok := s.pages.find(rev)
		if !ok {
			return fail(NotFound, s.notKept(rev))
		}
		entries, err := s.readPage(p)
		if err != nil && rev < s.pages.oldest() {
			return fail(NotFound, s.notKept(rev)) // dropped meanwhile
		}
		if err != nil {
			return fail(key.KindOf(err), err)
		}
		f.historyPage, f.entries = p, entries
	}
	if rev >= f.first+Rev(len(f.entries)) {
		return fail(Damaged, fmt.Errorf("is not in its page, which has the %d from %d", len(f.entries), f.first))
	}
	h, err := decodeEntry(f.entries[rev-f.first], s.key)
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
	return fmt.Errorf("is no longer kept; the oldest that is: %d", s.pages.oldest())
}

// pageFrom reads the page whose first revision is first, if it is kept.
func (s *Store) pageFrom(first Rev) (p historyPage, entries [][]byte, ok bool, err error) {
	value, ok, err := s.db.Get(revKey(pageKeys, first))
	if err != nil || !ok {
		return p, nil, false, err
	}
	if p, _, err = openPage(first, value); err == nil {
		entries, err = s.readPage(p)
	}
	return p, entries, true, err
}

// readPage returns the entries of p.
func (s *Store) readPage(p historyPage) ([][]byte, error) {
	var body []byte
	for part := range p.parts {
		value, ok, err := s.db.Get(p.key(part))
		if err == nil && !ok {
			err = key.Errorf(Damaged, "part %d is missing", part)
		}
		if err == nil && part == 0 {
			_, value, err = openPage(p.first, value)
		}
		if err != nil {
			return nil, err
		}
		body = append(body, value...)
	}
	return splitPage(body)
}

func splitPage(body []byte) (entries [][]byte, err error) {
	r := record.Read(body)
	for r.Err() == nil && len(r.Rest()) > 0 {
		entries = append(entries, r.Bytes())
	}
	if broken, ok := r.Err().(record.Broken); ok {
		return nil, key.Errorf(Damaged, "%s", broken)
	}
	return entries, r.Err()
}
