// SPDX-License-Identifier: Apache-2.0

// Package search finds events in the folder of a trace, whether or not a process writes
// to it.
package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"time"

	"restante/engine/trace/segment"
	"restante/internal/disk"
)

// A Position is a place in the files of a trace.
type Position struct {
	Segment int
	Offset  int64
}

// A Query says which events are searched.
type Query struct {
	Keys   []string          // one of which names the event
	Since  time.Time         // older ones are left out
	Limit  int               // the newest; 0: all
	Keep   func(*Event) bool // further conditions; nil: none
	Before *Position         // only what was written before; nil: all
}

// Found is the result of a search.
type Found struct {
	Events []*Event // in the order in which they were written
	More   bool     // there are older ones
	Damage []string // files that do not read as they were written, and why
}

// An Event is one that was found.
type Event = segment.Event

// Search finds events in the folder of a trace.
// Of a folder that is not there, it finds none.
func Search(ctx context.Context, dir string, q Query) (Found, error) {
	s := &search{Query: q, keys: segment.Hashes(q.Keys)}
	err := eachSegment(dir, func(f *disk.Folder, all []int) error {
		for _, n := range slices.Backward(all) {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := s.one(f, n); err != nil && !errors.Is(err, fs.ErrNotExist) { // dropped meanwhile
				s.Damage = append(s.Damage, fmt.Sprintf("%s: %v", segment.Name(n), err))
			}
			if s.More {
				break
			}
		}
		return nil
	})
	slices.Reverse(s.Events)
	return s.Found, err
}

// eachSegment calls do with the open folder and the numbers of its segments.
func eachSegment(dir string, do func(f *disk.Folder, all []int) error) error {
	f, err := disk.OpenFolder(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := segment.List(f)
	if err != nil {
		return err
	}
	return do(f, all)
}

// A Gap is a time of which events are missing; Count 0: nobody knows how many.
type Gap struct {
	Since, Until time.Time
	Count        int
}

// Has reports whether a time is in the gap.
func (g Gap) Has(at time.Time) bool { return !at.Before(g.Since) && !at.After(g.Until) }

// GapOf gives the gap that an event tells of; it is false of other events.
func GapOf(e *Event) (g Gap, ok bool) {
	if e.Name != LostKey {
		return g, false
	}
	count, _ := strconv.Atoi(e.Attr("count"))
	return Gap{e.Time("since"), e.Time("until"), count}, true
}

// LostKey is the key of the events that tell of gaps.
const LostKey = segment.Lost

// Begin gives the time from which on a folder has events; zero where it has none.
func Begin(dir string) (at time.Time, err error) {
	err = eachSegment(dir, func(f *disk.Folder, all []int) error {
		for _, n := range all {
			if e, err := firstOf(f, n); err == nil {
				at = e.At
				return nil
			}
		}
		return nil
	})
	return at, err
}

func firstOf(f *disk.Folder, n int) (e *Event, err error) {
	file, err := f.Open(segment.Name(n))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	first := segment.ErrDamaged
	_, err = segment.Scan(file, 0, func(_ int64, raw []byte) bool {
		e, first = segment.EventIn(raw)
		return first != nil
	})
	return e, cmp.Or(err, first)
}

// A search collects events from the newest to the oldest.
type search struct {
	Query
	Found
	keys map[uint64]bool
}

// one searches one segment.
func (s *search) one(f *disk.Folder, n int) error {
	if s.Before != nil && n > s.Before.Segment {
		return nil
	}
	offsets, damage := s.offsets(f, n)
	if len(offsets) == 0 {
		return damage
	}
	file, err := f.Open(segment.Name(n))
	if err != nil {
		return err
	}
	defer file.Close()
	for _, at := range slices.Backward(offsets) {
		if s.Before != nil && n == s.Before.Segment && int64(at) >= s.Before.Offset {
			continue
		}
		e, err := segment.ReadAt(file, int64(at))
		if err != nil {
			damage = err
			continue
		}
		if e.At.Before(s.Since) || s.Keep != nil && !s.Keep(e) {
			continue
		}
		if s.Limit > 0 && len(s.Events) == s.Limit {
			s.More = true
			break
		}
		s.Events = append(s.Events, e)
	}
	return damage
}

// offsets finds the records of a segment that have one of the keys, by its index or,
// where it has none that reads, by reading it whole.
func (s *search) offsets(f *disk.Folder, n int) (out []uint32, err error) {
	x, err := segment.OpenIndex(f, n)
	if err == nil {
		defer x.Close()
		if x.Last.Before(s.Since) {
			return nil, nil
		}
		for h := range s.keys {
			if out, err = x.Find(h, out); err != nil {
				err = fmt.Errorf("%s: %w", segment.IndexName(n), err)
				break
			}
		}
		slices.Sort(out)
		out = slices.Compact(out)
	}
	if err == nil && x.Damaged > 0 {
		return out, segment.ErrDamaged // the index does not have what is damaged
	}
	if err == nil {
		return out, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // it is not closed yet
	}
	file, oerr := f.Open(segment.Name(n))
	if oerr != nil {
		return nil, oerr
	}
	defer file.Close()
	out = nil
	damaged, serr := segment.Scan(file, 0, func(at int64, raw []byte) bool {
		if segment.HasKey(raw, s.keys) {
			out = append(out, uint32(at))
		}
		return true
	})
	if damaged > 0 && serr == nil {
		serr = segment.ErrDamaged
	}
	return out, errors.Join(err, serr)
}

// Follow calls do with the events of a folder from a place on, as they come, until ctx ends
// or do is false. Keys name them; with each, do may give further keys. Written gives a
// channel that is closed when more is written.
func Follow(ctx context.Context, dir string, from Position, keys []string, written func() <-chan struct{}, do func(*Event) (more []string, ok bool)) error {
	wanted := segment.Hashes(keys)
	for {
		wake, ok := written(), true
		err := eachSegment(dir, func(f *disk.Folder, all []int) (err error) {
			from, err = from.read(f, all, func(raw []byte) bool {
				if !segment.HasKey(raw, wanted) {
					return true
				}
				e, err := segment.EventIn(raw)
				if err != nil {
					return true // a search tells of it
				}
				var more []string
				more, ok = do(e)
				maps.Copy(wanted, segment.Hashes(more))
				return ok
			})
			return err
		})
		if err != nil || !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wake:
		}
	}
}

// read calls do with the records from p on, until it is false, and gives the place behind
// the last of them.
func (p Position) read(f *disk.Folder, all []int, do func(raw []byte) bool) (Position, error) {
	more := true
	for _, n := range all {
		if n < p.Segment || !more {
			continue
		}
		if n > p.Segment {
			p = Position{Segment: n}
		}
		file, err := f.Open(segment.Name(n))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was dropped
		}
		if err != nil {
			return p, err
		}
		_, err = segment.Scan(file, p.Offset, func(at int64, raw []byte) bool {
			p.Offset = at + int64(len(raw))
			more = do(raw)
			return more
		})
		if err := errors.Join(err, file.Close()); err != nil {
			return p, err
		}
	}
	return p, nil
}
