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

	"restante/admin/api"
	"restante/admin/rpc"
	"restante/internal/testpeer"
	"restante/metabase"
)

const (
	account  = "testserver"
	password = "correct horse"
)

// binDir holds the binary of all tests.
var binDir string

var buildBinary = sync.OnceValues(func() (string, error) { return testpeer.Build(binDir) })

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "restante-peers-")
	if err != nil {
		panic(err)
	}
	binDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// sampled reports whether row i of a table runs: with -short, each n-th does.
func sampled(i, n int) bool { return !testing.Short() || i%n == 0 }

// setUp is a data folder as a service with one account leaves it.
var setUp = sync.OnceValues(func() (string, error) {
	data := filepath.Join(binDir, "data")
	bin, err := buildBinary()
	if err != nil {
		return "", err
	}
	s, err := testpeer.StartService(context.Background(), bin, data, "--bind", "127.0.0.1:0", "--domain", "hub.test", "--fqdn", "hub.test")
	if err != nil {
		return "", err
	}
	c, err := rpc.Dial(context.Background(), data, api.Caller{Origin: metabase.FromCLI})
	if err == nil {
		_, _, err = api.AccountPut.Call(context.Background(), c, api.AccountRequest{Name: account, Password: password, CramMD5: true})
		err = errors.Join(err, c.Close(), s.Halt())
	}
	return data, err
})

// startService starts a service on loopback with one account, on a copy of setUp.
func startService(t *testing.T) *testpeer.Service {
	t.Helper()
	from, err := setUp()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	if err := testpeer.CopyData(data, from); err != nil {
		t.Fatal(err)
	}
	return startServiceOn(t, data)
}

// startAnew starts a service that sets itself up: with keys of its own, and all that it
// stores in the newest table.
func startAnew(t *testing.T) *testpeer.Service {
	t.Helper()
	s := startServiceOn(t, filepath.Join(t.TempDir(), "data"), "--bind", "127.0.0.1:0", "--domain", "hub.test", "--fqdn", "hub.test")
	addAccount(t, s, account)
	return s
}

// startServiceOn starts a service on a data folder.
func startServiceOn(t *testing.T, data string, args ...string) *testpeer.Service {
	t.Helper()
	bin, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	s, err := testpeer.StartService(t.Context(), bin, data, args...)
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
	return s
}

// call asks the running service over its socket, which costs a fraction of the
// start of a command.
func call[Q, A any](t *testing.T, s *testpeer.Service, m api.Method[Q, A], q Q) A {
	t.Helper()
	c, err := rpc.Dial(t.Context(), s.Data, api.Caller{Origin: metabase.FromCLI})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, _, err := m.Call(t.Context(), c, q)
	if err != nil {
		t.Fatalf("%s %+v: %v", string(m), q, err)
	}
	return a
}

// applyBatch makes one change of several lines, as `mb apply` reads them; only
// single quotes are understood.
func applyBatch(t *testing.T, s *testpeer.Service, lines ...string) {
	t.Helper()
	var q api.ApplyRequest
	for _, line := range lines {
		quoted := false
		words := strings.FieldsFunc(line, func(r rune) bool {
			if r == '\'' {
				quoted = !quoted
			}
			return r == ' ' && !quoted
		})
		for i, w := range words {
			words[i] = strings.Trim(w, "'")
		}
		q.Lines = append(q.Lines, api.Line{Words: words})
	}
	call(t, s, api.MbApply, q)
}

// set stores one property of site 1.
func set(t *testing.T, s *testpeer.Service, property string, words ...string) {
	t.Helper()
	call(t, s, api.MbApply, api.ApplyRequest{Lines: []api.Line{{Words: append([]string{"set", "SMTPSVC/1", property}, words...)}}})
}

func addAccount(t *testing.T, s *testpeer.Service, name string) {
	t.Helper()
	call(t, s, api.AccountPut, api.AccountRequest{Name: name, Password: password, CramMD5: true})
}

// createHeldDomain makes a remote domain of site 1 whose mail waits for a call;
// the accounts may collect it.
func createHeldDomain(t *testing.T, s *testpeer.Service, domain string, accounts ...string) {
	t.Helper()
	call(t, s, api.DomainCreate, api.DomainCreateRequest{Site: 1, Name: domain, Hold: true, Turn: accounts})
}

func runCommand(t *testing.T, s *testpeer.Service, stdin string, args ...string) string {
	t.Helper()
	out, err := s.Run(t.Context(), stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sendMessages sends n small messages to someone at domain over SMTP, and gives
// them.
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

// checkSameMail expects each sent message exactly once, with its octets unchanged
// below the trace header.
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

// runProgram runs a program for two minutes at most, and gives its exit code and
// both streams.
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
