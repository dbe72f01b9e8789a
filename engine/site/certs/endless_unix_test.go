// SPDX-License-Identifier: Apache-2.0

//go:build unix

package certs

import (
	"path/filepath"
	"syscall"
	"testing"
)

// endless lists files whose reading or opening does not end.
func endless(t *testing.T) []string {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{fifo, "/dev/zero"}
}
