// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"restante/admin/admintest"
	"restante/admin/adsitree"
	"restante/admin/api"
	"restante/admin/tree"
	"restante/adsi-compat/luahost"
	carried "restante/scripts"
)

// TestFromVBScript runs the Lua parts of docs/lua/from-vbscript.md, in their order
// on one tree, and compares what each prints with the text after it.
func TestFromVBScript(t *testing.T) {
	page, err := os.ReadFile("../../docs/lua/from-vbscript.md")
	if err != nil {
		t.Fatal(err)
	}
	d, _ := admintest.New(t, nil)
	tree.Register(d)
	conn := d.Direct(admintest.Admin())
	pairs := regexp.MustCompile("(?s)\n## ([^\n]*)\n\n```(?:vbscript|powershell)\n[^`]*```\n\n```lua\n(.*?)```\n\n```text\n(.*?)```\n").
		FindAllStringSubmatch(strings.ReplaceAll(string(page), "\r\n", "\n"), -1)
	if n := strings.Count(string(page), "\n## "); n < 12 || len(pairs) != n {
		t.Fatalf("%d of %d parts have Lua and what it prints", len(pairs), n)
	}
	for _, pair := range pairs {
		var out strings.Builder
		s := luahost.Script{Name: pair[1], Source: pair[2]}
		s.Out = &out
		if err := runScript(t.Context(), adsitree.New(conn, api.Terms{}), s, 1<<40); err != nil || out.String() != pair[3] {
			t.Errorf("%s: prints %q, %v; want %q", pair[1], out.String(), err, pair[3])
		}
	}
}

// TestCarriedScriptsAreTested checks that a script of the command line's tests runs
// each of the scripts that the binary carries.
func TestCarriedScriptsAreTested(t *testing.T) {
	tests, err := os.ReadFile("testdata/script/carried.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(carried.Files, "*.lua")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if name := "@" + strings.TrimSuffix(file, filepath.Ext(file)); !regexp.MustCompile(`(?m)^exec restante run ` + name + `( |$)`).Match(tests) {
			t.Errorf("no test runs %s", name)
		}
	}
}
