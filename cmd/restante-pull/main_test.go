// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCallsThatAreWrong(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"--help", 0, "usage: restante-pull HOST[:PORT] [OPTION]..."},
		{"hub.test -h", 0, "--atrn [DOMAIN,...]"},
		{"", 2, "takes HOST[:PORT]"},
		{"hub.test --what", 2, "there is no option --what"},
		{"hub.test --user", 2, "--user needs a value"},
		{"hub.test --user anna --to local --atrn --turn", 2, "one of --turn, --atrn and --etrn is needed"},
		{"hub.test --user anna --to local", 2, "one of --turn, --atrn and --etrn is needed"},
		{"hub.test --user anna --atrn a..b --to local", 2, "it takes the name of a domain"},
		{"hub.test:25 --user anna --turn --to hub.test", 2, "is the holder itself"},
		{"hub.test:0 --user anna --atrn --to local", 2, `"0" is no port`},
		{"hub.test --user anna --atrn --to local --password-file none --state none", 1, "--password-file: open none"},
		{"hub.test --user anna --atrn= --to local --ca main.go", 1, "has no certificate in PEM form"},
		{"hub.test --user anna --atrn --to local --state none", 1, "the password is empty"},
		{"--user anna --to local --atrn hub.test", 2, "hub.test behind --atrn is read as a domain; put the host first"},
		{"hub.test --user anna --etrn a.test --to local", 2, "--to goes with --turn or --atrn"},
		{"hub.test --user anna --etrn a.test --size-ceiling 5", 2, "--size-ceiling goes with --turn or --atrn"},
		{"hub.test --user anna --etrn a.test --idle", 2, "--idle goes with --turn or --atrn"},
		{"hub.test --user anna --turn --to local --tls none --insecure", 2, "--insecure goes with TLS"},
		{"hub.test --user anna --turn --to local --insecure --ca main.go", 2, "one of them"},
	} {
		var out bytes.Buffer
		code := run(context.Background(), strings.Fields(tt.args), strings.NewReader(""), &out, &out)
		if code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit %d: %s; want %d, %s", tt.args, code, out.String(), tt.code, tt.want)
		}
	}
}

// A terminal would show the password.
func TestPasswordIsNotReadFromATerminal(t *testing.T) {
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	var out bytes.Buffer
	code := run(context.Background(), strings.Fields("hub.test --user anna --atrn --to local"), f, &out, &out)
	if code != 1 || !strings.Contains(out.String(), "standard input is a terminal") {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

// A failed call of --idle is told under the command's own name, and a signal ends it in order.
func TestIdleTellsOfFailedCalls(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	told := writerFunc(func(b []byte) {
		if want := "restante-pull: local server 127.0.0.1:1: "; !strings.HasPrefix(string(b), want) || !strings.Contains(string(b), "; the next call is in ") {
			t.Errorf("%q; want %q", b, want)
		}
		stop()
	})
	args := []string{"hub.test", "--user", "anna", "--turn", "--to", "127.0.0.1:1", "--idle", "--state", t.TempDir()}
	if code := run(ctx, args, strings.NewReader("secret\n"), told, told); code != 0 || ctx.Err() == nil {
		t.Errorf("exit %d, told %v", code, ctx.Err())
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// The binary is for small machines: it has neither the store nor the library of the
// command line.
func TestBinaryIsSmall(t *testing.T) {
	seen := map[string]bool{}
	var visit func(path string)
	visit = func(path string) {
		dir, ours := strings.CutPrefix(path, "restante/")
		if seen[path] || !ours {
			for _, bad := range []string{"badger", "bbolt", "miekg/dns", "gopher-lua", "urfave"} {
				if strings.Contains(path, bad) {
					t.Errorf("imports %s", path)
				}
			}
			return
		}
		seen[path] = true
		for _, bad := range []string{"metabase", "internal/kv", "engine/queue", "engine/spool", "engine/settings", "admin"} {
			if strings.HasPrefix(dir, bad) {
				t.Errorf("imports %s", path)
			}
		}
		p, err := build.ImportDir(filepath.Join("..", "..", filepath.FromSlash(dir)), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range p.Imports {
			visit(i)
		}
	}
	visit("restante/cmd/restante-pull")
	if !seen["restante/engine/wire"] {
		t.Error("the imports were not followed")
	}
	if testing.Short() {
		return
	}
	bin := filepath.Join(t.TempDir(), "restante-pull")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(bin)
	if err != nil || info.Size() > 10<<20 {
		t.Errorf("%v, %v", info, err)
	}
}
