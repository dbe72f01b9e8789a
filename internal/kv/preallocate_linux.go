// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// preallocate gives the first n bytes of a file their blocks.
func preallocate(name string, n int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n), f.Close())
}
