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
	bucket *rate.Limiter
}

// Set changes the limit, also of connections that have one already; 0 is none.
func (l *Limit) Set(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.bucket == nil && bytesPerSecond == 0:
	case bytesPerSecond == 0:
		l.bucket.SetLimit(rate.Inf)
		l.bucket = nil // connections from now on have none
	case l.bucket == nil:
		l.bucket = rate.NewLimiter(rate.Limit(bytesPerSecond), int(bytesPerSecond))
	case l.bucket.Burst() != int(bytesPerSecond):
		l.bucket.SetLimit(rate.Limit(bytesPerSecond))
		l.bucket.SetBurst(int(bytesPerSecond))
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
	bucket *rate.Limiter
	once   sync.Once
	closed chan struct{}
}

// Read waits after it has read: what came is to be known at once by nobody but the
// sender, whom the window of TCP slows down.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), c.bucket.Burst())])
	if !c.wait(n) && err == nil {
		err = net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (n int, err error) {
	for {
		part := p[n:min(len(p), n+c.bucket.Burst())]
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
	now := time.Now()
	r := c.bucket.ReserveN(now, n)
	d := r.DelayFrom(now)
	if !r.OK() || d <= 0 { // not OK: the limit has become smaller than n meanwhile
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.closed:
		return false
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
