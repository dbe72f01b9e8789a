// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// shortTemp is a folder with a short name.
func shortTemp() string {
	if dir := os.TempDir(); len(dir) < maxSocket/2 {
		return dir
	}
	return os.Getenv("SystemRoot") + `\Temp`
}

// isRefused tells a socket without a listener. A file that is left of one
// gives WSAECONNREFUSED, a missing one WSAEINVAL or a network error.
func isRefused(err error) bool {
	for _, code := range []windows.Errno{windows.WSAECONNREFUSED, windows.WSAEINVAL, windows.WSAENETUNREACH} {
		if errors.Is(err, code) {
			return true
		}
	}
	return errors.Is(err, windows.ERROR_FILE_NOT_FOUND) || errors.Is(err, windows.ERROR_PATH_NOT_FOUND)
}
