// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// TestListenBacklog: while the service accepts nobody, as many connections as
// ServerListenBacklog says are made, by a change on the open listener.
func TestListenBacklog(t *testing.T) {
	t.Parallel()
	s := startService(t)
	made := func(backlog string) (n int) {
		t.Helper()
		set(t, s, "ServerListenBacklog", backlog)
		if err := syscall.Kill(s.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Kill(s.PID(), syscall.SIGCONT) }()
		for range 12 {
			c, err := net.DialTimeout("tcp", s.Addr(1), 2*time.Second)
			if err != nil {
				return n
			}
			defer c.Close()
			n++
		}
		return n
	}
	if n := made("2"); n < 2 || n > 6 {
		t.Errorf("%d connections were made with a backlog of 2", n)
	}
	if n := made("0"); n != 12 {
		t.Errorf("%d connections were made with the system's backlog", n)
	}
}
