// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"restante/internal/testpeer"
)

// measureRelease measures messages per second from the call to the last message:
// TURN on one connection, and Postfix's ETRN flush to a sink of the same make
// over as many connections as Postfix opens.
func measureRelease(ctx context.Context, o options, r *report) error {
	all := contenders(o)
	f := &figure{Name: fmt.Sprintf("release %d messages of 1 KiB", o.held), Unit: "messages/s", More: true}
	err := inTurns(o.rounds, f, names(all), func(i int) (float64, error) { return all[i].release(ctx, o) })
	if err != nil {
		return err
	}
	return r.figure(f)
}

func releaseRestante(ctx context.Context, o options, binary string) (float64, error) {
	s, err := startRestante(ctx, o, binary)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	if _, err := load(ctx, s.Addr(1), 20, 1<<10, 0, int64(o.held-20)); err != nil {
		return 0, err
	}
	c, err := dial(s.Addr(1))
	if err != nil {
		return 0, err
	}
	return takeByTurn(c, o.held, func(testpeer.Received) error { return nil })
}

// takeByTurn takes the held messages over c, and gives how many came in a second.
func takeByTurn(c *conn, held int, keep func(testpeer.Received) error) (float64, error) {
	defer c.Close()
	if err := c.SignIn(account, password); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := c.Say("TURN", "250"); err != nil {
		return 0, err
	}
	n := 0
	if err := c.Receive(func(m testpeer.Received) error { n++; return keep(m) }); err != nil {
		return 0, err
	}
	if n != held {
		return 0, fmt.Errorf("TURN handed over %d of %d", n, held)
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

func releasePostfix(ctx context.Context, o options) (float64, error) {
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	var got atomic.Int64
	all := make(chan struct{})
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			raw, err := sink.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer raw.Close()
				l := &testpeer.Client{Conn: countedConn{raw, &got, int64(o.held), all}, R: bufio.NewReader(raw)}
				_ = l.Receive(nil) // Postfix may end a conversation as it likes
			})
		}
	})
	defer conns.Wait()
	defer sink.Close()
	p, err := startPostfix(ctx, o, sink.Addr().String())
	if err != nil {
		return 0, err
	}
	defer p.stop()
	if _, err := load(ctx, p.Addr, 20, 1<<10, 0, int64(o.held-20)); err != nil {
		return 0, err
	}
	if err := awaitDeferred(ctx, p, o.held); err != nil {
		return 0, err
	}
	c, err := dial(p.Addr)
	if err != nil {
		return 0, err
	}
	defer c.Quit()
	begin := time.Now()
	if err := c.Say("ETRN "+heldDomain, "250"); err != nil {
		return 0, err
	}
	select {
	case <-all:
		return float64(o.held) / time.Since(begin).Seconds(), nil
	case <-time.After(5 * time.Minute):
		return 0, fmt.Errorf("ETRN sent %d of %d", got.Load(), o.held)
	}
}

// awaitDeferred waits until Postfix has put everything into its deferred queue.
func awaitDeferred(ctx context.Context, p postfixServer, want int) error {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for range 300 {
		if n, err := p.Deferred(); err != nil || n >= want {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
	return errors.New("postfix did not defer all it was given")
}

// A countedConn counts the replies that accept a message, as they are written.
type countedConn struct {
	net.Conn
	got  *atomic.Int64
	want int64
	all  chan struct{}
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	for range bytes.Count(b, []byte(testpeer.AcceptedReply)) {
		if c.got.Add(1) == c.want {
			close(c.all)
		}
	}
	return n, err
}
