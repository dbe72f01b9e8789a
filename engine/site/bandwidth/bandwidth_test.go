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
