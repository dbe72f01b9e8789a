// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
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
		await(t, "all threads of the service stand still", func() bool { return stopped(t, s.PID()) })
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

// stopped reports whether a signal has stopped every thread of a process.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	return !slices.ContainsFunc(files, func(file string) bool {
		b, err := os.ReadFile(file) // it may have ended
		_, after, _ := bytes.Cut(b, []byte(") "))
		return err == nil && !bytes.HasPrefix(after, []byte("T"))
	})
}
