// SPDX-License-Identifier: Apache-2.0

//go:build wine

package winetest

import _ "unsafe" // go:linkname

// Wine 8 lacks the first of the two ways in which os.RemoveAll removes a file on
// Windows, and Go takes the second only where Windows says that it lacks the first.
//
//go:linkname otherWay internal/syscall/windows.TestDeleteatFallback
var otherWay bool

func init() { otherWay = true }
