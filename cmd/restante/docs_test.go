// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"

	"restante/cmd/restante/internal/cmdline"
	"restante/internal/deptest"
	"restante/internal/testpeer"
)

// TestDocs compares the pages below docs with the definitions of the commands;
// with RESTANTE_WRITE_DOCS it writes them.
func TestDocs(t *testing.T) {
	root := filepath.Join("..", "..", "docs")
	for name, want := range pages((&cli{}).app()) {
		file := filepath.Join(root, filepath.FromSlash(name))
		if os.Getenv("RESTANTE_WRITE_DOCS") != "" {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != want {
			t.Errorf("%s is not what the commands' definitions give (%v): run make docs", name, err)
		}
	}
}

// TestPullGuide checks that a script runs the commands of docs/pull.md.
func TestPullGuide(t *testing.T) {
	page, err := os.ReadFile("../../docs/pull.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/script/pull.txtar")
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("hub.example:366", "$ADDR1", "localhost:25", "$ADDR2", "/etc/restante-pull/password", "password", ":25 :366", "127.0.0.1:0 127.0.0.1:0")
	n := 0
	for line := range strings.Lines(string(page)) {
		if line = here.Replace(strings.TrimRight(line, "\r\n")); !strings.HasPrefix(line, "restante ") {
			continue
		}
		n++
		if !strings.Contains(string(script), "\nexec "+line) {
			t.Errorf("no script runs: %s", line)
		}
	}
	if n != 4 {
		t.Errorf("the page has %d commands", n)
	}
}

// TestManReads has man's formatter read the pages without a warning.
func TestManReads(t *testing.T) {
	testpeer.Need(t, "groff")
	for name, text := range pages((&cli{}).app()) {
		if !strings.HasSuffix(name, ".1") {
			continue
		}
		cmd := exec.Command("groff", "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// TestDefinitions checks what help, completion and package cmdline rely on.
func TestDefinitions(t *testing.T) {
	app := (&cli{}).app()
	walkCommands(app.Commands, "", func(path string, c *urfave.Command) {
		if c.Usage == "" || c.Action == nil {
			t.Errorf("%s: has no usage or no action", path)
		}
		for _, f := range c.Flags {
			if cmdline.FindFlag(app.Flags, "--"+f.Names()[0]) != nil {
				t.Errorf("%s: --%s is a global option, too", path, f.Names()[0])
			}
			if _, usage := cmdline.Option(f); usage == "" {
				t.Errorf("%s: --%s has no usage", path, f.Names()[0])
			}
		}
	})
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"dgraph-io/badger": "only internal/kv/badgerkv imports Badger",
		"go-smtp":          "only engine/wire speaks SMTP",
		"miekg/dns":        "only engine/resolver asks DNS",
		"gopher-lua":       "only luahost runs Lua",
		"/engine/queue":    "commands ask the administration API",
		"/engine/site":     "commands ask the administration API",
		"/engine/spool":    "commands ask the administration API",
	})
}
