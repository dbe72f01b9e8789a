// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// systemHasLoopbackNet says that all of 127.0.0.0/8 is this machine.
const systemHasLoopbackNet = runtime.GOOS == "linux"

// runAs starts cmd as another user, which root may.
func runAs(cmd *exec.Cmd, uid int) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}
