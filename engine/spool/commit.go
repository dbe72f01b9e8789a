// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"restante/engine/mail"
	"restante/internal/kv"
)

// A job is what one caller waits for: a message to add, messages to remove, or
// records to copy. Whoever moves its state away from waiting decides: the
// caller that gave up, or the committer that took it in.
type job struct {
	add    *record
	body   [][]byte // of add, unless file
	file   bool     // the body is in its own file already
	remove []mail.MessageID
	move   []move
	extra  []kv.Op

	gone  []mail.MessageID // removed ones that have a file of their own
	state atomic.Int32
	done  chan error
}

const (
	waiting int32 = iota
	taken
	left
)

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

// A group is as many jobs as wait, up to this weight: more would only make the
// first of them wait longer.
const groupWeight = 8 << 20

// A committer is the only writer of segments and entries.
type committer struct {
	s       *Spool
	knock   chan struct{} // capacity 1
	stopped chan struct{}
	groups  atomic.Int64 // how many there were, for tests

	mu     sync.Mutex // guards what follows
	queue  []*job
	closed bool
	broken error
	last   uint64 // the last group that is on disk
}

// newCommitter starts the writer; close ends it.
func newCommitter(ctx context.Context, s *Spool, last uint64) *committer {
	c := &committer{s: s, last: last, knock: make(chan struct{}, 1), stopped: make(chan struct{})}
	go c.run(ctx)
	return c
}

func (c *committer) lastGroup() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *committer) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken != nil
}

// busy says that callers wait.
func (c *committer) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0
}

func (c *committer) do(ctx context.Context, j *job) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	j.done = make(chan error, 1)
	if err := c.enqueue(j); err != nil {
		return err
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.state.CompareAndSwap(waiting, left) {
			return context.Cause(ctx)
		}
		return <-j.done
	}
}

func (c *committer) enqueue(j *job) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.broken != nil:
		return c.broken
	case c.closed:
		return ErrClosed
	}
	c.queue = append(c.queue, j)
	c.tap()
	return nil
}

func (c *committer) tap() {
	select {
	case c.knock <- struct{}{}:
	default:
	}
}

func (c *committer) run(ctx context.Context) {
	defer close(c.stopped)
	for range c.knock {
		for {
			jobs, done := c.take()
			if done {
				c.markClean(ctx)
				return
			}
			if len(jobs) == 0 {
				break
			}
			c.commit(ctx, jobs)
		}
	}
}

func (c *committer) take() (jobs []*job, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var weight int64
	n := 0
	for _, j := range c.queue {
		w := j.weight()
		if len(jobs) > 0 && weight+w > groupWeight {
			break
		}
		n++
		if j.state.CompareAndSwap(waiting, taken) {
			jobs = append(jobs, j)
			weight += w
		}
	}
	clear(c.queue[:n])
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return jobs, len(jobs) == 0 && c.closed
}

// close lets the jobs that wait be done.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.tap()
	c.mu.Unlock()
	<-c.stopped
}

// markClean says in the index that all groups were answered: a body that is
// wrong from here on was damaged and is not of a group that was cut off.
// Without the mark, the next Open only looks closer.
func (c *committer) markClean(ctx context.Context) {
	if !c.isBroken() {
		_ = c.s.db.Commit(ctx, kv.Put([]byte(lastKey), encodeLast(c.lastGroup(), true)))
	}
}

// fail makes err the answer to everything from now on.
func (c *committer) fail(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken == nil {
		c.broken = fmt.Errorf("%w; what is on disk is not known, so nothing more is taken in until the spool is opened again", err)
	}
	return c.broken
}

func (c *committer) commit(ctx context.Context, jobs []*job) {
	if c.isBroken() {
		c.answer(jobs, c.broken)
		return
	}
	c.groups.Add(1)
	g := &group{c: c, number: c.lastGroup() + 1}
	jobs, err := g.plan(jobs)
	if err == nil && len(jobs) > 0 {
		err = g.store(ctx)
	}
	if err != nil {
		c.s.book.undo(g.before)
	} else if len(jobs) > 0 {
		g.account()
		if g.wrote {
			c.mu.Lock()
			c.last = g.number
			c.mu.Unlock()
		}
	}
	c.s.book.settle(g.before)
	if errors.Is(err, kv.ErrFull) {
		// The index may still have room to remove what is there.
		if growing, rest := part(jobs); len(growing) > 0 && len(rest) > 0 {
			c.answer(growing, err)
			c.commit(ctx, rest)
			return
		}
	}
	c.answer(jobs, err)
}

// part tells the jobs that add or copy from those that only remove.
func part(jobs []*job) (growing, rest []*job) {
	for _, j := range jobs {
		if j.add != nil || len(j.move) > 0 {
			growing = append(growing, j)
		} else {
			rest = append(rest, j)
		}
	}
	return growing, rest
}

func (c *committer) answer(jobs []*job, err error) {
	for _, j := range jobs {
		j.done <- err
	}
}
