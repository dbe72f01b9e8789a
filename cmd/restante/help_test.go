// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v2"

	"restante/cmd/restante/internal/cmdline"
)

// runArgs runs a command line that needs no store.
func runArgs(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = run(append([]string{"--data", t.TempDir()}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// TestHelpEverywhere asks each command and each group for help in every way.
func TestHelpEverywhere(t *testing.T) {
	var ask func(path []string, commands []*urfave.Command)
	ask = func(path []string, commands []*urfave.Command) {
		ways := [][]string{append(path[:len(path):len(path)], "--help"), append(path[:len(path):len(path)], "-h"), append([]string{"help"}, path...)}
		if len(path) > 0 {
			ways = append(ways, append(path[:len(path)-1:len(path)-1], "help", path[len(path)-1]))
		}
		if len(commands) > 0 && len(path) > 0 {
			ways = append(ways, append(path[:len(path):len(path)], "help"))
		}
		for _, args := range ways {
			code, out, errs := runArgs(t, args...)
			if code != 0 || errs != "" || !strings.Contains(out, "usage: restante "+strings.Join(path, " ")) {
				t.Errorf("%q: exit code %d, %q, %q", args, code, out, errs)
			}
			var v cmdline.Help
			if _, out, _ := runArgs(t, append(args, "--json")...); json.Unmarshal([]byte(out), &v) != nil || v.Command != strings.Join(path, " ") {
				t.Errorf("%q --json: %q", args, out)
			}
		}
		for _, cmd := range commands {
			if !cmd.Hidden {
				ask(append(path[:len(path):len(path)], cmd.Name), cmd.Subcommands)
			}
		}
	}
	ask(nil, (&cli{}).app().Commands)
}

// TestWrongCalls exits with 2 and a hint.
func TestWrongCalls(t *testing.T) {
	for _, call := range []string{
		"", "nosuch", "nosuch --help", "mb", "mb nosuch", "mb nosuch -h", "mb help nosuch", "help nosuch", "help mb nosuch",
		"--nosuch", "mb get --nosuch", "mb get", "mb get a b c", "mb get --rev x a b", "site show one", "site end-session 1",
		"status extra", "domain create 1 x.example", "domain create 1 x.example --alias --remote", "queue retry", "run", "run --timeout 0s -",
	} {
		code, out, errs := runArgs(t, strings.Fields(call)...)
		if code != 2 || out != "" || !strings.HasPrefix(errs, "restante: ") || !strings.Contains(errs, "\nhint: restante ") {
			t.Errorf("%q: exit code %d, %q, %q; want 2 and a hint", call, code, out, errs)
		}
	}
}

func TestBuildFill(t *testing.T) {
	info := &debug.BuildInfo{
		Main: debug.Module{Version: "v1.2.3"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "4a6cc5a"}, {Key: "vcs.time", Value: "2026-03-01T12:00:00Z"},
		},
	}
	tests := []struct{ in, want build }{
		{build{}, build{"v1.2.3", "4a6cc5a-dirty", "2026-03-01T12:00:00Z"}},
		{build{"v2", "abc", "2026-01-01T00:00:00Z"}, build{"v2", "abc", "2026-01-01T00:00:00Z"}}, // the linker's
	}
	for _, tt := range tests {
		if tt.in.fill(info); tt.in != tt.want {
			t.Errorf("fill = %+v, want %+v", tt.in, tt.want)
		}
	}
	var b build
	if b.fill(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}); b != (build{}) {
		t.Errorf("fill knows %+v of a build without information", b)
	}
}

// TestSynopses checks that the options of each command may stand where its synopsis
// has them.
func TestSynopses(t *testing.T) {
	app := (&cli{}).app()
	walkCommands(app.Commands, "", func(path string, c *urfave.Command) {
		if len(c.Flags) == 0 || c.ArgsUsage == "" {
			return
		}
		option := "--" + c.Flags[0].Names()[0]
		if !cmdline.IsBool(c.Flags[0]) {
			option += "=1"
		}
		line, err := cmdline.Reorder(app, append(strings.Fields(path), "argument", option))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		rest := line.Args[slices.Index(line.Args, "--"):]
		if last, taken := strings.HasSuffix(cmdline.Synopsis(path, c), " [OPTION]..."), !slices.Contains(rest, option); last != taken {
			t.Errorf("%s: an option after the arguments is taken: %v", cmdline.Synopsis(path, c), taken)
		}
	})
}
