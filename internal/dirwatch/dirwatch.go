// SPDX-License-Identifier: Apache-2.0

// Package dirwatch hears from the system of files that are new or written to in
// some folders. Not every system and file system has such news, and news can be
// lost: its users look at the files from time to time, too.
package dirwatch

import (
	"path/filepath"
	"slices"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// A Watcher watches folders, and not what is below them. A nil Watcher hears of
// nothing. All but Events is for one goroutine.
type Watcher struct {
	ignore func(name string) bool
	events chan struct{}

	opened bool
	system *fsnotify.Watcher // nil: the system has no news to give
	dirs   []string
	reader sync.WaitGroup
}

// New makes a Watcher that does not tell of files whose names are ignored; nil
// ignores none. It starts nothing.
func New(ignore func(name string) bool) *Watcher {
	if ignore == nil {
		ignore = func(string) bool { return false }
	}
	return &Watcher{ignore: ignore, events: make(chan struct{}, 1)}
}

// Events has an event when something has changed since the last one was taken.
func (w *Watcher) Events() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.events
}

// Watch hears of these folders alone from now on. It is to be called at each look at
// them: a folder that was removed and made again is another one to the system.
// The error says once why there is no news at all; that of a single folder does
// not count.
func (w *Watcher) Watch(dirs ...string) error {
	if w == nil {
		return nil
	}
	if err := w.open(len(dirs) > 0); err != nil || w.system == nil {
		return err
	}
	for _, dir := range w.dirs {
		if !slices.Contains(dirs, dir) {
			_ = w.system.Remove(dir)
		}
	}
	for _, dir := range dirs {
		_ = w.system.Add(dir)
	}
	w.dirs = dirs
	return nil
}

// open takes what the system has few of when it is needed, and once.
func (w *Watcher) open(needed bool) (err error) {
	if !needed || w.opened {
		return nil
	}
	w.opened = true
	if w.system, err = fsnotify.NewWatcher(); err != nil {
		w.system = nil
		return err
	}
	w.reader.Go(w.read)
	return nil
}

func (w *Watcher) read() {
	for {
		select {
		case e, ok := <-w.system.Events:
			if !ok {
				return
			}
			if e.Has(fsnotify.Create|fsnotify.Write) && !w.ignore(filepath.Base(e.Name)) {
				w.signal()
			}
		case _, ok := <-w.system.Errors: // events were lost
			if !ok {
				return
			}
			w.signal()
		}
	}
}

func (w *Watcher) signal() {
	select {
	case w.events <- struct{}{}:
	default: // one is pending already
	}
}

// Close ends what Watch has started.
func (w *Watcher) Close() {
	if w != nil && w.system != nil {
		_ = w.system.Close()
		w.reader.Wait()
	}
}
