// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"restante/engine/mail"
)

const (
	tmpPrefix     = "tmp-"
	fileSuffix    = ".msg"
	segmentSuffix = ".seg"

	// readyLimit is how many empty segments stay on disk to be used again.
	readyLimit = 3
)

func fileName(id mail.MessageID) string { return string(id) + fileSuffix }

func segmentName(num uint32) string { return fmt.Sprintf("%08x%s", num, segmentSuffix) }

func segmentKey(num uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte(segmentPrefix), num)
}

// parseSegmentName returns the number, or 0 for another name.
func parseSegmentName(name string) uint32 {
	var num uint32
	base, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0
	}
	if _, err := fmt.Sscanf(base, "%08x", &num); err != nil || segmentName(num) != name {
		return 0
	}
	return num
}

// A segment is one file of records. Its generation changes when it is used
// again, so that an old record is never taken for a new one.
type segment struct {
	num uint32
	f   file

	// What follows is guarded by segments.mu.
	gen    uint64
	end    int64 // where the next record goes
	filled int64 // how much of the file has blocks
	live   int64 // bytes of records that the index points to
	refs   int   // bodies that are open
	state  segmentState
}

type segmentState int

const (
	sealed segmentState = iota // full
	active                     // takes records
	ready                      // empty
)

// Segments accounts for the segment files and for the files that are open.
type segments struct {
	vol     volume
	segSize int64

	mu            sync.Mutex // guards what follows
	byNum         map[uint32]*segment
	active        *segment
	ready         []*segment
	next          uint32
	retired       []uint32               // removed files that the index still has
	open          map[mail.MessageID]int // bodies in a file of their own that are open
	removeOnClose map[mail.MessageID]bool
}

func newSegments(vol volume, segSize int64) *segments {
	return &segments{
		vol: vol, segSize: segSize, next: 1,
		byNum:         map[uint32]*segment{},
		open:          map[mail.MessageID]int{},
		removeOnClose: map[mail.MessageID]bool{},
	}
}

// adjust counts one message more (n = 1) or less (n = -1) in its segment.
func (b *segments) adjust(e *entry, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adjustLocked(e, n)
}

// relocate accounts for a record that was copied.
func (b *segments) relocate(from, to *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adjustLocked(to, 1)
	b.adjustLocked(from, -1)
}

func (b *segments) adjustLocked(e *entry, n int) {
	seg := b.byNum[e.seg]
	if seg == nil || seg.gen != e.gen {
		return // in a file of its own, or damaged: its segment is gone
	}
	seg.live += int64(n) * e.length()
	b.recycleLocked(seg)
}

// recycleLocked makes an empty sealed segment ready, or removes its file if
// enough are ready.
func (b *segments) recycleLocked(seg *segment) {
	if seg.state != sealed || seg.live > 0 || seg.refs > 0 {
		return
	}
	if len(b.ready) < readyLimit {
		seg.state = ready
		b.ready = append(b.ready, seg)
		return
	}
	_ = seg.f.Close()
	_ = b.vol.Remove(segmentName(seg.num)) // the next Open finds a leftover empty
	delete(b.byNum, seg.num)
	b.retired = append(b.retired, seg.num)
}

// A location is where a record is written.
type location struct {
	seg *segment
	off int64
}

// An undoPoint is the end of a segment before a group. It keeps the segment
// from being used again until unpin.
type undoPoint struct {
	seg *segment
	end int64
}

// beginGroup starts the active segment anew if it has no live record: mail that
// only passes through overwrites the same blocks.
func (b *segments) beginGroup(group uint64) []undoPoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	seg := b.active
	if seg == nil {
		return nil
	}
	if seg.live == 0 && seg.refs == 0 && seg.end > b.segSize/8 {
		seg.gen, seg.end = group, 0
	}
	seg.refs++
	return []undoPoint{{seg, seg.end}}
}

// allocate finds space for n bytes in the active segment, or in the next one,
// which it adds to before.
func (b *segments) allocate(n int64, group uint64, before *[]undoPoint) (location, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seg := b.active; seg == nil || seg.end+n > b.segSize {
		next, err := b.nextLocked()
		if err != nil {
			return location{}, err
		}
		next.gen, next.end, next.state = group, 0, active
		next.refs++
		*before = append(*before, undoPoint{next, 0})
		b.active = next
		if seg != nil {
			seg.state = sealed
		}
	}
	p := location{b.active, b.active.end}
	b.active.end += n
	return p, nil
}

func (b *segments) nextLocked() (*segment, error) {
	if n := len(b.ready); n > 0 {
		seg := b.ready[n-1]
		b.ready = b.ready[:n-1]
		return seg, nil
	}
	f, err := b.vol.Open(segmentName(b.next), true)
	if err != nil {
		return nil, err
	}
	if err := b.vol.Sync(); err != nil {
		return nil, errors.Join(err, f.Close(), b.vol.Remove(segmentName(b.next)))
	}
	seg := &segment{num: b.next, f: f}
	b.byNum[seg.num] = seg
	b.next++
	return seg, nil
}

// rollback undoes the allocations of a group that was not stored.
func (b *segments) rollback(before []undoPoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range before {
		m.seg.end = m.end
	}
}

// unpin releases the segments of a group that was answered.
func (b *segments) unpin(before []undoPoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range before {
		m.seg.refs--
		b.recycleLocked(m.seg)
	}
}

// acquire keeps the file of e from being used again until release.
func (b *segments) acquire(id mail.MessageID, e *entry) (f file, release func() error, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.seg == 0 {
		return b.acquireFileLocked(id)
	}
	seg := b.byNum[e.seg]
	if seg == nil || seg.gen != e.gen {
		return nil, nil, errMoved
	}
	seg.refs++
	return seg.f, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		seg.refs--
		b.recycleLocked(seg)
		return nil
	}, nil
}

// errMoved means that a record is no longer at its location.
var errMoved = errors.New("it is not where the index says")

func (b *segments) acquireFileLocked(id mail.MessageID) (file, func() error, error) {
	f, err := b.vol.Open(fileName(id), false)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: %w", errMoved, err)
	}
	if err != nil {
		return nil, nil, err
	}
	b.open[id]++
	return f, func() error {
		err := f.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.open[id]--; b.open[id] > 0 {
			return err
		}
		delete(b.open, id)
		if b.removeOnClose[id] {
			delete(b.removeOnClose, id)
			_ = b.vol.Remove(fileName(id))
		}
		return err
	}, nil
}

// removeFile removes the file of a large body, now or when its last reader
// closes it: not every system removes an open file. The next Open removes what
// is left.
func (b *segments) removeFile(id mail.MessageID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open[id] > 0 {
		b.removeOnClose[id] = true
		return
	}
	_ = b.vol.Remove(fileName(id))
}

func (b *segments) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, seg := range b.byNum {
		errs = append(errs, seg.f.Close())
	}
	b.byNum, b.active, b.ready = map[uint32]*segment{}, nil, nil
	return errors.Join(errs...)
}
