// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"restante/internal/dirwatch"
)

const (
	settle     = time.Second            // files that are being replaced do not fit each other for that long
	sweepEvery = 10 * time.Second       // network folders tell no news
	lookGap    = 250 * time.Millisecond // between two looks, however many files of the folders change
)

// A Watch has a site's certificates read again when their files change. Until
// these can be used, the certificates that were read before stay in use.
type Watch struct {
	Current func() *Reloader // the one in use; nil: none
	Wake    <-chan struct{}  // says that there is another one
	Changed func()           // called after each change of its Err

	sweepOnly bool // no news from the file system
}

// Run watches until ctx ends.
func (w Watch) Run(ctx context.Context) {
	var news *dirwatch.Watcher
	if !w.sweepOnly {
		news = dirwatch.New(nil)
	}
	defer news.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Wake:
		case <-timer.C:
		case <-news.Events():
			if gap := time.Until(last.Add(lookGap)); gap > 0 {
				timer.Reset(gap)
				continue
			}
		}
		last = time.Now()
		timer.Reset(w.look(ctx, news))
	}
}

// look reads the files if they have changed, and says how long after it the next
// look is due.
func (w Watch) look(ctx context.Context, news *dirwatch.Watcher) time.Duration {
	c := w.Current()
	err := news.Watch(c.Files().folders()...)
	if c == nil {
		return sweepEvery
	}
	if err != nil {
		c.log.Info("the system gives no news of the certificates' folders; they are looked at every few seconds", "why", err)
	}
	before, was := c.read(), c.Err()
	err = c.Refresh(ctx)
	if ctx.Err() != nil {
		return sweepEvery
	}
	if c.read() != before {
		c.log.Info("certificates read again", "files", c.files.String())
	}
	c.tellExpiry()
	next := c.note(err)
	if now := c.Err(); fmt.Sprint(now) != fmt.Sprint(was) {
		if now != nil {
			c.log.Warn("the certificate's files changed and are of no use; what was read before stays in use", "why", err)
		}
		w.Changed()
	}
	return next
}

// folders are those of the files, each once.
func (f Files) folders() (dirs []string) {
	seen := map[string]bool{}
	for _, name := range f {
		if dir := filepath.Dir(strings.TrimPrefix(name, IfThere)); !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// read is the version of the files whose certificates are in use.
func (c *Reloader) read() fileVersion {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// note remembers what became of a reading, and says when the next look is due.
func (c *Reloader) note(err error) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.since, c.failing = time.Time{}, nil
		return sweepEvery
	case c.since.IsZero():
		c.since = time.Now()
	}
	if left := settle - time.Since(c.since); left > 0 && c.failing == nil {
		return left
	}
	c.failing = err
	return sweepEvery
}

// Err says why the files as they are now are of no use; nil if they are in use.
func (c *Reloader) Err() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing == nil {
		return nil
	}
	return fmt.Errorf("the certificates that were read before stay in use: %w", c.failing)
}
