// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"restante/internal/testpeer"
)

// memoryOf is the memory of a service that only it has, in octets: mapped files
// do not count.
func memoryOf(t *testing.T, s *testpeer.Service) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	kib := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(b)
	if kib == nil {
		t.Fatalf("no RssAnon in %s", b)
	}
	n, err := strconv.Atoi(string(kib[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// TestUnfinishedMessagesTakeBoundedMemory has callers who do not end their
// messages.
func TestUnfinishedMessagesTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	s := mail.service
	for property, value := range map[string]string{"MaxUnfinishedBytes": "1048576", "MaxConnectionsPerAddress": "0", "MaxMessageSize": "1000000"} {
		set(t, s, property, value)
	}
	mail.send(t, 1)
	before := memoryOf(t, s)
	const callers, size, most = 300, 900 << 10, 120 << 20
	var open []*testpeer.Client
	for i := range callers {
		open = append(open, unfinished(t, s, largeMessage(i, size)))
	}
	mail.send(t, 20)
	if grown := memoryOf(t, s) - before; grown > most {
		t.Errorf("%d MiB of unfinished messages take %d MiB of memory", callers*size>>20, grown>>20)
	}
	for i, l := range open[:5] {
		if _, err := l.Write([]byte(".\r\n")); err != nil {
			t.Fatal(err)
		}
		if err := l.Expect("250"); err != nil {
			t.Error(err)
		}
		mail.messages = append(mail.messages, largeMessage(i, size))
	}
	for _, l := range open[5:] {
		l.Close()
	}
	mail.verify(t)
}

func largeMessage(n, size int) []byte {
	return fmt.Appendf(nil, "Subject: large %d\r\n\r\n%s", n, strings.Repeat(strings.Repeat("x", 62)+"\r\n", size/64))
}

// unfinished opens a connection that sends a message without its end.
func unfinished(t *testing.T, s *testpeer.Service, message []byte) *testpeer.Client {
	t.Helper()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for _, say := range [][2]string{{"MAIL FROM:<good@x.test>", "250"}, {"RCPT TO:<someone@held.test>", "250"}, {"DATA", "354"}} {
		if err := l.Say(say[0], say[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Write(message); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLocalUsersDoNotStarveEachOther: eight users have as many connections to
// the local socket as they can get.
func TestLocalUsersDoNotStarveEachOther(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		testpeer.Without(t, "second user for this test", errors.New("only root may connect as another user"))
	}
	s := startService(t)
	for _, dir := range []string{filepath.Dir(s.Bin), filepath.Dir(filepath.Dir(s.Data))} {
		if err := os.Chmod(dir, 0o755); err != nil { // folders of a test are private
			t.Fatal(err)
		}
	}
	socket := filepath.Join(s.Data, "control.sock")
	if b, err := os.ReadFile(filepath.Join(s.Data, "control.addr")); err == nil {
		socket = strings.TrimSpace(string(b))
	}
	for user := range 8 {
		for range 32 {
			c, err := dialAs(40000+user, socket)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
	}
	cmd := exec.Command(s.Bin, "--data", s.Data, "status")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: operatorUID, Gid: operatorUID}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("another user: %v, %s", err, out)
	}
	runCommand(t, s, "", "status")
}

// dialAs connects to a socket as another user.
func dialAs(uid int, socket string) (c net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		// Package syscall would change all threads.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			err = errno
			return
		}
		c, err = net.Dial("unix", socket)
	}()
	<-done
	return c, err
}
