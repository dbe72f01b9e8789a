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
	} {
		var out bytes.Buffer
		code := run(context.Background(), strings.Fields(tt.args), strings.NewReader(""), &out, &out)
		if code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit %d: %s; want %d, %s", tt.args, code, out.String(), tt.code, tt.want)
		}
	}
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
