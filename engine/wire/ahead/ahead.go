// SPDX-License-Identifier: Apache-2.0

// Package ahead reads a connection while its user writes: a peer that cannot get its replies
// out may not read what is written, and both would wait. It knows nothing of what is read.
package ahead

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// limit bounds what has come and was not read.
const limit = 1 << 20

// ErrTooMuch means that more has come, unread, than anybody was asked for.
var ErrTooMuch = errors.New("the peer says too much")

// A Reader takes what comes at any time, until the end of what it reads. Its Read and
// SetDeadline are for one goroutine.
type Reader struct {
	until time.Time
	more  chan struct{} // has a token where there is something new

	mu  sync.Mutex // guards what follows
	buf []byte
	err error
}

// New reads r from here on, behind first. What it starts ends with r.
func New(first []byte, r io.Reader) *Reader {
	a := &Reader{more: make(chan struct{}, 1), buf: append([]byte(nil), first...)}
	go a.run(r)
	return a
}

func (a *Reader) run(r io.Reader) {
	b := make([]byte, 4<<10)
	for {
		n, err := r.Read(b)
		a.mu.Lock()
		if a.buf = append(a.buf, b[:n]...); err == nil && len(a.buf) > limit {
			err = ErrTooMuch
		}
		a.err = err
		a.mu.Unlock()
		select {
		case a.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// Ready says that Read would not wait for something.
func (a *Reader) Ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.buf) > 0
}

// SetDeadline is when Read waits no longer: then it gives os.ErrDeadlineExceeded.
func (a *Reader) SetDeadline(t time.Time) { a.until = t }

// Read gives what has come, and waits until there is something.
func (a *Reader) Read(p []byte) (int, error) {
	timer := time.NewTimer(time.Until(a.until))
	defer timer.Stop()
	for {
		a.mu.Lock()
		n, err := copy(p, a.buf), a.err
		a.buf = a.buf[n:]
		a.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		}
		select {
		case <-a.more:
		case <-timer.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}
