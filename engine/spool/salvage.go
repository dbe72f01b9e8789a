// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"restante/engine/mail"
	"restante/internal/kv"
)

// salvageSegments looks for records behind the end of each segment. One group
// may be there: a crash interrupted it, and its callers were not answered. More
// than one means that the index lost acknowledged messages, because its log was
// damaged or an old copy was restored.
//
// Then all of them are taken in again: a message that was delivered since may
// be sent twice, none is lost.
func (w *recovery) salvageSegments(ctx context.Context) error {
	type found struct {
		e entry
		r record
	}
	var beyond []found
	newest := w.last
	for _, seg := range w.s.segs.byNum {
		for _, start := range w.starts(seg) {
			for off := start.at; ; {
				r, err := segmentHead(seg.f, off)
				if err != nil || r.gen != start.gen || r.group <= w.index {
					break
				}
				newest = max(newest, r.group)
				e := entry{group: r.group, seg: seg.num, gen: r.gen, off: off, size: r.size, sum: r.sum, env: r.env}
				r.env = nil
				beyond = append(beyond, found{e, r})
				off += r.length() + int64(len(e.env))
			}
		}
	}
	if newest <= w.index+1 {
		for _, f := range beyond {
			w.s.report.Dropped = append(w.s.report.Dropped, Finding{ID: f.r.id, Err: errUnanswered})
		}
		return nil
	}
	for _, f := range beyond {
		if err := w.salvage(f.r.id, &f.e, w.s.segs.byNum[f.e.seg]); err != nil {
			return err
		}
	}
	w.last = newest
	w.clean = true // all whole records are in the index
	w.ops = append(w.ops, kv.Put([]byte(lastKey), encodeLast(newest, true)))
	return w.flush(ctx)
}

var errUnanswered = errors.New("cut off before it was acknowledged")

// starts are the offsets at which records unknown to the index may begin:
// behind the known end or, in a segment used anew, at the front.
func (w *recovery) starts(seg *segment) []generationStart {
	out := []generationStart{{seg.gen, seg.end}}
	if r, err := segmentHead(seg.f, 0); err == nil && r.gen != seg.gen && r.gen > w.index {
		out = []generationStart{{r.gen, 0}}
	}
	return out
}

// salvage adds the message at e to the index, if its record is whole and the
// index has no better one.
func (w *recovery) salvage(id mail.MessageID, e *entry, seg *segment) error {
	report := &w.s.report
	if err := check(seg.f, id, e); err != nil {
		report.Dropped = append(report.Dropped, Finding{ID: id, Err: err})
		return nil
	}
	now, err := w.s.find(id)
	if err == nil {
		if old := w.s.segs.byNum[now.seg]; old != nil && check(old.f, id, &now) == nil {
			return nil
		}
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	seg.gen, seg.end = e.gen, e.off+e.length()
	w.ops = append(w.ops, kv.Put(entryKey(id), e.encode()), kv.Put(segmentKey(seg.num), encodeSegment(seg.gen, seg.end)))
	report.Salvaged = append(report.Salvaged, Finding{ID: id, Err: errLost})
	return nil
}

var errLost = errors.New("the index had lost it")

// salvageFiles does the same for files of large bodies: one that was begun
// after the last group of the index shows that the index is older.
func (w *recovery) salvageFiles(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(w.files)) {
		if _, err := w.s.find(id); err == nil {
			continue
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := w.orphan(id); err != nil {
			return err
		}
	}
	return w.flush(ctx)
}

// orphan decides about a file without an entry. The file stays in w.files if it
// is to be removed or an entry for it is added.
func (w *recovery) orphan(id mail.MessageID) error {
	f, err := w.s.vol.Open(fileName(id), false)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := fileHead(f)
	e := entry{group: r.group, size: r.size, sum: r.sum, env: r.env}
	if err == nil && r.id != id {
		err = fmt.Errorf("it holds message %s", r.id)
	}
	if err == nil && r.group <= w.index {
		return nil // cut off, or left over from a removal
	}
	if err == nil {
		err = check(f, id, &e)
	}
	if err != nil {
		delete(w.files, id)
		w.s.report.Kept = append(w.s.report.Kept, Finding{File: fileName(id), Err: err})
		return nil
	}
	w.last, w.clean = max(w.last, r.group), true
	w.ops = append(w.ops, kv.Put(entryKey(id), e.encode()), kv.Put([]byte(lastKey), encodeLast(w.last, true)))
	w.s.report.Salvaged = append(w.s.report.Salvaged, Finding{ID: id, Err: errLost})
	return nil
}
