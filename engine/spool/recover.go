// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"restante/engine/mail"
	"restante/internal/kv"
)

// A Report is what Open found besides whole messages.
type Report struct {
	Damaged  []Finding // messages with a wrong body; they stay as they are
	Dropped  []Finding // cut off by a crash before they were acknowledged
	Salvaged []Finding // lost by the index and found in the segments
	Kept     []Finding // files of no message; they stay as they are
}

// A Finding names a message, or a file without one, and what is wrong.
type Finding struct {
	ID   mail.MessageID
	File string
	Err  error
}

// A generationStart is where records of a generation may begin.
type generationStart struct {
	gen uint64
	at  int64
}

// A recovery brings files and index in line when a spool opens.
type recovery struct {
	s     *Spool
	index uint64 // the last group in the index; 0: the index is new
	last  uint64 // the last group on disk
	clean bool   // all groups were answered
	known map[uint32]generationStart
	files map[mail.MessageID]bool // files of large bodies without an entry so far
	tmp   []string
	ops   []kv.Op
}

// recover returns the number of the last group.
func (s *Spool) recover(ctx context.Context) (uint64, error) {
	w := &recovery{s: s, known: map[uint32]generationStart{}, files: map[mail.MessageID]bool{}}
	for _, step := range []func(context.Context) error{
		w.readIndex, w.list, w.salvageSegments, w.salvageFiles, w.readEntries, w.drop, w.removeFiles,
	} {
		if err := step(ctx); err != nil {
			return 0, err
		}
	}
	w.activate()
	w.log()
	return w.last, nil
}

// readIndex reads the last group and the segments as of it.
func (w *recovery) readIndex(ctx context.Context) error {
	b, ok, err := w.s.db.Get([]byte(lastKey))
	if err != nil {
		return err
	}
	if ok {
		if len(b) != 9 {
			return errors.New("the index does not say which group was the last")
		}
		w.index, w.clean = binary.BigEndian.Uint64(b), b[8] == 1
		w.last = w.index
	}
	for p, err := range w.s.db.Scan(ctx, []byte(segmentPrefix)) {
		if err != nil {
			return err
		}
		key := p.Key[len(segmentPrefix):]
		if len(key) != 4 || len(p.Value) != 16 {
			return errors.New("the index has a segment that does not read back")
		}
		w.known[binary.BigEndian.Uint32(key)] = generationStart{
			gen: binary.BigEndian.Uint64(p.Value),
			at:  int64(binary.BigEndian.Uint64(p.Value[8:])),
		}
	}
	return nil
}

// list opens the segments and notes the other files of the spool.
func (w *recovery) list(context.Context) error {
	names, err := w.s.vol.List()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if num := parseSegmentName(name); num != 0 {
			if err := w.openSegment(num, name); err != nil {
				return err
			}
			continue
		}
		if strings.HasPrefix(name, tmpPrefix) {
			w.tmp = append(w.tmp, name)
			continue
		}
		if base, ok := strings.CutSuffix(name, fileSuffix); ok {
			if id, err := mail.ParseMessageID(base); err == nil {
				w.files[id] = true
			}
		}
	}
	for num := range w.known {
		if w.s.segs.byNum[num] == nil {
			w.ops = append(w.ops, kv.Del(segmentKey(num)))
		}
	}
	return nil
}

func (w *recovery) openSegment(num uint32, name string) error {
	f, err := w.s.vol.Open(name, false)
	if err != nil {
		return err
	}
	b := w.s.segs
	seg := &segment{num: num, f: f, gen: w.known[num].gen, end: w.known[num].at}
	b.byNum[num] = seg
	b.next = max(b.next, num+1)
	if seg.filled, err = f.Size(); err != nil {
		return err
	}
	return nil
}

