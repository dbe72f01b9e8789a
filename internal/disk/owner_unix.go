// SPDX-License-Identifier: Apache-2.0

//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// MakePrivate has every file and folder that this process makes from now on for
// its user alone, but for those that this package is told to make for others.
func MakePrivate() { syscall.Umask(0o077) }

func (system) Mkdir(dir string, perm fs.FileMode) error {
	if err := os.Mkdir(dir, perm); err != nil || perm&0o077 == 0 {
		return err
	}
	return os.Chmod(dir, perm) // whatever the umask
}

// CheckPrivate returns an error, with the command that mends it, if others can
// change what is in a folder: by its mode, or because it is theirs. A folder of
// root is nobody else's.
func CheckPrivate(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	uid, gid := owner(info)
	if me := os.Geteuid(); uid != 0 && uid != me {
		return fmt.Errorf("%s belongs to another user (%d:%d): run this as that user, or: chown -R %d %s", dir, uid, gid, me, dir)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be changed by other users (mode %#o): chmod go-w %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// CheckSecret returns an error, with the command that mends it, if others can read
// a file or change it.
func CheckSecret(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s may be read by others (mode %#o): chmod 600 %s", file, info.Mode().Perm(), file)
	}
	return nil
}

func owner(info os.FileInfo) (uid, gid int) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return os.Geteuid(), os.Getegid()
	}
	return int(st.Uid), int(st.Gid)
}

// ActAsOwner has root work as the owner of a folder until restore, so that the
// files that it makes there are not root's. It does nothing for other users, and
// for a folder of root. The real user stays: an answer who calls does not change.
func ActAsOwner(dir string) (restore func(), err error) {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return func() {}, err
	}
	uid, gid := owner(info)
	if uid == 0 {
		return func() {}, nil
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("groups of this process: %w", err)
	}
	restore = func() {
		_ = syscall.Seteuid(0) // the real user is root: the system allows it
		_ = syscall.Setegid(os.Getgid())
		_ = syscall.Setgroups(groups)
	}
	for _, step := range []func() error{
		func() error { return syscall.Setgroups([]int{gid}) },
		func() error { return syscall.Setegid(gid) },
		func() error { return syscall.Seteuid(uid) },
	} {
		if err := step(); err != nil {
			restore()
			return nil, fmt.Errorf("work as the owner of %s (%d:%d): %w", dir, uid, gid, err)
		}
	}
	return restore, nil
}

// HandOver gives a folder of root to a user if it is empty. It reports whether the
// folder is that user's then. The folder of a link keeps its owner.
func HandOver(dir string, uid, gid int) (bool, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return false, err
	}
	if has, _ := owner(info); has != 0 || has == uid {
		return has == uid, nil
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if _, err := f.Readdirnames(1); !errors.Is(err, io.EOF) {
		return false, err
	}
	return true, f.Chown(uid, gid)
}
