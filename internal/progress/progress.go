// SPDX-License-Identifier: Apache-2.0

// Package progress counts how much of a call is done, from the code that does
// the work to the one that shows it. The count travels in the context; without
// one in it, counting does nothing.
package progress

import (
	"context"
	"io"
	"sync/atomic"
)

// A Meter counts the steps of one call. Its methods may be called from
// anywhere, and on a nil Meter.
type Meter struct{ done, total atomic.Int64 }

type meterKey struct{}

// With gives a context whose calls count on m.
func With(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// From returns the Meter of ctx, nil if there is none.
func From(ctx context.Context) *Meter {
	m, _ := ctx.Value(meterKey{}).(*Meter)
	return m
}

// Expect tells of n more steps to come.
func (m *Meter) Expect(n int) {
	if m != nil {
		m.total.Add(int64(n))
	}
}

// ExpectCounted is Expect for a number that costs a count, which is not made
// without a Meter.
func (m *Meter) ExpectCounted(count func() int) {
	if m != nil {
		m.Expect(count())
	}
}

// Add tells of n more steps that are done.
func (m *Meter) Add(n int) {
	if m != nil {
		m.done.Add(int64(n))
	}
}

// Set takes over what another Meter has counted.
func (m *Meter) Set(done, total int64) { m.done.Store(done); m.total.Store(total) }

// Count returns the steps that are done, and all that were told of: 0 as long as
// no total is known.
func (m *Meter) Count() (done, total int64) { return m.done.Load(), m.total.Load() }

// Reader counts the octets that are read from r, of size in all.
func (m *Meter) Reader(r io.Reader, size int) io.Reader {
	m.Expect(size)
	return reader{r, m}
}

type reader struct {
	io.Reader
	m *Meter
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.m.Add(n)
	return n, err
}
