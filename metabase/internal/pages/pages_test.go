// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"slices"
	"testing"

	"restante/internal/kv"
	"restante/metabase/internal/stored"
	"restante/metabase/item"
)

func TestPagesFind(t *testing.T) {
	var l Log
	l.Begin([]stored.Page{{First: 3, Parts: 1}, {First: 4, Parts: 2}, {First: 9, Parts: 1}}, 10)
	tests := []struct {
		rev   item.Rev
		first item.Rev // of its page; 0: none
	}{{0, 0}, {2, 0}, {3, 3}, {4, 4}, {5, 4}, {8, 4}, {9, 9}, {10, 9}, {11, 0}}
	for _, tt := range tests {
		if p, ok := l.Find(tt.rev); ok != (tt.first != 0) || p.First != tt.first {
			t.Errorf("find(%d) = %v, %v; want page %d", tt.rev, p, ok, tt.first)
		}
	}
	l.Add([]stored.Page{{First: 11, Parts: 1}}, 15)
	if p, ok := l.Find(15); !ok || p.First != 11 || l.Next != 16 {
		t.Errorf("after add, find(15) = %v, %v", p, ok)
	}
}

func TestPagesHead(t *testing.T) {
	list := []stored.Page{{First: 3, Parts: 1}, {First: 4, Parts: 1}, {First: 9, Parts: 1}}
	tests := []struct {
		end   item.Rev
		limit int
		n     int // pages
		next  item.Rev
	}{
		{3, 100, 0, 0}, {4, 100, 1, 4}, {8, 100, 1, 4}, {9, 100, 2, 9}, {12, 100, 3, 12},
		{12, 0, 1, 4}, {12, 6, 2, 9}, {12, 5, 1, 4},
	}
	for _, tt := range tests {
		var l Log
		l.Begin(slices.Clone(list), 11)
		head, next := l.Head(tt.end, tt.limit)
		if len(head) != tt.n || next != tt.next {
			t.Errorf("head(%d, %d) = %v, %d; want %d pages, %d", tt.end, tt.limit, head, next, tt.n, tt.next)
		}
		l.Drop(len(head))
		if tt.n > 0 && l.Oldest() != tt.next {
			t.Errorf("after drop the oldest is %d, want %d", l.Oldest(), tt.next)
		}
		l.Undrop(head)
		if !slices.Equal(l.List, list) {
			t.Errorf("after undrop: %v", l.List)
		}
	}
	var none Log
	if none.Begin(nil, 7); none.Oldest() != 8 {
		t.Errorf("without pages the oldest is %d", none.Oldest())
	}
}

// TestPageParts writes pages of all sizes around that of a part, and reads them
// again.
func TestPageParts(t *testing.T) {
	for _, size := range []int{0, 1, stored.MaxPart - 5, stored.MaxPart - 4, stored.MaxPart - 3, stored.MaxPart - 2, stored.MaxPart, 2*stored.MaxPart - 4, 2*stored.MaxPart - 3, 5 * stored.MaxPart} {
		db := kv.NewMem()
		var log Log
		log.DB = db
		entries := [][]byte{bytes.Repeat([]byte("a"), size), []byte("b"), {}}
		p, ops := stored.NewPage(7, entries)
		if err := db.Commit(t.Context(), ops...); err != nil {
			t.Fatal(err)
		}
		got, err := log.Read(p)
		if err != nil || !slices.EqualFunc(got, entries, bytes.Equal) {
			t.Errorf("%d octets in %d parts: %d entries, %v", size, p.Parts, len(got), err)
		}
		if err := log.Load(t.Context(), 9); err != nil || !slices.Equal(log.List, []stored.Page{p}) {
			t.Errorf("%d octets: loaded %v, %v; want %v", size, log.List, err, p)
		}
		if err := db.Commit(t.Context(), p.Dropping(nil)...); err != nil {
			t.Fatal(err)
		}
		for pair := range db.Scan(t.Context(), nil) {
			t.Errorf("%d octets: %q is left", size, pair.Key)
		}
	}
}
