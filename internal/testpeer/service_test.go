// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/internal/testpeer"
)

const (
	account  = "testserver"
	password = "correct horse"
)

// buildBinary builds what we ship, once.
var buildBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "restante-peers-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "restante")
	if out, err := exec.Command("go", "build", "-o", bin, "restante/cmd/restante").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := buildBinary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// need skips the test, or fails it in CI, when a program is not installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			testpeer.Missing(t, err)
		}
	}
}

// startService starts a service on loopback that an account may sign in to.
func startService(t *testing.T) *testpeer.Service {
	t.Helper()
	bin, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	s, err := testpeer.StartService(t.Context(), bin, filepath.Join(t.TempDir(), "data"),
		"--bind", "127.0.0.1:0", "--domain", "hub.test", "--fqdn", "hub.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Halt(); err != nil {
			t.Errorf("the service ended with: %v", err)
		}
		if t.Failed() {
			t.Logf("the service's log:\n%s", s.Log())
		}
	})
	runCommand(t, s, password+"\n", "account", "add", "--password-stdin", "--cram-md5", account)
	return s
}

func runCommand(t *testing.T, s *testpeer.Service, stdin string, args ...string) string {
	t.Helper()
	out, err := s.Run(t.Context(), stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sendMessages sends n small messages for someone at domain over SMTP, and gives them.
func sendMessages(t *testing.T, s *testpeer.Service, domain string, n int) [][]byte {
	t.Helper()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	var sent [][]byte
	for i := range n {
		m := fmt.Appendf(nil, "From: <a@sender.test>\r\nTo: <someone@%s>\r\nSubject: %d\r\n\r\nline\r\n.dot\r\nTURN\r\n", domain, i)
		if err := l.Send("a@sender.test", "someone@"+domain, testpeer.DotStuff(m)); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, m)
	}
	return sent
}

// checkSameMail wants each message that was sent exactly once among those that
// came, unchanged but for what stands above it.
func checkSameMail(t *testing.T, sent [][]byte, got []testpeer.Received) {
	t.Helper()
	if len(got) != len(sent) {
		t.Errorf("%d messages came, %d were sent", len(got), len(sent))
	}
	for i, m := range sent {
		n := 0
		for _, r := range got {
			if strings.HasSuffix(string(r.Data), "\r\n"+string(m)) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("message %d came %d times", i, n)
		}
	}
}

// runProgram runs a program with a time limit and gives its exit code and output.
func runProgram(t *testing.T, stdin, program string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", program, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}
