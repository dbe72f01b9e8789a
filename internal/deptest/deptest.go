// SPDX-License-Identifier: Apache-2.0

// Package deptest checks the layers of the module: which package may import
// which. TestLayers in each package lists the imports it forbids, each with the
// reason.
package deptest

import (
	"go/build"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Forbid fails the test if a file of the package in the current folder imports
// a path that contains one of the keys. Test files are not checked. The value
// of the key is the reason, and is printed. A key that begins with a slash
// starts at the module's root: "/engine" is restante/engine and all below it.
//
// Forbid checks direct imports only: each imported package has its own test.
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
		t.Fatalf("package in %s: read imports: %v", dir, err)
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
