// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"os"
)

// ErrLocked means that somebody else holds the lock, be it in this process.
var ErrLocked = errors.New("locked")

// Lock opens a file, which it makes where there is none, and locks it against
// everybody else who asks by Lock. The lock ends when the file is closed, and
// with the process.
func Lock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: name, Err: err}, f.Close())
	}
	return f, nil
}
