// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// maxAhead bounds what a peer has said and we have not looked at.
const maxAhead = 1 << 20

// A readAhead takes what the peer says at any time: a peer that cannot get its replies out may
// not read what we write. It ends with the connection.
type readAhead struct {
	until time.Time     // of the next Read
	more  chan struct{} // has a token where there is something new

	mu  sync.Mutex // guards what follows
	buf []byte
	err error
}

// readWhileWriting has the replies read from here on while commands are written.
func (p *peer) readWhileWriting() {
	if p.ahead != nil {
		return
	}
	p.ahead = &readAhead{more: make(chan struct{}, 1)}
	p.raw.SetReadDeadline(time.Time{})
	first, _ := p.r.Peek(p.r.Buffered())
	p.ahead.buf = append(p.ahead.buf, first...)
	p.r.Reset(p.ahead)
	go p.ahead.run(p.nc)
}

// hasReply says that the peer has said something that was not looked at.
func (p *peer) hasReply() bool {
	return p.r.Buffered() > 0 || p.ahead != nil && p.ahead.ready()
}

func (p *peer) setReadDeadline(t time.Time) {
	if p.ahead != nil {
		p.ahead.until = t
		return
	}
	p.raw.SetReadDeadline(t)
}

func (a *readAhead) run(r io.Reader) {
	b := make([]byte, 4<<10)
	for {
		n, err := r.Read(b)
		a.mu.Lock()
		if a.buf = append(a.buf, b[:n]...); err == nil && len(a.buf) > maxAhead {
			err = fmt.Errorf("%w: it does not end", ErrProtocol)
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

func (a *readAhead) ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.buf) > 0
}

// Read waits for something that the peer says, until its time is over.
func (a *readAhead) Read(p []byte) (int, error) {
	timer := time.NewTimer(time.Until(a.until))
	defer timer.Stop()
	for {
		a.mu.Lock()
		n, err := copy(p, a.buf), a.err
		a.buf = a.buf[n:]
		a.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-a.more:
		case <-timer.C:
			return 0, os.ErrDeadlineExceeded
		}
	}
}
