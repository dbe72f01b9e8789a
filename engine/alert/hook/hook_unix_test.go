// SPDX-License-Identifier: Apache-2.0

//go:build unix

package hook

import (
	"context"
	"net"
	"os"
	"testing"
	"time"
)

// A program that ends with 0 has taken the event, and what it started goes on; one that is
// ended takes with it what it started.
func TestFamily(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := event()
	e.Data.Domain = "family.test"
	start := func(ctx context.Context, how string) (net.Conn, chan error) {
		t.Helper()
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, []string{self, how, l.Addr().String()}, e, time.Millisecond) }()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn, ended
	}
	conn, ended := start(t.Context(), "leaves")
	if err := <-ended; err != nil {
		t.Errorf("a program that leaves another one and ends with 0: %v", err)
	}
	_, _ = conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Errorf("what it left is gone: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	conn, ended = start(ctx, "hangs")
	cancel()
	if <-ended == nil {
		t.Error("a program that was ended is no error")
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("what it had started runs on: %v", err)
	}
}
