// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package kv

// preallocate is only needed where a mapped file may have holes, and only
// known how to do on Linux.
func preallocate(string, int64) error { return nil }
