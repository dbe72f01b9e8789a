// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"runtime"
)

// defaultData is the data folder without --data: the machine's for root, else
// the user's own.
func defaultData() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "Restante")
	}
	if os.Getuid() == 0 {
		return "/var/lib/restante"
	}
	home, err := os.UserHomeDir()
	switch {
	case err != nil:
		return "/var/lib/restante"
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Application Support", "restante")
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "restante")
	}
	return filepath.Join(home, ".local", "share", "restante")
}
