// SPDX-License-Identifier: Apache-2.0

// Package deptest holds the floor plan of the house: which package may import
// which. Each package has a test that names what it must not import, and why.
package deptest

import (
	"go/build"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Forbid fails the test when the package in the current folder imports, in a
// file that is shipped, a path that contains one of the keys. The value beside
// the key is the reason, and is printed. A key that begins with a slash is
// taken from the module's root: "/engine" is restante/engine and all below it.
//
// Only direct imports are looked at: what they import in turn is held by the
// tests beside them.
func Forbid(t *testing.T, reasons map[string]string) {
	t.Helper()
	for _, goos := range []string{"linux", "windows", "darwin"} {
		for _, problem := range check(t, ".", goos, reasons) {
			t.Error(problem)
		}
	}
}

func check(t *testing.T, dir, goos string, reasons map[string]string) (problems []string) {
	t.Helper()
	ctx := build.Default
	ctx.GOOS = goos
	p, err := ctx.ImportDir(dir, 0)
	if err != nil {
		t.Fatalf("read the package in %s: %v", dir, err)
	}
	for _, path := range p.Imports {
		for _, key := range slices.Sorted(maps.Keys(reasons)) {
			if matches(path, key) {
				problems = append(problems, "imports "+path+": "+reasons[key])
			}
		}
	}
	return problems
}

func matches(path, key string) bool {
	if root, ok := strings.CutPrefix(key, "/"); ok {
		own := "restante/" + root
		return path == own || strings.HasPrefix(path, own+"/")
	}
	return strings.Contains(path, key)
}
