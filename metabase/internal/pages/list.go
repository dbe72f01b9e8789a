// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"slices"
	"sync"

	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase/internal/stored"
	"restante/metabase/item"
)

// A Log is the history in a map, and the list of its pages.
type Log struct {
	DB  kv.DB    // of the store
	Key seal.Key // with which secure values are encrypted

	mu   sync.Mutex    // guards what follows
	List []stored.Page // in order, without a gap
	Next item.Rev      // the revision after the last page
}

// Begin notes the pages of a store that is at revision rev.
func (l *Log) Begin(list []stored.Page, rev item.Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.List, l.Next = list, rev+1
}

// Add notes pages that were written up to revision last.
func (l *Log) Add(list []stored.Page, last item.Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.List, l.Next = append(l.List, list...), last+1
}

// Oldest is the first revision that is stored, or the next one if none is.
func (l *Log) Oldest() item.Rev {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.List) == 0 {
		return l.Next
	}
	return l.List[0].First
}

// Find returns the page that has rev, if it is stored.
func (l *Log) Find(rev item.Rev) (stored.Page, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, ok := slices.BinarySearchFunc(l.List, rev, func(p stored.Page, rev item.Rev) int { return int(int64(p.First) - int64(rev)) })
	if !ok {
		i--
	}
	if i < 0 || rev >= l.Next {
		return stored.Page{}, false
	}
	return l.List[i], true
}

// Head returns the oldest pages that lie wholly below end, with at most limit
// revisions or one page, and the revision after them.
func (l *Log) Head(end item.Rev, limit int) (list []stored.Page, next item.Rev) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range l.List {
		after := l.Next
		if i+1 < len(l.List) {
			after = l.List[i+1].First
		}
		if after > end || i > 0 && after > l.List[0].First+item.Rev(limit) {
			break
		}
		list, next = append(list, p), after
	}
	return list, next
}

// Drop forgets the oldest n.
func (l *Log) Drop(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.List = l.List[n:]
}

// Undrop puts the pages of Drop back.
func (l *Log) Undrop(list []stored.Page) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.List = slices.Concat(list, l.List)
}

func (l *Log) newest() item.Rev {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Next - 1
}
