// SPDX-License-Identifier: Apache-2.0

//go:build !windows && !darwin

package datadir

import (
	"log/slog"

	"restante/internal/kv"
	"restante/internal/kv/badgerkv"
)

// openKV opens the key-value store in a folder, to be read only or to be written.
func openKV(dir string, log *slog.Logger, readOnly bool) (kv.DB, error) {
	return badgerkv.Open(dir, badgerkv.Options{Log: log, ReadOnly: readOnly})
}
