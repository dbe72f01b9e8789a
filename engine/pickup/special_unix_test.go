// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pickup

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// special makes what only Unix has: a FIFO, and a second name of a file elsewhere.
func special(t *testing.T, dir, elsewhere string) []string {
	t.Helper()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo.eml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(elsewhere, filepath.Join(dir, "second.eml")); err != nil {
		t.Fatal(err)
	}
	return []string{"fifo.eml", "second.eml"}
}