// readEntries accounts for every message. It checks the bodies of the last
// group, unless the spool was closed: of the two concurrent writes only one may
// have happened.
func (w *recovery) readEntries(ctx context.Context) error {
	for p, err := range w.s.db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return err
		}
		id := mail.MessageID(p.Key[len(entryPrefix):])
		e, err := decodeEntry(p.Value)
		if err != nil {
			w.s.report.Damaged = append(w.s.report.Damaged, Finding{ID: id, Err: err})
			continue
		}
		if err = w.readEntry(id, &e); err != nil && e.group == w.last && !w.clean {
			w.ops = append(w.ops, kv.Del(entryKey(id)))
			w.s.report.Dropped = append(w.s.report.Dropped, Finding{ID: id, Err: err})
			continue
		}
		if err != nil {
			w.s.report.Damaged = append(w.s.report.Damaged, Finding{ID: id, Err: err})
		}
		w.s.segs.adjust(&e, 1)
	}
	return nil
}

// readEntry finds what is wrong without reading every body.
func (w *recovery) readEntry(id mail.MessageID, e *entry) error {
	doubtful := e.group == w.last && !w.clean
	if e.seg == 0 {
		return w.readFile(id, e, doubtful)
	}
	seg := w.s.segs.byNum[e.seg]
	switch {
	case seg == nil:
		return fmt.Errorf("%s: %w", segmentName(e.seg), os.ErrNotExist)
	case seg.gen != e.gen:
		return fmt.Errorf("%s: %w", segmentName(e.seg), errMoved)
	case e.off+e.length() > seg.filled:
		return fmt.Errorf("%s: ends before the body does", segmentName(e.seg))
	case doubtful:
		return check(seg.f, id, e)
	}
	return nil
}

func (w *recovery) readFile(id mail.MessageID, e *entry, doubtful bool) error {
	if !w.files[id] {
		return fmt.Errorf("%s: %w", fileName(id), os.ErrNotExist)
	}
	delete(w.files, id)
	f, err := w.s.vol.Open(fileName(id), false)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size != e.length() {
		return fmt.Errorf("%s: %d bytes, not %d", fileName(id), size, e.length())
	}
	if doubtful {
		return check(f, id, e)
	}
	return nil
}

// drop stores the corrections. A new index gets its first group before any
// message, so that an index without one is known to be newer than the files.
func (w *recovery) drop(ctx context.Context) error {
	if w.last == 0 {
		w.last = 1
		w.ops = append(w.ops, kv.Put([]byte(lastKey), encodeLast(w.last, true)))
	}
	return w.flush(ctx)
}

func (w *recovery) flush(ctx context.Context) error {
	ops := w.ops
	w.ops = nil
	return w.s.db.Commit(ctx, ops...)
}

// removeFiles removes the files that no message has.
func (w *recovery) removeFiles(context.Context) error {
	names := w.tmp
	for _, id := range slices.Sorted(maps.Keys(w.files)) {
		names = append(names, fileName(id))
	}
	for _, name := range names {
		if err := w.s.vol.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// activate makes the newest segment with free space active and the empty ones
// ready.
func (w *recovery) activate() {
	b := w.s.segs
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, num := range slices.Sorted(maps.Keys(b.byNum)) {
		seg := b.byNum[num]
		if seg.live > 0 && seg.end < b.segSize*7/8 && (b.active == nil || seg.gen > b.active.gen) {
			b.active = seg
		}
	}
	if b.active != nil {
		b.active.state = active
	}
	for _, num := range slices.Sorted(maps.Keys(b.byNum)) {
		b.recycleLocked(b.byNum[num])
	}
}

func (w *recovery) log() {
	r, log := w.s.report, w.s.opts.Log
	for _, list := range []struct {
		msg  string
		what []Finding
	}{
		{"the body of a message is damaged; the message stays in the queue and can't be sent", r.Damaged},
		{"a message that was never acknowledged is dropped", r.Dropped},
		{"a message that the index had lost is taken in again", r.Salvaged},
		{"a file that belongs to no message stays as it is", r.Kept},
	} {
		for _, f := range list.what {
			log.Warn("spool: "+list.msg, "msg_id", f.ID, "file", f.File, "err", f.Err)
		}
	}
}
