// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package disk

import "syscall"

var fullCauses = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}

var refusedCauses = []syscall.Errno{
	syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EBUSY, syscall.ETXTBSY,
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EFBIG,
	syscall.EIO, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE, syscall.ETIMEDOUT,
}
