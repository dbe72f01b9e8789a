// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// failSyncs has these calls of the service fail with EIO until stop is called.
func failSyncs(t *testing.T, s *testpeer.Service, calls string) (stop func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "strace", "-f", "-o", "/dev/null", "-p", strconv.Itoa(s.PID()),
		"-e", "trace="+calls, "-e", "inject="+calls+":error=EIO")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "attached") {
		text := lines.Text()
		_ = cmd.Wait()
		testpeer.Missing(t, "strace that may attach to a process", errors.New(text))
	}
	done := make(chan struct{})
	go func() { // strace tells of each thread
		defer close(done)
		for lines.Scan() {
		}
	}()
	return func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		<-done
		_ = cmd.Wait()
	}
}

// When the disk fails to sync, the site says so in status, and works again by
// itself when the disk does. No message that was acknowledged is lost, and none
// that was handed over comes again.
func TestFailedSyncShowsAndEnds(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "strace")
	for _, calls := range []string{"fdatasync", "msync", "fdatasync,fsync,msync"} {
		for _, during := range []string{"message", "release"} {
			t.Run(calls+" during a "+during, func(t *testing.T) {
				t.Parallel()
				s := startService(t)
				createHeldDomain(t, s, "held.test", account)
				runCommand(t, s, "", "site", "bind", "1", s.Addr(1)) // the port that it has when it works again
				mail := acknowledged{service: s}
				mail.send(t, 4)
				had := map[string]int{}
				var stop func()
				if during == "message" {
					stop = failSyncs(t, s, calls)
					if reply := trySend(t, s, []byte("Subject: in doubt\r\n\r\nx\r\n")); !strings.HasPrefix(reply, "451 ") {
						t.Errorf("a message that is not on the disk: %q", reply)
					}
				} else {
					collectSubjects(t, s, had, func() {
						if stop == nil {
							stop = failSyncs(t, s, calls)
						}
					})
				}
				if stop == nil {
					t.Fatal("no message came")
				}
				site := func() api.Site { return call(t, s, api.SiteShow, api.SiteRequest{Site: 1}) }
				fails := during == "message" || calls != "fdatasync" // an outcome is in the index alone
				if fails {
					await(t, "status says that the storage fails", func() bool {
						return strings.Contains(site().Why, "input/output error")
					})
				}
				stop()
				await(t, "the site works again", func() bool { return site().Why == "" && len(site().Listening) > 0 })
				runCommand(t, s, "", "mb", "set", "SMTPSVC/1", "MaxRecipients", "77")
				mail.send(t, 1)
				for range 3 {
					collectSubjects(t, s, had, func() {})
				}
				for i := range mail.numbered {
					if n := had[fmt.Sprintf("number %d", i)]; n != 1 {
						t.Errorf("message %d was handed over %d times", i, n)
					}
				}
				if had["in doubt"] > 1 {
					t.Errorf("the message in doubt was handed over %d times", had["in doubt"])
				}
				checkLog(t, s)
			})
		}
	}
}

// collectSubjects takes the mail that waits by TURN and counts it by subject; each
// is called before a message is confirmed.
func collectSubjects(t *testing.T, s *testpeer.Service, had map[string]int, each func()) {
	t.Helper()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.SignIn(account, password); err != nil {
		t.Fatal(err)
	}
	if err := l.Say("TURN", "250"); err != nil {
		return // nothing waits
	}
	_ = l.Receive(func(m testpeer.Received) error { // it ends when the storage fails
		had[subjectOf(t, m.Data)]++
		each()
		return nil
	})
}
