// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package rpc

import (
	"errors"
	"os"
	"syscall"
)

// shortTemp is a folder with a short name.
func shortTemp() string {
	if dir := os.TempDir(); len(dir) < maxSocket/2 {
		return dir
	}
	return "/tmp"
}

func isRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}
