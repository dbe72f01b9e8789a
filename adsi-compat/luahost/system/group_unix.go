// SPDX-License-Identifier: Apache-2.0

//go:build unix

package system

import (
	"os/exec"
	"syscall"
)

// setGroup puts a program that is not yet started into a process group, which has
// its number and ends with its context.
func setGroup(cmd *exec.Cmd) bool {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return true
}

func hasGroup(group int) bool { return syscall.Kill(-group, 0) == nil }

func endGroup(group int) { _ = syscall.Kill(-group, syscall.SIGKILL) } // it may have ended
