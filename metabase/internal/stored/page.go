// SPDX-License-Identifier: Apache-2.0

package stored

import (
	"encoding/binary"
	"fmt"

	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase/item"
)

// A Page stores the entries of consecutive revisions.
type Page struct {
	First item.Rev // the last is the one before the next page's
	Parts int      // a large one is kept in parts, as the map bounds a value
}

const (
	MaxPart  = 128 << 10 // octets of a part
	maxParts = 1 << 20   // more is a damaged number
)

// Key is the key of the map for a part of p. The first parts have a prefix of
// their own, so that a scan of all pages reads no others.
func (p Page) Key(part int) []byte {
	if part == 0 {
		return RevKey(PageKeys, p.First)
	}
	return binary.BigEndian.AppendUint32(RevKey(PartKeys, p.First), uint32(part))
}

// NewPage returns the page of entries, the first of which is of revision first,
// and the ops that write it, the first part first.
func NewPage(first item.Rev, entries [][]byte) (Page, []kv.Op) {
	size := 0
	for _, e := range entries {
		size += binary.MaxVarintLen64 + len(e)
	}
	body := make([]byte, 0, size)
	for _, e := range entries {
		body = append(binary.AppendUvarint(body, uint64(len(e))), e...)
	}
	p := Page{first, (len(body) + MaxPart - 1) / MaxPart}
	var ops []kv.Op
	for part := range p.Parts {
		n := min(len(body), MaxPart)
		value := body[:n:n]
		if part == 0 {
			value = append(binary.AppendUvarint([]byte{PageForm}, uint64(p.Parts)), value...)
		}
		ops = append(ops, kv.Put(p.Key(part), value))
		body = body[n:]
	}
	return p, ops
}

// Dropping appends the ops that remove p.
func (p Page) Dropping(ops []kv.Op) []kv.Op {
	for part := range p.Parts {
		ops = append(ops, kv.Del(p.Key(part)))
	}
	return ops
}

// OpenPage decodes the head of the first part of a page and returns the rest.
func OpenPage(first item.Rev, value []byte) (Page, []byte, error) {
	r := NewReader(value, seal.Key{})
	r.Form(PageForm)
	p := Page{first, int(r.Num32())}
	if p.Parts == 0 || p.Parts > maxParts {
		r.Bad()
	}
	if r.Err() != nil {
		return Page{}, nil, fmt.Errorf("the history from revision %d: %w", first, r.End())
	}
	return p, r.Rest(), nil
}

// SplitPage returns the entries of a page whose parts, joined, are body.
func SplitPage(body []byte) (entries [][]byte, err error) {
	r := NewReader(body, seal.Key{})
	for r.Err() == nil && len(r.Rest()) > 0 {
		entries = append(entries, r.Bytes())
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	return entries, nil
}
