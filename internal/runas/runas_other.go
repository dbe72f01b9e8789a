// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package runas

import "os/user"

// Supported reports whether Exec works on this system.
const Supported = false

// Exec is not available on this system.
func Exec(*user.User, ...string) error { return ErrUnsupported }
