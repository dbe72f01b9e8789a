// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
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

// SyncDir makes the names in dir durable. A folder is flushed through a handle that
// may write; one of os.Open may not.
func SyncDir(dir string) error {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return &os.PathError{Op: "sync", Path: dir, Err: err}
	}
	const shared = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	var h windows.Handle
	// Who may only make folders in it, as users may in C:\, can open it to append.
	for _, access := range []uint32{windows.GENERIC_WRITE, windows.FILE_APPEND_DATA | windows.SYNCHRONIZE} {
		h, err = windows.CreateFile(name, access, shared, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
		if !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			break
		}
	}
	if err == nil {
		err = errors.Join(windows.FlushFileBuffers(h), windows.CloseHandle(h))
	}
	if err != nil {
		return &os.PathError{Op: "sync", Path: dir, Err: err}
	}
	return nil
}

func syncFolder(f *os.File) error { return SyncDir(f.Name()) }

// lock locks an octet that is far behind the end, so that the others can be
// read meanwhile.
func lock(f *os.File, shared bool) error {
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	how := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if !shared {
		how |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), how, 0, 1, 0, at)
	if err == windows.ERROR_LOCK_VIOLATION {
		return ErrLocked
	}
	return err
}
