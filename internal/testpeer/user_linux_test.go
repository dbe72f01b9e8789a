// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// lowPort gives a free port below 1024, and the address with it.
func lowPort(t *testing.T) string {
	t.Helper()
	for port := 1023; port > 0; port-- {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port below 1024 is free")
	return ""
}

// wantUnprivileged checks that all threads of the service are of that user, and that
// binding low ports is the only right of root that any of them has or could get.
func wantUnprivileged(t *testing.T, s *testpeer.Service, uid int) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.PID()))
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads: %q, %v", threads, err)
	}
	const bindService = "0000000000000400"
	for _, name := range threads {
		status, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d", uid), fmt.Sprintf("Gid:\t%d\t%[1]d\t%[1]d\t%[1]d", uid), fmt.Sprintf("Groups:\t%d ?", uid),
			"CapPrm:\t" + bindService, "CapEff:\t" + bindService, "CapBnd:\t" + bindService, "NoNewPrivs:\t1",
		} {
			if !regexp.MustCompile("(?m)^" + want + "$").Match(status) {
				t.Errorf("%s lacks %q:\n%s", name, want, status)
			}
		}
	}
}

// asRestante makes a program that runs bin on a machine whose users are root and
// restante, who has that number.
func asRestante(t *testing.T, bin string, uid int) string {
	t.Helper()
	dir := t.TempDir()
	users, program := filepath.Join(dir, "passwd"), filepath.Join(dir, "restante")
	err := errors.Join(
		os.WriteFile(users, fmt.Appendf(nil, "root:x:0:0::/root:/bin/sh\nrestante:x:%d:%[1]d::/nonexistent:/bin/false\n", uid), 0o644),
		os.WriteFile(program, []byte("#!/bin/sh\nexec unshare -m sh -c 'mount --bind "+users+" /etc/passwd && exec \"$@\"' sh "+bin+" \"$@\"\n"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// A service that root starts runs as another user, on ports below 1024, also on one
// that it gets later.
func TestServiceOfRootRunsAsAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		testpeer.Without(t, "second user for this test", errors.New("only root may start a process as another user"))
	}
	bin, err := buildBinary()
	if err != nil {
		t.Fatal(err)
	}
	above := t.TempDir()
	for dir := above; strings.HasPrefix(dir, filepath.Clean(os.TempDir())+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // folders of a test are private
			t.Fatal(err)
		}
	}
	const uid = 65534 // nobody
	s, err := testpeer.StartService(t.Context(), bin, filepath.Join(above, "data"), "--user", "nobody", "--bind", lowPort(t), "--domain", "hub.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Halt() })
	wantUnprivileged(t, s, uid)
	addAccount(t, s, account)
	createHeldDomain(t, s, "held.test", account)
	mail := acknowledged{service: s}
	mail.send(t, 2)
	s.Kill()

	testpeer.Need(t, "unshare")
	s.Bin = asRestante(t, bin, uid)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Bin = bin
	wantUnprivileged(t, s, uid)
	mail.send(t, 1)
	mail.verify(t)
	runCommand(t, s, "", "site", "bind", "1", lowPort(t))
	if err := s.Halt(); err != nil {
		t.Error(err)
	}
	if log := s.Log(); !strings.Contains(log, `msg="runs as a user" user=nobody uid=65534`) || !strings.Contains(log, "user=restante") {
		t.Errorf("the log does not name the user:\n%s", log)
	}

	// A folder of root with something in it is nobody else's: by default the
	// service stays root, and says so.
	s.Bin, s.Data = asRestante(t, bin, uid), filepath.Join(above, "of-root")
	if err := os.MkdirAll(filepath.Join(s.Data, "something"), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), "--bind", "127.0.0.1:0", "--domain", "hub.test"); err != nil {
		t.Fatal(err)
	}
	if want := `level=WARN msg="runs as root" remedy="serve --user NAME, after chown -R NAME: ` + s.Data; !strings.Contains(s.Log(), want) {
		t.Errorf("the log lacks %s:\n%s", want, s.Log())
	}
}
