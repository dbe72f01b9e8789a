// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"restante/engine/mail"
	"restante/internal/groupcommit"
	"restante/internal/kv"
)

// A group is the set of jobs that one write to the disk stores.
type group struct {
	c       *committer
	number  uint64
	undo    []undoPoint
	ops     []kv.Op
	touched []*segment
	wrote   bool // a body or a large file's entry, as opposed to removals only

	added   []entry
	removed []entry
	moves   [][2]entry // from, to
	seen    map[mail.MessageID]bool
}

// plan writes the bodies and collects the operations. It answers the jobs that
// find no space on the disk and returns the others, removals above all.
func (g *group) plan(jobs []*job) ([]*job, error) {
	g.seen = map[mail.MessageID]bool{}
	g.undo = g.c.s.segs.beginGroup(g.number)
	rest, err := g.addAll(jobs)
	if err != nil {
		return jobs, err
	}
	for _, j := range rest {
		if err := g.removeAll(j); err != nil {
			return rest, err
		}
		g.ops = append(g.ops, j.extra...)
	}
	return rest, nil
}

func (g *group) addAll(jobs []*job) (rest []*job, err error) {
	if err := g.write(jobs); err == nil {
		return jobs, nil
	} else {
		g.c.s.segs.rollback(g.undo)
		err = asFull(err)
		var failed []*job
		for _, j := range jobs {
			if j.add != nil && !j.file || len(j.move) > 0 {
				failed = append(failed, j)
			} else {
				rest = append(rest, j)
			}
		}
		groupcommit.Answer(failed, err)
	}
	g.ops, g.added, g.moves, g.touched, g.wrote = nil, nil, nil, nil, false
	return rest, g.write(rest) // no more bodies in it
}

func (g *group) write(jobs []*job) error {
	var bytes int64
	for _, j := range jobs {
		if j.add != nil && !j.file {
			bytes += j.add.length()
		}
		for _, m := range j.move {
			bytes += m.from.length()
		}
	}
	if bytes > 0 {
		if err := g.c.s.checkSpace(bytes); err != nil {
			return err
		}
	}
	w := &segmentWriter{}
	for _, j := range jobs {
		if err := g.writeJob(w, j); err != nil {
			return err
		}
	}
	return errors.Join(w.flush(), g.fill(bytes))
}

