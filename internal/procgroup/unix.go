// SPDX-License-Identifier: Apache-2.0

//go:build unix

package procgroup

import (
	"os/exec"
	"syscall"
)

// Set puts a program that is not yet started into a process group, which has
// its number and ends with its context.
func Set(cmd *exec.Cmd) bool {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return true
}

// Has reports whether a process of the group runs.
func Has(group int) bool { return syscall.Kill(-group, 0) == nil }

// End ends all processes of the group.
func End(group int) { _ = syscall.Kill(-group, syscall.SIGKILL) } // it may have ended
