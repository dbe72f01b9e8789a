// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"os"
)

// ErrLocked means that the lock is held, by another process or by this one.
var ErrLocked = errors.New("locked")

// Lock opens a file, creates it if there is none, and locks it against other calls
// of Lock. The lock ends when the file is closed, and with the process.
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
