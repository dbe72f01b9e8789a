// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// fillDisk uses all space that is left, and gives the function that frees it.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// trySend sends one message and gives the last reply.
func trySend(t *testing.T, s *testpeer.Service, m []byte) string {
	t.Helper()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	var reply string
	for _, say := range []string{"MAIL FROM:<good@x.test>\r\n", "RCPT TO:<someone@held.test>\r\n", "DATA\r\n", string(testpeer.DotStuff(m))} {
		if _, err := io.WriteString(l.Conn, say); err != nil {
			t.Fatal(err)
		}
		if reply, err = l.Reply(); err != nil {
			t.Fatal(err)
		}
		if reply[0] > '3' {
			break
		}
	}
	return reply
}

// fill sends messages until one is refused with 452 4.3.1.
func (mail *acknowledged) fill(t *testing.T, size int) {
	t.Helper()
	for range 1000 {
		m := fmt.Appendf(nil, "Subject: number %d\r\n\r\n%s", mail.numbered, strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n", size/62))
		mail.numbered++
		reply := trySend(t, mail.service, m)
		if !strings.HasPrefix(reply, "250 ") {
			if !strings.HasPrefix(reply, "452 4.3.1 ") {
				t.Errorf("with the disk full: %q", reply)
			}
			return
		}
		mail.messages = append(mail.messages, m)
	}
	t.Fatal("the disk does not fill up")
}

func TestFullDiskLosesNoMail(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("fills a file system three times")
	}
	disk, done := testpeer.SmallDisk(t, "64m")
	if done {
		return
	}
	mail := acknowledged{service: startHoldingOn(t, filepath.Join(disk, "data"))}
	set(t, mail.service, "MaxRecipients", "77")
	mail.send(t, 5)
	// Mail that fills the disk: large ones, then what is left by small ones.
	for _, size := range []int{3 << 20, 500 << 10, 1000} {
		mail.fill(t, size)
	}
	t.Logf("%d messages were taken", len(mail.messages))
	if got := runCommand(t, mail.service, "", "queue", "list"); !strings.Contains(got, fmt.Sprint(len(mail.messages))) {
		t.Errorf("%d messages are held:\n%s", len(mail.messages), got)
	}
	if free, err := freeOn(disk); err != nil || free < 1<<20 {
		t.Errorf("mail has left %d octets, %v", free, err)
	}
	// It gets up again as it is.
	mail.service.Kill()
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if reply := trySend(t, mail.service, []byte("Subject: x\r\n\r\nx\r\n")); !strings.HasPrefix(reply, "452 4.3.1 ") {
		t.Errorf("after a restart: %q", reply)
	}
	mail.checkFullDisk(t, disk)
	mail.verify(t)
	mail.send(t, 5)
	mail.fill(t, 3<<20)
	mail.verify(t)
	mail.send(t, 1)
	mail.verify(t)
}

// checkFullDisk fills the disk to the last octet. Whatever has to write reports it,
// and changes nothing.
func (mail *acknowledged) checkFullDisk(t *testing.T, disk string) {
	t.Helper()
	free := fillDisk(t, disk)
	if reply := trySend(t, mail.service, []byte("Subject: x\r\n\r\nx\r\n")); !strings.HasPrefix(reply, "452 4.3.1 ") {
		t.Errorf("with no room at all: %q", reply)
	}
	code, _, stderr := tryCommand(t, mail.service, "", "mb", "set", "SMTPSVC/1", "MaxRecipients", "78")
	if code != 1 || !clearError.MatchString(stderr) || !strings.Contains(stderr, "no space left") {
		t.Errorf("a change: exit %d:\n%s", code, stderr)
	}
	if got := strings.TrimSpace(runCommand(t, mail.service, "", "mb", "get", "SMTPSVC/1", "MaxRecipients")); got != "77" {
		t.Errorf("MaxRecipients is %s after a change that was refused", got)
	}
	mail.collectWithoutSpace(t)
	for _, args := range []string{"status", "site list", "queue list"} {
		if code, _, stderr := tryCommand(t, mail.service, "", strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit %d: %s", args, code, stderr)
		}
	}
	mail.service.Kill()
	code, stdout, stderr := tryCommand(t, mail.service, "", "serve")
	if stderr = withoutLog(stderr); code != 1 || !clearError.MatchString(stderr) || !strings.Contains(stderr, "no space left") || !strings.Contains(stderr, mail.service.Data) {
		t.Errorf("a start: exit %d: %s%s", code, stdout, stderr)
	}
	free()
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(runCommand(t, mail.service, "", "mb", "get", "SMTPSVC/1", "MaxRecipients")); got != "77" {
		t.Errorf("MaxRecipients is %s after a full disk", got)
	}
	set(t, mail.service, "MaxRecipients", "79")
}

