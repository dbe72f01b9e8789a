// SPDX-License-Identifier: Apache-2.0

//go:build windows || darwin

package datadir

import (
	"log/slog"

	"restante/internal/kv"
	"restante/internal/kv/boltkv"
)

// openKV opens the key-value store in a folder, to be read only or to be written. Badger's commits are not on stable
// storage here: its msync does nothing on Windows, and does not empty the cache of
// the drive on macOS.
func openKV(dir string, log *slog.Logger, readOnly bool) (kv.DB, error) {
	return boltkv.Open(dir, boltkv.Options{Log: log, ReadOnly: readOnly})
}
