// SPDX-License-Identifier: Apache-2.0

package testpeer

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// A Sink is a receiving SMTP server that accepts every message and keeps its
// octets.
type Sink struct {
	Addr string

	l     net.Listener
	conns sync.WaitGroup

	mu       sync.Mutex // guards what follows
	messages []Received
	changed  chan struct{} // closed at each message, and replaced
}

// StartSink listens on loopback until the test ends.
func StartSink(t testing.TB) *Sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Addr: l.Addr().String(), l: l, changed: make(chan struct{})}
	s.conns.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.conns.Wait()
	})
	return s
}

func (s *Sink) accept() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			return
		}
		s.conns.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
			line := &Client{Conn: conn, R: bufio.NewReader(conn)}
			_ = line.Receive(s.add) // a sender that hangs up is seen by what did not come
		})
	}
}

func (s *Sink) add(m Received) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// Messages gives what came so far.
func (s *Sink) Messages() []Received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Received(nil), s.messages...)
}

// Await returns what came as soon as n messages have; it fails when ctx ends.
func (s *Sink) Await(ctx context.Context, n int) ([]Received, error) {
	for {
		s.mu.Lock()
		more, have := s.changed, len(s.messages)
		s.mu.Unlock()
		if have >= n {
			return s.Messages(), nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return s.Messages(), fmt.Errorf("%d of %d messages came: %w", have, n, context.Cause(ctx))
		}
	}
}
