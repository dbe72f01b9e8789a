// SPDX-License-Identifier: Apache-2.0

// Package bandwidth bounds how many octets a second some connections carry, in and
// out together.
package bandwidth

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A Limit is shared by its connections. The zero Limit is none.
type Limit struct {
	mu     sync.Mutex // guards what follows
	bucket *bucket
}

// A bucket gives octets to one connection after the other. Only the one whose turn it
// is has a reservation: one that is given up is free for the next as a whole, and a
// change of the limit has one to compute anew.
type bucket struct {
	*rate.Limiter
	turn    chan struct{} // is full while a connection has it
	changed chan struct{} // is full when the limit has changed
}

// smallPart is always carried at once, however low the limit is.
const smallPart = 64

// part is how many of n octets a connection takes in a turn: where many have much to
// carry, another comes to its turn soon.
func (b *bucket) part(n int) int {
	burst := b.Burst()
	return min(n, burst, max(burst/100, smallPart))
}

// Set changes the limit, also of connections that have one already; 0 is none.
func (l *Limit) Set(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket
	switch {
	case b == nil && bytesPerSecond == 0:
		return
	case b == nil:
		l.bucket = &bucket{rate.NewLimiter(rate.Limit(bytesPerSecond), int(bytesPerSecond)), make(chan struct{}, 1), make(chan struct{}, 1)}
		return
	case bytesPerSecond == 0:
		b.SetLimit(rate.Inf)
		l.bucket = nil // connections from now on have none
	case b.Burst() == int(bytesPerSecond):
		return
	default:
		b.SetLimit(rate.Limit(bytesPerSecond))
		b.SetBurst(int(bytesPerSecond))
	}
	select {
	case b.changed <- struct{}{}:
	default: // nobody has seen the change before this one
	}
}

// Conn is c within the limit: c itself where there is none.
func (l *Limit) Conn(c net.Conn) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bucket == nil {
		return c
	}
	return &conn{Conn: c, bucket: l.bucket, closed: make(chan struct{})}
}

// A Dialer has connections within Limit.
type Dialer struct {
	net.Dialer
	Limit *Limit
}

// DialContext connects as [net.Dialer] does.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := d.Dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return d.Limit.Conn(c), nil
}

type conn struct {
	net.Conn
	bucket *bucket
	once   sync.Once
	closed chan struct{}
}

// Read waits after it has read: what came is to be known at once by nobody but the
// sender, whom the window of TCP slows down.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:c.bucket.part(len(p))])
	if !c.wait(n) && err == nil {
		err = net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (n int, err error) {
	for {
		part := p[n : n+c.bucket.part(len(p)-n)]
		if !c.wait(len(part)) {
			return n, net.ErrClosed
		}
		done, err := c.Conn.Write(part)
		if n += done; err != nil || n == len(p) {
			return n, err
		}
	}
}

// wait returns when the bucket lets n octets pass; false when c is closed before.
func (c *conn) wait(n int) bool {
	b := c.bucket
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-c.closed:
		return false
	}
	for {
		now := time.Now()
		r := b.ReserveN(now, n)
		d := r.DelayFrom(now)
		if !r.OK() || d <= 0 { // not OK: the limit has become smaller than n meanwhile
			return true
		}
		t := time.NewTimer(d)
		select {
		case <-t.C:
			return true
		case <-c.closed:
			t.Stop()
			r.Cancel()
			return false
		case <-b.changed:
			t.Stop()
			r.Cancel()
		}
	}
}

// Close ends waits, too.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// CloseWrite ends this side of the connection.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
