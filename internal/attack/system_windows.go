// SPDX-License-Identifier: Apache-2.0

package main

import "os/exec"

const systemHasLoopbackNet = true

// runAs is never called: nobody is root here.
func runAs(*exec.Cmd, int) {}
