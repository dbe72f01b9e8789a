// SPDX-License-Identifier: Apache-2.0

package metabase

import "sync"

// A Watch is told that there is something newer, never what: its owner reads
// the newest Snapshot. One who is slow to look costs nobody anything, and finds
// one note however much has happened.
type Watch struct {
	path Path
	c    chan struct{}
	all  *watches
}

// C gives one note after each change at, below or above the watch's path (what
// is above may be inherited), unless one is waiting already. It is never
// closed by the store.
func (w *Watch) C() <-chan struct{} { return w.c }

// Close ends the notes. Closing twice is harmless.
func (w *Watch) Close() {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	delete(w.all.set, w)
}

type watches struct {
	mu  sync.Mutex // guards what follows
	set map[*Watch]bool
}

// Watch tells of changes that touch p. The key need not exist. A change that
// is seen by the Snapshot taken after Watch returned may still give a note.
func (s *Store) Watch(p Path) *Watch {
	w := &Watch{path: p, c: make(chan struct{}, 1), all: &s.watches}
	s.watches.mu.Lock()
	defer s.watches.mu.Unlock()
	if s.watches.set == nil {
		s.watches.set = map[*Watch]bool{}
	}
	s.watches.set[w] = true
	return w
}

// tell knocks at every watch that one of the paths concerns.
func (ws *watches) tell(touched []Path) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.set {
		for _, p := range touched {
			if p.Within(w.path) || w.path.Within(p) {
				notify(w.c)
				break
			}
		}
	}
}
