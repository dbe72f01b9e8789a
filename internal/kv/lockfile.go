// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// lockFile has the number of the process that has a folder open for writing. Badger,
// which locks a folder the same way, gives it that name, too.
const lockFile = "LOCK"

// NoteProcess writes the number of this process, for InUseOf, into a folder that it
// has locked. That is best effort: it locks nothing.
func NoteProcess(dir string) {
	_ = os.WriteFile(filepath.Join(dir, lockFile), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o600)
}

// ForgetProcess removes what NoteProcess wrote.
func ForgetProcess(dir string) { _ = os.Remove(filepath.Join(dir, lockFile)) }

// InUseOf is ErrInUse, with the process that has the folder open where that is known.
func InUseOf(dir string) error {
	if text, err := os.ReadFile(filepath.Join(dir, lockFile)); err == nil {
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(text))); err == nil && pid > 0 {
			return &InUse{PID: pid}
		}
	}
	return ErrInUse
}
