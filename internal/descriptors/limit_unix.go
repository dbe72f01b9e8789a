// SPDX-License-Identifier: Apache-2.0

//go:build unix

package descriptors

import "golang.org/x/sys/unix"

// Limit is the number of files that the process may have open; 0 if it is not
// known. It raises the soft limit to the hard one first.
func Limit() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	if l.Cur < l.Max {
		raised := unix.Rlimit{Cur: l.Max, Max: l.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil { // macOS refuses what is beyond its own limit
			l = raised
		}
	}
	return int(min(uint64(l.Cur), unknown))
}
