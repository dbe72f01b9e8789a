// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"time"

	"restante/engine/mail"
)

// A move is one record to copy into the active segment.
type move struct {
	id   mail.MessageID
	from entry
	body []byte
}

const (
	// A segment with less than a quarter of live bytes is compacted.
	emptyBelow = 4
	// copyStep is the number of bytes that one job copies.
	copyStep = 256 << 10
	// copyEvery is the interval at which Run looks for sparse segments.
	copyEvery = 10 * time.Second
)

// Run copies the live records out of sparse segments, slowly and while no job
// waits, until ctx ends. Without it the spool works and grows.
func (s *Spool) Run(ctx context.Context) error {
	ticker := time.NewTicker(copyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		if err := s.compact(ctx); err != nil && ctx.Err() == nil {
			s.opts.Log.Warn("spool: a segment could not be emptied", "err", err)
		}
	}
}

// sparse returns the segments to compact, with their generations.
func (b *segments) sparse() map[uint32]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[uint32]uint64{}
	for num, seg := range b.byNum {
		if seg.state == sealed && seg.live > 0 && seg.live*emptyBelow < seg.end {
			out[num] = seg.gen
		}
	}
	return out
}

// compact copies the live records of sparse segments.
func (s *Spool) compact(ctx context.Context) error {
	segs := s.segs.sparse()
	if len(segs) == 0 {
		return nil
	}
	var moves []move
	for p, err := range s.db.Scan(ctx, []byte(entryPrefix)) {
		if err != nil {
			return err
		}
		e, err := decodeEntry(p.Value)
		if gen, ok := segs[e.seg]; err != nil || !ok || gen != e.gen {
			continue
		}
		e.env = nil // read again before the copy
		moves = append(moves, move{id: mail.MessageID(p.Key[len(entryPrefix):]), from: e})
	}
	for len(moves) > 0 {
		n, size := 0, int64(0)
		for n < len(moves) && (n == 0 || size+moves[n].from.size <= copyStep) {
			size += moves[n].from.size
			n++
		}
		if err := s.copyRecords(ctx, moves[:n]); err != nil {
			return err
		}
		moves = moves[n:]
		if err := s.throttle(ctx, size); err != nil {
			return err
		}
	}
	return nil
}

// copyRecords reads bodies and submits them to the committer. It copies a
// damaged body unchanged: the checksum still tells.
func (s *Spool) copyRecords(ctx context.Context, moves []move) error {
	j := &job{}
	for _, m := range moves {
		e, err := s.find(m.id)
		if err != nil || e.seg != m.from.seg || e.gen != m.from.gen {
			continue
		}
		f, release, err := s.segs.acquire(m.id, &e)
		if err != nil {
			continue
		}
		m.from, m.body = e, make([]byte, e.size)
		_, err = f.ReadAt(m.body, e.bodyAt())
		_ = release()
		if err == nil {
			j.move = append(j.move, m)
		}
	}
	if len(j.move) == 0 {
		return nil
	}
	return s.committer.queue.Do(ctx, j)
}

// throttle waits as long as size bytes may take, and on while jobs wait.
func (s *Spool) throttle(ctx context.Context, size int64) error {
	wait := time.Duration(float64(size) / float64(s.opts.CopyRate) * float64(time.Second))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		if s.committer.queue.Len() == 0 {
			return nil
		}
		timer.Reset(5 * time.Millisecond)
	}
}
