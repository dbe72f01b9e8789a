// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// OpenRegular opens a file that an administrator named for reading. It refuses what is
// no regular file: a pipe or a device may have no end, and O_NONBLOCK has even its
// opening return. It refuses, as CheckParents does, what others could exchange.
func OpenRegular(name string) (*os.File, fs.FileInfo, error) {
	if err := CheckParents(name); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("is not a regular file")}
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, nil, err
	}
	return f, st, nil
}
