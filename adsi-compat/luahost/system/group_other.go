// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package system

import "os/exec"

func setGroup(*exec.Cmd) bool { return false }

func hasGroup(int) bool { return false }

func endGroup(int) {}
