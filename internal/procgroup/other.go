// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package procgroup

import "os/exec"

// Set does nothing and reports false: the system has no process groups.
func Set(*exec.Cmd) bool { return false }

// Has reports false.
func Has(int) bool { return false }

// End does nothing.
func End(int) {}
