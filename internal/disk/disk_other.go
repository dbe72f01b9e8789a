// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin && !freebsd && !windows

package disk

import "os"

// Free does not know.
func Free(string) (free, total int64, err error) { return 0, 0, nil }

func isQuota(error) bool { return false }

// SyncDir has no portable form.
func SyncDir(string) error { return nil }

// lock is not known how to do.
func lock(*os.File) error { return nil }
