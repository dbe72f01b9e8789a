// SPDX-License-Identifier: Apache-2.0

package bandwidth

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// Connections share the limit, in and out; a change holds for open ones; without a
// limit a connection is what it was.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limit
		a, b := net.Pipe()
		if c := l.Conn(a); c != a {
			t.Errorf("without a limit a connection is a %T", c)
		}
		l.Set(1000)
		one, two := l.Conn(a), l.Conn(b)
		send := func(from, to net.Conn, n int) {
			t.Helper()
			go func() {
				if _, err := from.Write(make([]byte, n)); err != nil {
					t.Error(err)
				}
			}()
			if _, err := io.ReadFull(to, make([]byte, n)); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		for _, tt := range []struct {
			limit int64
			n     int
			want  time.Duration // each octet counts at both ends
		}{
			{1000, 500, 0}, {1000, 2500, 5 * time.Second}, {500, 1000, 4 * time.Second}, {0, 1_000_000, 0},
		} {
			l.Set(tt.limit)
			begin := time.Now()
			send(one, two, tt.n)
			if d := time.Since(begin); d < tt.want-tt.want/10 || d > tt.want+tt.want/10+time.Millisecond {
				t.Errorf("%d octets at %d a second took %v, want %v", tt.n, tt.limit, d, tt.want)
			}
		}
	})
}

// Close ends a wait.
func TestCloseEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limit
		l.Set(1)
		a, b := net.Pipe()
		defer b.Close()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		c, begin := l.Conn(a), time.Now()
		time.AfterFunc(time.Second/2, func() { c.Close() })
		if _, err := c.Write(make([]byte, 100)); !errors.Is(err, net.ErrClosed) || time.Since(begin) != time.Second/2 {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// inBubble is synctest.Test, after whose failure the next case still runs.
func inBubble(t *testing.T, f func(*testing.T)) {
	t.Run("", func(t *testing.T) { synctest.Test(t, f) })
}

// TestOthers: many callers with much to say, who then hang up, take from another caller
// only its share, and nothing once their connections are closed.
func TestOthers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		closed bool
		most   time.Duration
	}{{"they are open", false, 6 * time.Second}, {"they are closed", true, time.Second}} {
		inBubble(t, func(t *testing.T) {
			var l Limit
			l.Set(100_000)
			var open []net.Conn
			for range 500 {
				a, b := net.Pipe()
				c := l.Conn(a)
				open = append(open, c)
				go func() { _, _ = io.Copy(io.Discard, c) }()
				go func() {
					_, _ = b.Write(make([]byte, 100_000))
					b.Close()
				}()
			}
			synctest.Wait()
			if tt.closed {
				for _, c := range open {
					c.Close()
				}
				synctest.Wait()
			}
			a, b := net.Pipe()
			defer b.Close()
			go func() { _, _ = io.Copy(io.Discard, b) }()
			begin := time.Now()
			if _, err := l.Conn(a).Write(make([]byte, 100)); err != nil || time.Since(begin) > tt.most {
				t.Errorf("%s: after %v: %v", tt.name, time.Since(begin), err)
			}
			for _, c := range open {
				c.Close()
			}
		})
	}
}

// TestSetFreesWaits: what waits is let go by the limit that is set meanwhile.
func TestSetFreesWaits(t *testing.T) {
	for _, tt := range []struct {
		limit int64
		want  time.Duration // after it is set
	}{{0, 0}, {10_000, 100 * time.Millisecond}, {500, 2 * time.Second}} {
		inBubble(t, func(t *testing.T) {
			var l Limit
			l.Set(1000)
			a, b := net.Pipe()
			defer b.Close()
			go func() { _, _ = io.Copy(io.Discard, b) }()
			c := l.Conn(a)
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			go func() {
				synctest.Wait()
				l.Set(tt.limit)
			}()
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(begin); d < tt.want-tt.want/10 || d > tt.want+tt.want/10+time.Millisecond {
				t.Errorf("at %d a second from now on: %v, want %v", tt.limit, d, tt.want)
			}
		})
	}
}

// TestCloseWrite: what ends one side of the connection still does.
func TestCloseWrite(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var l Limit
	l.Set(1000)
	d := Dialer{Limit: &l}
	c, err := d.DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		t.Fatalf("a %T does not end one side", c)
	}
	if _, err := other.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the other side reads: %v", err)
	}
	go func() {
		_, _ = other.Write([]byte("x"))
		other.Close()
	}()
	if got, err := io.ReadAll(c); err != nil || string(got) != "x" {
		t.Errorf("then comes %q, %v", got, err)
	}
	a, _ := net.Pipe()
	if err := l.Conn(a).(interface{ CloseWrite() error }).CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a connection that has no such sides: %v", err)
	}
}
