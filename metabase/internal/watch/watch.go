// SPDX-License-Identifier: Apache-2.0

// Package watch tells readers of the tree that there is something newer.
package watch

import (
	"sync"

	"restante/metabase/key"
)

// A Watch is told that there is something newer, never what: its owner reads
// the newest Snapshot. A reader that looks late finds one note,
// however much has happened.
type Watch struct {
	path key.Path
	c    chan struct{}
	all  *Set
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

// A Set is the open watches of a store.
type Set struct {
	mu  sync.Mutex // guards what follows
	set map[*Watch]bool
}

// Add opens a watch of p.
func (ws *Set) Add(p key.Path) *Watch {
	w := &Watch{path: p, c: make(chan struct{}, 1), all: ws}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.set == nil {
		ws.set = map[*Watch]bool{}
	}
	ws.set[w] = true
	return w
}

// Tell gives a note to every watch that one of the paths concerns.
func (ws *Set) Tell(touched []key.Path) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.set {
		for _, p := range touched {
			if p.Within(w.path) || w.path.Within(p) {
				select {
				case w.c <- struct{}{}:
				default:
				}
				break
			}
		}
	}
}
