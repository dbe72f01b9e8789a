// SPDX-License-Identifier: Apache-2.0

package pickup

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// A watcher hears from the system of new files in one folder. Where the system has
// no news to give, no event comes.
type watcher struct {
	events chan struct{}

	system *fsnotify.Watcher // nil: there is none
	dir    string
	reader sync.WaitGroup
}

func newWatcher(opts Options) *watcher {
	w := &watcher{events: make(chan struct{}, 1)}
	if opts.SweepOnly {
		return w
	}
	system, err := fsnotify.NewWatcher()
	if err != nil {
		opts.Log.Info("the system gives no news of the Pickup folder; it is looked at every few seconds", "why", err)
		return w
	}
	w.system = system
	w.reader.Go(w.read)
	return w
}

func (w *watcher) read() {
	for {
		select {
		case e, ok := <-w.system.Events:
			if !ok {
				return
			}
			// Those of our own renames and removals are left out.
			if e.Has(fsnotify.Create|fsnotify.Write) && !strings.HasPrefix(filepath.Base(e.Name), takenPrefix) {
				signal(w.events)
			}
		case _, ok := <-w.system.Errors: // events were lost
			if !ok {
				return
			}
			signal(w.events)
		}
	}
}

// watch hears of dir from now on, "" for no folder. It is called at each look: a
// folder that was removed and made again is another one to the system. An error
// leaves the sweeps.
func (w *watcher) watch(dir string) {
	if w.system == nil {
		return
	}
	if w.dir != dir && w.dir != "" {
		_ = w.system.Remove(w.dir)
	}
	if w.dir = dir; dir != "" {
		_ = w.system.Add(dir)
	}
}

func (w *watcher) close() {
	if w.system != nil {
		_ = w.system.Close()
		w.reader.Wait()
	}
}
