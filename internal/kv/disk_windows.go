// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"errors"

	"golang.org/x/sys/windows"
)

// freeSpace gives the bytes that we may still write below dir and the size of
// its file system.
func freeSpace(dir string) (free, total int64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var avail, all, rest uint64
	if err := windows.GetDiskFreeSpaceEx(name, &avail, &all, &rest); err != nil {
		return 0, 0, err
	}
	return int64(avail), int64(all), nil
}

func isQuota(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// syncDir: NTFS keeps names in its journal.
func syncDir(string) error { return nil }
