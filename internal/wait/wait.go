// SPDX-License-Identifier: Apache-2.0

// Package wait is the line before a writer that does for many callers at once
// what would cost each of them as much alone, a sync of the disk above all.
//
// Callers wait in Do. The writer, which is one goroutine, takes as many from
// the head of the line as it can serve together, does so, and answers each.
// Meanwhile others queue up behind, and make the next batch. A caller who finds
// the writer idle may do its work for once: see [Line.Serve].
//
// Whoever is still in the line may leave it without a trace. Whoever was taken
// out hears how it ended, however long ago it lost patience: what is on its
// way to the disk cannot be called back, and nobody is told that it was.
//
// The package starts nothing and knows nothing of what is waited for.
package wait

import (
	"context"
	"slices"
	"sync"
)

// A Ticket is embedded in whatever waits in a [Line].
type Ticket struct {
	done chan error // capacity 1
}

func (t *Ticket) ticket() *Ticket { return t }

// A Waiter is a pointer to a struct that embeds [Ticket].
type Waiter interface{ ticket() *Ticket }

// Answer ends the wait of each of batch, who were given by [Line.Take]. One
// must not be answered twice. It does not block.
func Answer[T Waiter](batch []T, err error) {
	for _, t := range batch {
		t.ticket().done <- err
	}
}

// A Line is where callers wait in the order they came. Make one with [NewLine].
type Line[T Waiter] struct {
	shut error      // the answer once it is closed
	some *sync.Cond // of mu: somebody waits and nobody is at work, or it is closed

	mu      sync.Mutex // guards what follows
	waiting []T
	working bool // the writer is, or a caller in Serve
	taken   bool // it is the writer
	closed  bool
	broken  error
}

// NewLine gives an empty line. Those who come after [Line.Close] are refused
// with shut.
func NewLine[T Waiter](shut error) *Line[T] {
	l := &Line[T]{shut: shut}
	l.some = sync.NewCond(&l.mu)
	return l
}

// Do waits in the line until t is answered, and gives the answer. The error is
// ctx's cause if that is done while t is still in the line, or was before; then
// t was never taken. After Do, t may wait again.
func (l *Line[T]) Do(ctx context.Context, t T) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	k := t.ticket()
	k.done = make(chan error, 1)
	if err := l.join(t); err != nil {
		return err
	}
	select {
	case err := <-k.done:
		return err
	case <-ctx.Done():
		if l.leave(k) {
			return context.Cause(ctx)
		}
		return <-k.done
	}
}

// Serve is Do, but where nobody waits and the writer is idle the caller does
// its work: work is called with t alone, as if Take had given it, and must
// answer it. That saves waking the writer and being woken by it.
func (l *Line[T]) Serve(ctx context.Context, t T, work func(batch []T)) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	idle, err := l.begin()
	if err != nil {
		return err
	}
	if !idle {
		return l.Do(ctx, t)
	}
	defer l.end()
	k := t.ticket()
	k.done = make(chan error, 1)
	work([]T{t})
	return <-k.done
}

// begin takes the writer's place if it is free.
func (l *Line[T]) begin() (idle bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refusal(); err != nil || l.working || len(l.waiting) > 0 {
		return false, err
	}
	l.working = true
	return true, nil
}

func (l *Line[T]) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.working = false
	l.some.Signal()
}

// refusal is the answer to who comes now, if it is not to wait.
func (l *Line[T]) refusal() error {
	switch {
	case l.broken != nil:
		return l.broken
	case l.closed:
		return l.shut
	}
	return nil
}

func (l *Line[T]) join(t T) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refusal(); err != nil {
		return err
	}
	l.waiting = append(l.waiting, t)
	l.some.Signal()
	return nil
}

// leave says whether the one with k was still in the line.
func (l *Line[T]) leave(k *Ticket) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.waiting, func(t T) bool { return t.ticket() == k })
	if i < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	return true
}

// Take waits until there is somebody and gives the next batch, in the order
// they came; each of it must be answered. It ends before the first one that
// fits says no to. Fits is asked once for each in turn and may keep count; the
// first is taken whatever it says, since nobody may wait for ever. It must not
// call the line.
//
// Nobody at all means that the line is closed and nobody is left. One goroutine
// at a time may call Take, when it has answered the batch before.
func (l *Line[T]) Take(fits func(T) bool) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken {
		l.taken, l.working = false, false
	}
	for l.working || len(l.waiting) == 0 && !l.closed {
		l.some.Wait()
	}
	n := 0
	for n < len(l.waiting) && (fits(l.waiting[n]) || n == 0) {
		n++
	}
	batch := slices.Clone(l.waiting[:n])
	l.taken, l.working = n > 0, n > 0
	l.waiting = slices.Delete(l.waiting, 0, n) // clears what it leaves behind
	return batch
}

// Len is how many wait.
func (l *Line[T]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Close refuses whoever comes from now on. Those who wait are still taken.
// Closing twice is harmless.
func (l *Line[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.some.Signal()
}

// Break answers all who wait, and all who come, with err: the writer no longer
// knows what it stands on. Those who were taken before are still the writer's
// to answer. Only the first err counts; Break gives that one.
func (l *Line[T]) Break(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = err
	}
	Answer(l.waiting, l.broken)
	l.waiting = nil
	return l.broken
}

// Broken is what the line was broken with, or nil.
func (l *Line[T]) Broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}
