// SPDX-License-Identifier: Apache-2.0

package runas

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Supported reports whether Exec works on this system.
const Supported = true

// Exec replaces this process, which is root's, by the same command as u, with the
// groups of u and additions to the environment. The process keeps its number and
// its open streams, and of the rights of root only CAP_NET_BIND_SERVICE, which it
// cannot extend. Exec returns only with an error; the process then must end.
//
// Capabilities are those of a thread: only by an exec do all threads of the new
// process have the ones that were set here.
func Exec(u *user.User, env ...string) error {
	id, err := identityOf(u)
	if err != nil {
		return err
	}
	bin, err := os.Executable()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := id.become(); err != nil {
		return fmt.Errorf("run as %s: %w", u.Username, err)
	}
	env = append(env, "USER="+u.Username, "LOGNAME="+u.Username, "HOME="+u.HomeDir)
	err = syscall.Exec(bin, os.Args, merge(os.Environ(), env))
	if errors.Is(err, unix.EACCES) { // the user cannot enter the folder of the binary
		err = syscall.Exec("/proc/self/exe", os.Args, merge(os.Environ(), env))
	}
	return fmt.Errorf("run %s as %s: %w", bin, u.Username, err)
}

// merge replaces the variables of env that are among added.
func merge(env, added []string) []string {
	for _, variable := range env {
		name, _, _ := strings.Cut(variable, "=")
		set := false
		for _, a := range added {
			set = set || strings.HasPrefix(a, name+"=")
		}
		if !set {
			added = append(added, variable)
		}
	}
	return added
}

// become changes the thread to id. The order matters: each step takes the right to
// do an earlier one.
func (id identity) become() error {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"keep capabilities", func() error { return unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0) }},
		{"bound capabilities", boundCapabilities},
		{"set groups", func() error { return syscall.Setgroups(id.groups) }},
		{"set group", func() error { return syscall.Setgid(id.gid) }},
		{"set user", func() error { return syscall.Setuid(id.uid) }},
		{"set capabilities", keepBindService},
		{"forbid new privileges", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// boundCapabilities takes all others out of the bounding set. A container may
// have withheld the right to do so: no_new_privs forbids to use them anyway.
func boundCapabilities() error {
	for c := uintptr(0); ; c++ {
		if c == unix.CAP_NET_BIND_SERVICE {
			continue
		}
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); {
		case errors.Is(err, unix.EINVAL): // behind the last one that the kernel knows
			return nil
		case err != nil && !errors.Is(err, unix.EPERM):
			return err
		}
	}
}

// keepBindService drops all capabilities but CAP_NET_BIND_SERVICE, and has the
// exec keep that one, if the process has it: a container may have withheld it.
func keepBindService() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var had [2]unix.CapUserData // 64 bits in two halves; ours is in the first
	if err := unix.Capget(&head, &had[0]); err != nil {
		return err
	}
	keep := had[0].Permitted & (1 << unix.CAP_NET_BIND_SERVICE)
	set := [2]unix.CapUserData{{Effective: keep, Permitted: keep, Inheritable: keep}}
	if err := unix.Capset(&head, &set[0]); err != nil || keep == 0 {
		return err
	}
	return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_BIND_SERVICE, 0, 0)
}
