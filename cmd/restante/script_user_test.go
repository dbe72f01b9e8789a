// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// as USER COMMAND [ARG]...: the command, run by another user of the machine. It
// takes root.
func as(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: as USER COMMAND [ARG]...")
	}
	who, err := user.Lookup(args[0])
	ts.Check(err)
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	ts.Check(err)
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	ts.Check(err)
	bin, err := lookPath(ts.Getenv("PATH"), args[1])
	ts.Check(err)
	bin, err = filepath.EvalSymlinks(bin)
	ts.Check(err)
	// The folders of a test are for its user alone.
	for _, name := range []string{ts.MkAbs("x"), bin} {
		for dir := filepath.Dir(name); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
			st, err := os.Stat(dir)
			ts.Check(err)
			ts.Check(os.Chmod(dir, st.Mode()|0o011))
		}
	}
	cmd := exec.Command(bin, args[2:]...)
	cmd.Args[0] = args[1] // the test's binary is the command that it is called
	cmd.Dir = "/"
	cmd.Env = []string{"RESTANTE_DATA=" + ts.Getenv("RESTANTE_DATA"), "PATH=" + ts.Getenv("PATH"), "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	fmt.Fprint(ts.Stdout(), stdout.String())
	fmt.Fprint(ts.Stderr(), stderr.String())
	if (err != nil) != neg {
		ts.Fatalf("as %s: %v", args[0], err)
	}
}
