// SPDX-License-Identifier: Apache-2.0

// Package groupcommit batches requests for a single writer, so that many callers
// share one fsync.
//
// Callers wait in Do. The writer, one goroutine, takes a batch from the head of
// the queue, commits it and answers each request. Requests that arrive meanwhile
// make up the next batch. A caller that finds the writer idle may take its place
// for one batch: see [Queue.DoInline].
//
// A caller may give up while its request is queued; the request is then never
// taken. A request that was taken is always answered with its outcome, because
// a write that is on its way to the disk cannot be called back.
//
// The package starts no goroutine and knows nothing of what a request asks for.
package groupcommit

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// A Request is embedded in whatever waits in a [Queue].
type Request struct {
	done chan error // capacity 1
}

func (r *Request) request() *Request { return r }

// A Waiter is a pointer to a struct that embeds [Request].
type Waiter interface{ request() *Request }

// Answer ends the wait of each request of batch, which [Queue.NextBatch],
// [Queue.Next] or [Queue.DoInline] gave. It must not answer one twice. It does
// not block.
func Answer[T Waiter](batch []T, err error) {
	for _, t := range batch {
		t.request().done <- err
	}
}

// A Queue holds requests in the order of their arrival. Make one with [New].
type Queue[T Waiter] struct {
	shut error      // the answer once it is closed
	some *sync.Cond // of mu: a request waits and no batch is being worked on, or it is closed

	mu      sync.Mutex // guards what follows
	waiting []T
	working bool // a batch is being worked on, by the writer or in DoInline
	writer  bool // by the writer
	closed  bool
	broken  error
	size    int // of the batch being worked on
	recent  int // size of the batches before, fading
}

// New returns an empty queue. After [Queue.Close] it refuses requests with shut.
func New[T Waiter](shut error) *Queue[T] {
	q := &Queue[T]{shut: shut}
	q.some = sync.NewCond(&q.mu)
	return q
}

// Do queues t until it is answered and returns the answer. The error is ctx's
// cause if ctx is done while t is queued, or was before; then t is never taken.
// After Do, t may be queued again.
func (q *Queue[T]) Do(ctx context.Context, t T) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	r := t.request()
	r.done = make(chan error, 1)
	if err := q.join(t); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		if q.leave(r) {
			return context.Cause(ctx)
		}
		return <-r.done
	}
}

// DoInline is Do, but if no request waits and the writer is idle, the caller
// takes the writer's place: work is called with t alone, as if NextBatch had
// returned it, and must answer it. That saves waking the writer and being woken.
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
	r := t.request()
	r.done = make(chan error, 1)
	work([]T{t})
	return <-r.done
}

// begin takes the writer's place if it is free.
func (q *Queue[T]) begin() (idle bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.refusal(); err != nil || q.working || len(q.waiting) > 0 {
		return false, err
	}
	q.beginBatch(1)
	return true, nil
}

func (q *Queue[T]) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.working = false
	q.some.Signal()
}

func (q *Queue[T]) beginBatch(n int) {
	q.working, q.recent, q.size = n > 0, max(q.size, q.recent/2), n
}

// refusal is the answer to a request that is not to be queued.
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

// leave reports whether r was still queued.
func (q *Queue[T]) leave(r *Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.waiting, func(t T) bool { return t.request() == r })
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// NextBatch waits for a request and returns the next batch, in the order of
// arrival; each request must be answered. The batch ends before the first
// request for which fits returns false. fits is called once for each request in
// turn and may keep count. The first request is taken whatever fits returns, so
// that none waits for ever. fits must not call the queue.
//
// An empty batch means that the queue is closed and empty. NextBatch is for one
// goroutine, the writer, once it has answered the batch before.
func (q *Queue[T]) NextBatch(fits func(T) bool) []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.writer {
		q.writer, q.working = false, false
	}
	for q.working || len(q.waiting) == 0 && !q.closed {
		q.some.Wait()
	}
	n := 0
	for n < len(q.waiting) && (fits(q.waiting[n]) || n == 0) {
		n++
	}
	batch := q.take(n)
	q.beginBatch(n)
	q.writer = n > 0
	return batch
}

// take removes the first n requests.
func (q *Queue[T]) take(n int) []T {
	batch := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n) // clears what it leaves behind
	return batch
}

// Next adds to the batch being worked on the next request, if one waits and fits
// returns true. It is for the writer, or work of DoInline, and does not block.
// Under load it yields once before it reports none: callers just answered
// usually submit again, and would otherwise split into two groups that wait for
// each other.
func (q *Queue[T]) Next(fits func(T) bool) (t T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 && (q.recent > 1 || q.size > 1) {
		q.mu.Unlock()
		runtime.Gosched()
		q.mu.Lock()
	}
	if len(q.waiting) == 0 || !fits(q.waiting[0]) {
		return t, false
	}
	q.size++
	return q.take(1)[0], true
}

// Len returns how many requests are queued.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// Close refuses requests from now on. Those that are queued are still taken.
// Closing twice is harmless.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Signal()
}

// Break answers all queued requests, and all later ones, with err: the writer no
// longer knows the state that it builds on. Requests that were taken before are
// still the writer's to answer. Only the first err counts; Break returns it.
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

// Broken returns the error of Break, or nil.
func (q *Queue[T]) Broken() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.broken
}
