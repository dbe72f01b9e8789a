// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"strings"
	"syscall"
)

// IsFull reports whether err comes from a full disk or an exhausted quota.
func IsFull(err error) bool { return hasCause(err, fullCauses) }

// IsRefused reports whether the system refused or failed an access to a file: no
// right, a lock of another program, a limit, a full disk, a medium that does not
// answer. What the file holds may be whole: such a file must not be called
// damaged.
func IsRefused(err error) bool {
	var fault interface{ Addr() uintptr } // of a page of a mapped file that could not be read
	return hasCause(err, refusedCauses) || IsFull(err) || errors.As(err, &fault)
}

// hasCause finds one of the numbers in err. Libraries that do not wrap a cause
// leave its text.
func hasCause(err error, causes []syscall.Errno) bool {
	if err == nil {
		return false
	}
	for _, cause := range causes {
		if errors.Is(err, cause) {
			return true
		}
	}
	if errors.As(err, new(syscall.Errno)) {
		return false // another number
	}
	text := err.Error()
	for _, cause := range causes {
		if strings.Contains(text, cause.Error()) {
			return true
		}
	}
	return false
}
