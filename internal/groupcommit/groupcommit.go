// SPDX-License-Identifier: Apache-2.0

// Package groupcommit batches requests for a single writer, so that many callers
// share one fsync.
//
// Callers wait in Do. The writer, which is one goroutine, takes as many from
// the head of the line as it can serve together, does so, and answers each.
// Meanwhile others queue up behind, and make the next batch. A caller who finds
// the writer idle may do its work for once: see [Queue.DoInline].
//
// Whoever is still in the line may leave it without a trace. Whoever was taken
// out hears how it ended, however long ago it lost patience: what is on its
// way to the disk cannot be called back, and nobody is told that it was.
//
// The package starts nothing and knows nothing of what is waited for.
package groupcommit

import (
	"context"
	"slices"
	"sync"
)

// A Request is embedded in whatever waits in a [Queue].
type Request struct {
	done chan error // capacity 1
}

func (t *Request) ticket() *Request { return t }

// A Waiter is a pointer to a struct that embeds [Request].
type Waiter interface{ ticket() *Request }

// Answer ends the wait of each of batch, who were given by [Queue.NextBatch]. One
// must not be answered twice. It does not block.
func Answer[T Waiter](batch []T, err error) {
	for _, t := range batch {
		t.ticket().done <- err
	}
}

// A Queue is where callers wait in the order they came. Make one with [New].
type Queue[T Waiter] struct {
	shut error      // the answer once it is closed
	some *sync.Cond // of mu: somebody waits and nobody is at work, or it is closed

	mu      sync.Mutex // guards what follows
	waiting []T
	working bool // the writer is, or a caller in DoInline
	taken   bool // it is the writer
	closed  bool
	broken  error
}

// New gives an empty line. Those who come after [Queue.Close] are refused
// with shut.
func New[T Waiter](shut error) *Queue[T] {
	q := &Queue[T]{shut: shut}
	q.some = sync.NewCond(&q.mu)
	return q
}

// Do waits in the line until t is answered, and gives the answer. The error is
// ctx's cause if that is done while t is still in the line, or was before; then
// t was never taken. After Do, t may wait again.
func (q *Queue[T]) Do(ctx context.Context, t T) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	k := t.ticket()
	k.done = make(chan error, 1)
	if err := q.join(t); err != nil {
		return err
	}
	select {
	case err := <-k.done:
		return err
	case <-ctx.Done():
		if q.leave(k) {
			return context.Cause(ctx)
		}
		return <-k.done
	}
}

// DoInline is Do, but where nobody waits and the writer is idle the caller does
// its work: work is called with t alone, as if NextBatch had given it, and must
// answer it. That saves waking the writer and being woken by it.
func (q *Queue[T]) DoInline(ctx context.Context, t T, work func(batch []T)) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	idle, err := q.begin()
	if err != nil {
		return err
	}
	if !idle {
		return q.Do(ctx, t)
	}
	defer q.end()
	k := t.ticket()
	k.done = make(chan error, 1)
	work([]T{t})
	return <-k.done
}

// begin takes the writer's place if it is free.
func (q *Queue[T]) begin() (idle bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.refusal(); err != nil || q.working || len(q.waiting) > 0 {
		return false, err
	}
	q.working = true
	return true, nil
}

func (q *Queue[T]) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.working = false
	q.some.Signal()
}

// refusal is the answer to who comes now, if it is not to wait.
func (q *Queue[T]) refusal() error {
	switch {
	case q.broken != nil:
		return q.broken
	case q.closed:
		return q.shut
	}
	return nil
}

func (q *Queue[T]) join(t T) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.refusal(); err != nil {
		return err
	}
	q.waiting = append(q.waiting, t)
	q.some.Signal()
	return nil
}

// leave says whether the one with k was still in the line.
func (q *Queue[T]) leave(k *Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.waiting, func(t T) bool { return t.ticket() == k })
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// NextBatch waits until there is somebody and gives the next batch, in the order
// they came; each of it must be answered. It ends before the first one that
// fits says no to. Fits is asked once for each in turn and may keep count; the
// first is taken whatever it says, since nobody may wait for ever. It must not
// call the line.
//
// Nobody at all means that the line is closed and nobody is left. One goroutine
// at a time may call NextBatch, when it has answered the batch before.
func (q *Queue[T]) NextBatch(fits func(T) bool) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.taken {
		q.taken, q.working = false, false
	}
	for q.working || len(q.waiting) == 0 && !q.closed {
		q.some.Wait()
	}
	n := 0
	for n < len(q.waiting) && (fits(q.waiting[n]) || n == 0) {
		n++
	}
	batch := slices.Clone(q.waiting[:n])
	q.taken, q.working = n > 0, n > 0
	q.waiting = slices.Delete(q.waiting, 0, n) // clears what it leaves behind
	return batch
}

// Len is how many wait.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// Close refuses whoever comes from now on. Those who wait are still taken.
// Closing twice is harmless.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Signal()
}

// Break answers all who wait, and all who come, with err: the writer no longer
// knows what it stands on. Those who were taken before are still the writer's
// to answer. Only the first err counts; Break gives that one.
func (q *Queue[T]) Break(err error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken == nil {
		q.broken = err
	}
	Answer(q.waiting, q.broken)
	q.waiting = nil
	return q.broken
}

// Broken is what the line was broken with, or nil.
func (q *Queue[T]) Broken() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.broken
}
