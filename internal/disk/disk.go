// SPDX-License-Identifier: Apache-2.0

// Package disk has what the stores ask of a file system beyond package os:
// how much room there is, what a full disk looks like, how to make data and
// names durable, and how to keep others out. Where a system has no such call, the portable one is used.
package disk

import (
	"errors"
	"syscall"
)

// IsFull says that err comes from a disk or a quota that has no room left.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || isQuota(err) }
