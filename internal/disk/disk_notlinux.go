// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package disk

import "os"

// Preallocate does nothing: it is only implemented on Linux.
func Preallocate(string, int64) error { return nil }

func isWritten(*os.File) bool { return false }

// SyncData makes what was written to f durable.
func SyncData(f *os.File) error { return f.Sync() }
