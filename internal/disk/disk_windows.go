// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"os"

	"golang.org/x/sys/windows"
)

// Free gives the bytes that we may still write below dir and the size of its
// file system.
func Free(dir string) (free, total int64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var avail, all, rest uint64
	if err := windows.GetDiskFreeSpaceEx(name, &avail, &all, &rest); err != nil {
		return 0, 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: dir, Err: err}
	}
	return int64(avail), int64(all), nil
}

// SyncDir: NTFS keeps names in its journal.
func SyncDir(string) error { return nil }

func syncFolder(*os.File) error { return nil }

// lock locks an octet that is far behind the end, so that the others can be
// read meanwhile.
func lock(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if err == windows.ERROR_LOCK_VIOLATION {
		return ErrLocked
	}
	return err
}
