// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin && !freebsd && !windows

package disk

import "os"

// Free is not implemented on this system.
func Free(string) (free, total int64, err error) { return 0, 0, nil }

// SyncDir has no portable form.
func SyncDir(string) error { return nil }

func syncFolder(*os.File) error { return nil }

// lock is not implemented on this system.
func lock(*os.File, bool) error { return nil }