func (g *group) writeJob(w *segmentWriter, j *job) error {
	switch {
	case j.add != nil && j.file:
		r := j.add
		g.put(r.id, entry{group: g.number, size: r.size, sum: r.sum, env: r.env})
	case j.add != nil:
		e, err := g.append(w, j.add, j.body)
		if err != nil {
			return err
		}
		g.put(j.add.id, e)
	}
	for _, m := range j.move {
		if err := g.moveOne(w, m); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) put(id mail.MessageID, e entry) {
	g.ops = append(g.ops, kv.Put(entryKey(id), e.encode()))
	g.added = append(g.added, e)
	g.wrote = true
}

// append writes one record and returns its entry.
func (g *group) append(w *segmentWriter, r *record, body [][]byte) (entry, error) {
	p, err := g.c.s.segs.allocate(r.length(), g.number, &g.undo)
	if err != nil {
		return entry{}, err
	}
	g.touch(p.seg)
	if err := w.seek(p); err != nil {
		return entry{}, err
	}
	at := *r
	at.gen, at.group = p.seg.gen, g.number
	w.write(at.appendHead(w.head[:0]))
	w.write(at.env)
	for _, b := range body {
		w.write(b)
	}
	return entry{
		group: g.number, seg: p.seg.num, gen: p.seg.gen, off: p.off,
		size: r.size, sum: r.sum, env: r.env,
	}, w.err
}

func (g *group) touch(seg *segment) {
	if n := len(g.touched); n == 0 || g.touched[n-1] != seg {
		g.touched = append(g.touched, seg)
	}
}

// moveOne copies a record, unless it was removed or copied since.
func (g *group) moveOne(w *segmentWriter, m move) error {
	now, err := g.c.s.find(m.id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if g.seen[m.id] || now.seg != m.from.seg || now.gen != m.from.gen || now.off != m.from.off {
		return nil
	}
	r := &record{id: m.id, env: now.env, size: now.size, sum: now.sum}
	to, err := g.append(w, r, [][]byte{m.body})
	if err != nil {
		return err
	}
	g.seen[m.id] = true
	g.ops = append(g.ops, kv.Put(entryKey(m.id), to.encode()))
	g.moves = append(g.moves, [2]entry{now, to})
	g.wrote = true
	return nil
}

// removeAll follows the copies of the same group, so that it sees their new
// locations.
func (g *group) removeAll(j *job) error {
	j.removedFiles = nil
	for _, id := range j.remove {
		e, err := g.c.s.find(id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		for i, m := range g.moves {
			if m[0].seg == e.seg && m[0].gen == e.gen && m[0].off == e.off {
				e = g.moves[i][1]
				break
			}
		}
		key := "-" + id
		if g.seen[key] {
			continue
		}
		g.seen[key] = true
		g.ops = append(g.ops, kv.Del(entryKey(id)))
		g.removed = append(g.removed, e)
		if e.seg == 0 {
			j.removedFiles = append(j.removedFiles, id)
		}
	}
	return nil
}

// fill writes zeros behind the records now and then: overwriting existing
// blocks syncs three times as fast as allocating new ones. A large group
// allocates its own.
func (g *group) fill(bytes int64) error {
	if len(g.touched) == 0 {
		return nil
	}
	seg := g.touched[len(g.touched)-1]
	if seg.end <= seg.filled {
		return nil
	}
	seg.filled = seg.end
	ahead := min(4<<20, g.c.s.opts.SegmentSize/8, g.c.s.opts.SegmentSize-seg.end)
	if bytes > 1<<20 || ahead <= 0 || g.c.s.checkSpace(ahead) != nil {
		return nil
	}
	zeros := make([]byte, min(ahead, 256<<10))
	for ahead > 0 {
		n := min(ahead, int64(len(zeros)))
		if _, err := seg.f.WriteAt(zeros[:n], seg.filled); err != nil {
			return nil // the records are complete
		}
		seg.filled += n
		ahead -= n
	}
	return nil
}

// store syncs the segments and commits the operations concurrently. If only one
// of them succeeds, the state on disk is not what callers are told: the spool
// refuses all further jobs, and the next Open repairs it.
func (g *group) store(ctx context.Context) error {
	if g.wrote {
		g.ops = append(g.ops, kv.Put([]byte(lastKey), encodeLast(g.number, false)))
		for _, seg := range g.touched {
			g.ops = append(g.ops, kv.Put(segmentKey(seg.num), encodeSegment(seg.gen, seg.end)))
		}
	}
	g.ops = append(g.ops, g.c.s.segs.retiredOps()...)
	synced := g.sync()
	if len(g.moves) > 0 {
		// A copied message was acknowledged long ago: its entry must never
		// point to a copy that is not on disk.
		if err := synced(); err != nil {
			return g.c.fail(err)
		}
	}
	err := g.c.s.db.Commit(ctx, g.ops...)
	if serr := synced(); serr != nil {
		return g.c.fail(errors.Join(serr, err))
	}
	if err != nil && !errors.Is(err, kv.ErrFull) && !errors.Is(err, kv.ErrTooLarge) && !errors.Is(err, kv.ErrMoved) {
		return g.c.fail(err)
	}
	return err
}

// sync begins to sync the segments that were written to. The function it
// returns waits until that is done, each time it is called.
func (g *group) sync() func() error {
	var syncs sync.WaitGroup
	errs := make([]error, len(g.touched))
	for i, seg := range g.touched {
		syncs.Go(func() { errs[i] = seg.f.Sync() })
	}
	return func() error {
		syncs.Wait()
		return errors.Join(errs...)
	}
}

func (g *group) account() {
	b := g.c.s.segs
	for i := range g.added {
		b.adjust(&g.added[i], 1)
	}
	for i := range g.moves {
		b.relocate(&g.moves[i][0], &g.moves[i][1])
	}
	for i := range g.removed {
		b.adjust(&g.removed[i], -1)
	}
}

// retiredOps returns the operations for segments whose files were removed.
func (b *segments) retiredOps() (ops []kv.Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, num := range b.retired {
		ops = append(ops, kv.Del(segmentKey(num)))
	}
	b.retired = nil
	return ops
}

func encodeSegment(gen uint64, end int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, gen), uint64(end))
}

func encodeLast(group uint64, clean bool) []byte {
	b := binary.BigEndian.AppendUint64(nil, group)
	if clean {
		return append(b, 1)
	}
	return append(b, 0)
}

// A segmentWriter collects small records into large writes.
type segmentWriter struct {
	seg  *segment
	buf  *bufio.Writer
	head [headSize]byte
	err  error
}

func (w *segmentWriter) seek(p location) error {
	if w.seg == p.seg {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.seg = p.seg
	out := io.NewOffsetWriter(p.seg.f, p.off)
	if w.buf == nil {
		w.buf = bufio.NewWriterSize(out, 64<<10)
	} else {
		w.buf.Reset(out)
	}
	return nil
}

func (w *segmentWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.buf.Write(b)
	}
}

func (w *segmentWriter) flush() error {
	if w.buf != nil && w.err == nil {
		w.err = w.buf.Flush()
	}
	return w.err
}
