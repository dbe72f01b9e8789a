// SPDX-License-Identifier: Apache-2.0

package deptest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	testName = regexp.MustCompile("`((?:Test|Fuzz)\\w+(?:/\\w+)?)`")
)

// TestDocsOfSecurity checks that each promise of docs/security.md names tests, and
// that there are such tests.
func TestDocsOfSecurity(t *testing.T) {
	raw, err := os.ReadFile(root + "/docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(raw), "\n## Promises\n")
	promises, _, closed := strings.Cut(rest, "\n## ")
	if !ok || !closed {
		t.Fatal("docs/security.md lacks the section Promises, or one after it")
	}
	known, rows := testsOf(t), 0
	for line := range strings.Lines(promises) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| promise |") {
			continue
		}
		rows++
		names := testName.FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, n := range names {
			if !known[n[1]] {
				t.Errorf("there is no %s: %s", n[1], line)
			}
		}
	}
	if rows < 20 {
		t.Errorf("only %d promises are found", rows)
	}
}

// testsOf names all tests, fuzz targets and scripts of the module.
func testsOf(t *testing.T) map[string]bool {
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".txtar"):
			known["TestCommands/"+strings.TrimSuffix(d.Name(), ".txtar")] = true
		case strings.HasSuffix(name, "_test.go"):
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
				known[m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}
