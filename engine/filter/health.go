// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A Health remembers which filters of which site failed when they were last asked. The
// zero Health is ready; its methods may be called concurrently.
type Health struct {
	Changed func() // called after each change; must not block; nil: nobody is told
	Files   Share  // of the process, that connections take; nil: any number

	mu     sync.Mutex // guards what follows
	failed map[place]failure
}

// A Share counts open files; Take is false if there may be no more.
type Share interface {
	Take() bool
	Release()
}

type place struct {
	site   int
	filter string
}

type failure struct {
	since time.Time
	err   error
}

// note remembers how a filter did, nil for well.
func (h *Health) note(at place, err error) {
	h.mu.Lock()
	was, failed := h.failed[at]
	switch {
	case err == nil:
		delete(h.failed, at)
	default:
		if h.failed == nil {
			h.failed = map[place]failure{}
		}
		if !failed {
			was.since = time.Now()
		}
		h.failed[at] = failure{was.since, err}
	}
	h.mu.Unlock()
	if failed != (err != nil) && h.Changed != nil {
		h.Changed()
	}
}

// Keep forgets the filters of a site that are not among those.
func (h *Health) Keep(site int, those []Filter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.failed, func(at place, _ failure) bool {
		return at.site == site && !slices.ContainsFunc(those, func(f Filter) bool { return f.String() == at.filter })
	})
}

// Err says which filters of a site failed when they were last asked; nil: none.
func (h *Health) Err(site int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []error
	for at, f := range h.failed {
		if at.site == site {
			all = append(all, fmt.Errorf("milter %s is down since %s: %w", at.filter, f.since.UTC().Format(time.RFC3339), f.err))
		}
	}
	slices.SortFunc(all, func(a, b error) int {
		if a.Error() < b.Error() {
			return -1
		}
		return 1
	})
	return errors.Join(all...)
}
