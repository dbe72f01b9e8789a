// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"restante/engine/trace/segment"
	"restante/internal/disk"
)

// The bounds of a segment.
const (
	minSegment = 64 << 10 // octets
	maxSegment = 16 << 20 // between these, Limits.Bytes divided by
	shares     = 8
	maxAge     = 24 * time.Hour // from its first event to its last
	maxWrite   = 1 << 20        // octets that are written at once
)

// A writer appends events to the segments of a folder.
type writer struct {
	dir    string
	loaded bool
	gap    *Event // what a crash may have lost, until it is written
	closed []closedSegment
	number int   // of the open segment
	size   int64 // of it
	events int
	damage int
	begun  time.Time // its first event
	synced bool
}

// A closedSegment gets no more events.
type closedSegment struct {
	number, events, damaged int
	bytes                   int64 // with the index
	first, last             time.Time
}

func (w *writer) status() (s Status) {
	for _, c := range w.closed {
		s.Events, s.Bytes, s.Damaged = s.Events+c.events, s.Bytes+c.bytes, s.Damaged+c.damaged
	}
	s.Events, s.Bytes, s.Damaged, s.Since = s.Events+w.events, s.Bytes+w.size, s.Damaged+w.damage, w.begun
	if len(w.closed) > 0 {
		s.Since = w.closed[0].first
	}
	return s
}

// write appends events and removes what is too old, or too much. It gives the number of
// events that were written, or that are not wanted.
func (w *writer) write(events []Event, limits Limits, sync bool) (n int, err error) {
	if w.loaded && len(events) == 0 && (w.synced || !sync) && !w.prunable(limits) {
		return 0, nil
	}
	if _, err := os.Lstat(w.dir); errors.Is(err, fs.ErrNotExist) {
		if w.loaded = w.loaded && w.size == 0 && len(w.closed) == 0; len(events) == 0 || limits.Age == 0 {
			return len(events), nil // it is not made for nothing
		}
	}
	if _, err := os.Lstat(filepath.Dir(w.dir)); err != nil {
		return 0, err // the data folder is gone, and is not made again
	}
	folder, err := disk.MakeFolder(nil, w.dir, 0o700)
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	if !w.loaded {
		if err := w.load(folder); err != nil {
			return 0, err
		}
	}
	if limits.Age == 0 {
		return len(events), w.prune(folder, limits)
	}
	if err := w.fill(folder, events, &n, limits); err != nil {
		return n, err
	}
	if sync && !w.synced {
		if err := w.sync(folder); err != nil {
			return n, err
		}
	}
	return n, w.prune(folder, limits)
}

// fill appends events, and counts them in n.
func (w *writer) fill(folder *disk.Folder, events []Event, n *int, limits Limits) error {
	if w.gap == nil && len(events) == 0 {
		return nil
	}
	if err := disk.CheckSpare(w.dir); err != nil {
		return err
	}
	if w.gap != nil {
		if _, err := w.append(folder, []Event{*w.gap}, limits); err != nil {
			return err
		}
		w.gap = nil
	}
	for *n < len(events) {
		done, err := w.append(folder, events[*n:], limits)
		if *n += done; err != nil {
			return err
		}
	}
	return nil
}

// stop writes that nothing is missing at the end.
func (w *writer) stop(limits Limits) error {
	if w.size == 0 && len(w.closed) == 0 || limits.Age == 0 {
		return nil
	}
	_, err := w.write([]Event{{At: time.Now(), Name: segment.Stopped}}, limits, true)
	return err
}

