// SPDX-License-Identifier: Apache-2.0

// Package disk puts files on disk durably, one way for all, and has
// the calls that differ by system: free space, syncing data and names, locking a
// file, and the errors of a full disk. It knows nothing of what the files hold.
package disk

import (
	"errors"
	"syscall"
)

// IsFull reports whether err comes from a full disk or an exhausted quota.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || isQuota(err) }