// collectWithoutSpace collects the mail while nothing can be written: outcomes that
// the service cannot record make it send the messages again.
func (mail *acknowledged) collectWithoutSpace(t *testing.T) {
	t.Helper()
	l, err := testpeer.Dial(mail.service.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := errors.Join(l.SignIn(account, password), l.Say("TURN", "250")); err != nil {
		t.Fatal(err)
	}
	n := 0
	err = l.Receive(func(testpeer.Received) error { n++; return nil })
	t.Logf("of %d, %d were handed over without room to remember it: %v", len(mail.messages), n, err)
}

func freeOn(dir string) (uint64, error) {
	var st syscall.Statfs_t
	err := syscall.Statfs(dir, &st)
	return st.Bavail * uint64(st.Bsize), err
}

// startHoldingOn starts a service on that data folder, with a held domain and the
// default limits.
func startHoldingOn(t *testing.T, data string) *testpeer.Service {
	t.Helper()
	s := startServiceOn(t, data, "--bind", "127.0.0.1:0", "--domain", "hub.test")
	addAccount(t, s, account)
	createHeldDomain(t, s, "held.test", account)
	return s
}

// A service that may not write in its data folder reports that, and changes nothing
// there.
func TestFolderThatCannotBeWrittenIsLeftAlone(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 2)
	if err := mail.service.Halt(); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := os.Chmod(empty, 0o555); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(empty); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(mail.service.Bin), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{mail.service.Data, empty, filepath.Join(empty, "data"), "/proc/nope"} {
		cmd := exec.CommandContext(t.Context(), mail.service.Bin, "--data", data, "serve")
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		} else if data == mail.service.Data {
			continue // it is ours
		}
		out, err := cmd.CombinedOutput()
		text := withoutLog(string(out))
		if cmd.ProcessState.ExitCode() != 1 || !clearError.MatchString(text) || !strings.Contains(text, data) {
			t.Errorf("%s: %v:\n%s", data, err, text)
		}
	}
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mail.send(t, 1)
	mail.verify(t)
}

// A service without a free file descriptor serves its open connections, and accepts
// others when some have ended.
func TestServiceOutlivesALackOfDescriptors(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 2)
	if err := mail.service.Halt(); err != nil {
		t.Fatal(err)
	}
	bin := mail.service.Bin
	mail.service.Bin = filepath.Join(t.TempDir(), "few")
	if err := os.WriteFile(mail.service.Bin, []byte("#!/bin/sh\nulimit -n 64\nexec "+bin+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, err := testpeer.Dial(mail.service.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	var idle []net.Conn
	for range 80 { // the system completes the handshake of all of them
		conn, err := net.Dial("tcp", mail.service.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	refused := 0
	for _, conn := range idle {
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		line, err := bufio.NewReader(conn).ReadString('\n')
		switch {
		case err != nil:
			t.Fatalf("a caller has no answer: %v", err)
		case strings.HasPrefix(line, "421 "):
			refused++
		case !strings.HasPrefix(line, "220 "):
			t.Errorf("a caller is answered %q", line)
		}
	}
	if !strings.Contains(mail.service.Log(), "raise its limit (ulimit -n") || refused < 40 {
		t.Errorf("%d callers are refused, and the log does not say why", refused)
	}
	// What is not a caller has descriptors: commands, the store, the spool.
	for range 3 {
		runCommand(t, mail.service, "", "status")
		runCommand(t, mail.service, "", "mb", "set", "SMTPSVC/1", "MaxRecipients", "77")
	}
	m := fmt.Appendf(nil, "Subject: number %d\r\n\r\nx\r\n", mail.numbered)
	if err := first.Send("good@x.test", "someone@held.test", testpeer.DotStuff(m)); err != nil {
		t.Errorf("an open session: %v", err)
	}
	mail.messages, mail.numbered = append(mail.messages, m), mail.numbered+1
	for _, conn := range idle {
		conn.Close()
	}
	await(t, "a connection is accepted again", func() bool {
		l, err := testpeer.Dial(mail.service.Addr(1))
		if err == nil {
			l.Quit()
		}
		return err == nil
	})
	mail.send(t, 1)
	mail.verify(t)
	if strings.Contains(mail.service.Log(), "too many open files") {
		t.Error("the process has met its limit")
	}
}
