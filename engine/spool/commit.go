// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"restante/engine/mail"
	"restante/internal/groupcommit"
	"restante/internal/kv"
)

// A job is the request of one caller: a message to add, messages to remove, or
// records to copy.
type job struct {
	groupcommit.Request
	add    *record
	body   [][]byte // of add, unless file
	file   bool     // the body is in its own file already
	remove []mail.MessageID
	move   []move
	extra  []kv.Op

	removedFiles []mail.MessageID // removed messages with a file of their own
}

func (j *job) weight() int64 {
	n := int64(1 << 10)
	if j.add != nil {
		n += int64(len(j.add.env))
		if !j.file {
			n += j.add.size
		}
	}
	for _, m := range j.move {
		n += m.from.length()
	}
	return n + int64(len(j.remove)+len(j.extra))<<7
}

// groupWeight limits the jobs of a group: with more, the first of them would
// wait longer.
const groupWeight = 8 << 20

// A committer is the only writer of segments and entries.
type committer struct {
	s       *Spool
	queue   *groupcommit.Queue[*job]
	stopped chan struct{}
	last    atomic.Uint64 // the last group on disk
}

// newCommitter makes a committer that does nothing until run; close ends that.
func newCommitter(s *Spool, last uint64) *committer {
	c := &committer{s: s, queue: groupcommit.New[*job](ErrClosed), stopped: make(chan struct{})}
	c.last.Store(last)
	return c
}

func (c *committer) run(ctx context.Context) {
	defer close(c.stopped)
	for jobs := c.nextGroup(); len(jobs) > 0; jobs = c.nextGroup() {
		c.commit(ctx, jobs)
	}
	c.markClean(ctx)
}

func (c *committer) nextGroup() []*job {
	var weight int64
	first, alone := true, false
	return c.queue.NextBatch(func(j *job) bool {
		weight += j.weight()
		fits := first || weight <= groupWeight && !alone && !j.conditional()
		first, alone = false, alone || j.conditional()
		return fits
	})
}

// conditional reports whether j depends on what the index holds. Such a job is
// a group of its own: conditions are judged on the state before a commit, and
// one that does not hold refuses the whole commit.
func (j *job) conditional() bool {
	return slices.ContainsFunc(j.extra, func(op kv.Op) bool { return op.Kind == kv.OpMust })
}

// close waits until the pending jobs are done.
func (c *committer) close() {
	c.queue.Close()
	<-c.stopped
}

// markClean records that all groups were answered: a body that is wrong from
// now on is damaged, not cut off. Without the mark, the next Open checks more
// bodies.
func (c *committer) markClean(ctx context.Context) {
	if c.queue.Broken() == nil {
		_ = c.s.db.Commit(ctx, kv.Put([]byte(lastKey), encodeLast(c.last.Load(), true)))
	}
}

// fail makes err the answer to all later jobs.
func (c *committer) fail(err error) error {
	return c.queue.Break(fmt.Errorf("%w; what is on disk is not known, so nothing more is taken in until the spool is opened again", err))
}

func (c *committer) commit(ctx context.Context, jobs []*job) {
	if err := c.queue.Broken(); err != nil {
		groupcommit.Answer(jobs, err)
		return
	}
	g := &group{c: c, number: c.last.Load() + 1}
	jobs, err := g.plan(jobs)
	if err == nil && len(jobs) > 0 {
		err = g.store(ctx)
	}
	if err != nil {
		c.s.segs.rollback(g.undo)
	} else if len(jobs) > 0 {
		g.account()
		if g.wrote {
			c.last.Store(g.number)
		}
	}
	c.s.segs.unpin(g.undo)
	if errors.Is(err, kv.ErrFull) {
		// The index may still have the space for removals.
		if growing, rest := splitGrowing(jobs); len(growing) > 0 && len(rest) > 0 {
			groupcommit.Answer(growing, err)
			c.commit(ctx, rest)
			return
		}
	}
	groupcommit.Answer(jobs, err)
}

// splitGrowing separates the jobs that add or copy from those that only remove.
func splitGrowing(jobs []*job) (growing, rest []*job) {
	for _, j := range jobs {
		if j.add != nil || len(j.move) > 0 {
			growing = append(growing, j)
		} else {
			rest = append(rest, j)
		}
	}
	return growing, rest
}
