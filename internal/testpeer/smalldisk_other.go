// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package testpeer

import (
	"errors"
	"testing"
)

// SmallDisk skips the test: only Linux mounts a file system of a given size.
func SmallDisk(t *testing.T, size string) (dir string, done bool) {
	t.Helper()
	Without(t, "file system of "+size, errors.ErrUnsupported)
	return "", true
}
