// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"syscall"

	"golang.org/x/sys/windows"
)

var fullCauses = []syscall.Errno{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}

var refusedCauses = []syscall.Errno{
	windows.ERROR_ACCESS_DENIED, windows.ERROR_SHARING_VIOLATION, windows.ERROR_LOCK_VIOLATION, windows.ERROR_WRITE_PROTECT,
	windows.ERROR_TOO_MANY_OPEN_FILES, windows.ERROR_NOT_ENOUGH_MEMORY, windows.ERROR_OUTOFMEMORY, windows.ERROR_NO_SYSTEM_RESOURCES,
	windows.ERROR_COMMITMENT_LIMIT, windows.ERROR_NOT_READY, windows.ERROR_CRC, windows.ERROR_GEN_FAILURE, windows.ERROR_IO_DEVICE,
	windows.ERROR_SEEK, windows.ERROR_SECTOR_NOT_FOUND, windows.ERROR_BUSY, windows.ERROR_DEV_NOT_EXIST, windows.ERROR_NETNAME_DELETED,
	windows.ERROR_SEM_TIMEOUT, windows.ERROR_DELETE_PENDING, windows.ERROR_USER_MAPPED_FILE, windows.ERROR_VIRUS_INFECTED,
}
