// SPDX-License-Identifier: Apache-2.0

//go:build unix

package delivery

import (
	"errors"
	"os"
	"syscall"
)

// errDiskFull is a full quota.
const errDiskFull = syscall.EDQUOT

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