// append writes events to the open segment, or begins the next one, and gives the number
// of those that it has taken. After an error the segment is as it was.
func (w *writer) append(folder *disk.Folder, events []Event, limits Limits) (n int, err error) {
	room := max(minSegment, min(maxSegment, limits.Bytes/shares))
	if w.size >= room {
		if err := w.roll(folder); err != nil {
			return 0, err
		}
	}
	f, err := folder.Append(segment.Name(w.number), 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if w.size = st.Size(); w.size == 0 { // or another program has removed it
		w.events, w.begun = 0, events[0].At
		if err := folder.Sync(); err != nil {
			return 0, err
		}
	}
	var out []byte
	for n < len(events) && len(out) < maxWrite && (n == 0 || w.size+int64(len(out)) < room) {
		out = segment.Append(out, &events[n])
		n++
	}
	if _, err := f.Write(out); err != nil {
		return 0, errors.Join(err, f.Truncate(w.size))
	}
	w.size, w.events, w.synced = w.size+int64(len(out)), w.events+n, false
	return n, nil
}

func (w *writer) sync(folder *disk.Folder) error {
	f, err := folder.Append(segment.Name(w.number), 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(disk.SyncData(f), f.Close()); err != nil {
		return err
	}
	w.synced = true
	return nil
}

// roll ends the open segment: it gets its index.
func (w *writer) roll(folder *disk.Folder) error {
	if err := w.sync(folder); err != nil {
		return err
	}
	c, err := buildIndex(folder, w.number)
	if err != nil {
		return err
	}
	w.closed = append(w.closed, c)
	w.number, w.size, w.events, w.damage, w.begun = w.number+1, 0, 0, 0, time.Time{}
	return nil
}

// buildIndex writes the index of segment n.
func buildIndex(folder *disk.Folder, n int) (c closedSegment, err error) {
	f, err := folder.Open(segment.Name(n))
	if err != nil {
		return c, err
	}
	s, err := segment.Summarize(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return c, fmt.Errorf("%s: %w", segment.Name(n), err)
	}
	index := segment.IndexOf(s)
	c = closedSegment{n, s.Events, s.Damaged, s.End + int64(len(index)), s.First.At, s.Last.At}
	return c, folder.WriteFile(segment.IndexName(n), 0o600, disk.Bytes(index))
}

// load finds out what an earlier process has left. A segment that cannot be read costs
// itself alone.
func (w *writer) load(folder *disk.Folder) error {
	all, err := segment.List(folder)
	if err != nil {
		return err
	}
	w.closed, w.number, w.size, w.events, w.damage, w.begun, w.synced = nil, 1, 0, 0, 0, time.Time{}, true
	end := Event{Name: segment.Stopped}
	for i, n := range all {
		w.number = n + 1
		c, err := loadClosed(folder, n)
		if err != nil && i == len(all)-1 && errors.Is(err, fs.ErrNotExist) {
			if end, err = w.reopen(folder, n, end); err == nil {
				continue
			}
		} else if err != nil {
			c, err = buildIndex(folder, n)
		}
		if err != nil && c.number == 0 {
			c = unread(folder, n)
		}
		w.closed = append(w.closed, c)
		end = Event{At: c.last}
	}
	if w.loaded = true; end.Name != segment.Stopped {
		gap := lost{since: end.At, until: time.Now()}.event()
		w.gap = &gap
	}
	return nil
}

// loadClosed reads the head of an index.
func loadClosed(folder *disk.Folder, n int) (c closedSegment, err error) {
	x, err := segment.OpenIndex(folder, n)
	if err != nil {
		return c, err
	}
	defer x.Close()
	c = closedSegment{number: n, events: x.Events, damaged: x.Damaged, first: x.First, last: x.Last}
	for _, name := range []string{segment.Name(n), segment.IndexName(n)} {
		if st, err := folder.Lstat(name); err == nil {
			c.bytes += st.Size()
		}
	}
	return c, nil
}

// unread is a segment that cannot be read now. Its events are as old as its file, and may
// read again later.
func unread(folder *disk.Folder, n int) closedSegment {
	c := closedSegment{number: n, damaged: 1, first: time.Now(), last: time.Now()}
	if st, err := folder.Lstat(segment.Name(n)); err == nil {
		c.bytes, c.first, c.last = st.Size(), st.ModTime(), st.ModTime()
	}
	return c
}

// reopen goes on with a segment, behind its last record that reads, and gives that. Of a
// segment without one, it gives what stands before it or, where nothing does, its time.
func (w *writer) reopen(folder *disk.Folder, n int, before Event) (last Event, err error) {
	f, err := folder.Append(segment.Name(n), 0o600)
	if err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	s, err := segment.Summarize(f)
	if err != nil {
		return last, err
	}
	if err := f.Truncate(s.End); err != nil {
		return last, err
	}
	w.number, w.size, w.events, w.damage, w.begun, w.synced = n, s.End, s.Events, s.Damaged, s.First.At, false
	if s.Events == 0 && len(w.closed) > 0 {
		return before, nil
	}
	return *s.Last, nil
}

// prunable reports whether prune has something to do.
func (w *writer) prunable(limits Limits) bool {
	if limits.Age == 0 {
		return w.size > 0 || len(w.closed) > 0
	}
	return w.size > 0 && time.Since(w.begun) >= maxAge || len(w.closed) > 0 && w.tooMuch(limits)
}

// tooMuch reports whether the oldest closed segment is beyond the limits.
func (w *writer) tooMuch(limits Limits) bool {
	return time.Since(w.closed[0].last) >= limits.Age || w.status().Bytes > limits.Bytes
}

// prune removes the oldest segments, and ends one that is old enough to be removed
// later.
func (w *writer) prune(folder *disk.Folder, limits Limits) error {
	if w.size > 0 && (time.Since(w.begun) >= maxAge || limits.Age == 0) {
		if err := w.roll(folder); err != nil {
			return err
		}
	}
	for len(w.closed) > 0 && w.tooMuch(limits) {
		n := w.closed[0].number
		// The index goes first: a segment without one is found by the next start.
		for _, name := range []string{segment.IndexName(n), segment.Name(n)} {
			if err := folder.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		w.closed = w.closed[1:]
	}
	return nil
}
