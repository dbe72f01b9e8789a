// SPDX-License-Identifier: Apache-2.0

// Package scripts carries the administration scripts beside it.
package scripts

import "embed"

// Files has each script by its file's name.
//
//go:embed *.lua
var Files embed.FS
