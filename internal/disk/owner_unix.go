// SPDX-License-Identifier: Apache-2.0

//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

// CheckPrivate returns an error, with what to do, if others can change what is in a
// folder: by its mode, or because it is theirs. A folder of root is nobody else's.
func CheckPrivate(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	uid, gid := owner(info)
	if uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (%d:%d): run this as that user", dir, uid, gid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be changed by other users (mode %#o): chmod go-w %s", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// CheckParents returns an error, with the command that mends it, if other users can put
// a folder, file or link in the place of name or of a folder above it. What name
// itself is does not count: a Drop folder may be another program's.
func CheckParents(name string) error {
	name, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	const maxLinks = 40
	at, rest, shared := "/", strings.Split(name, "/"), false // shared: others may put names into at
	for links := 0; len(rest) > 0; {
		element := rest[0]
		switch rest = rest[1:]; element {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		if shared, err = checkAbove(at, name); err != nil {
			return err
		}
		next := filepath.Join(at, element)
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil // it is made by us, or is missed by who needs it
		}
		if err != nil {
			return err
		}
		if uid, _ := owner(info); shared && !isTrusted(uid) {
			return fmt.Errorf("%s belongs to another user (%d), in a folder where all users may make files: name another one", next, uid)
		}
		if info.IsDir() {
			at = next
			continue
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return nil
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if links++; links > maxLinks {
			return &os.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return nil
}

// checkAbove checks one folder above name. It reports whether all may put names of
// their own into it, as into /tmp.
func checkAbove(dir, name string) (shared bool, err error) {
	if dir == "/" {
		return false, nil
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return false, err
	}
	uid, gid := owner(info)
	if !isTrusted(uid) {
		return false, fmt.Errorf("%s belongs to another user (%d), who can exchange %s: name a folder elsewhere, or: chown %d %s", dir, uid, name, os.Geteuid(), dir)
	}
	mode := info.Mode()
	others := mode.Perm()&0o002 != 0 || mode.Perm()&0o020 != 0 && !isTrustedGroup(gid)
	if others && mode&fs.ModeSticky == 0 {
		return false, fmt.Errorf("%s can be changed by other users (mode %#o), who can exchange %s: chmod go-w %s", dir, mode.Perm(), name, dir)
	}
	return others, nil
}

// isTrusted reports whether a user may exchange our folders: this one and root,
// which has another number in a user namespace that leaves it out.
func isTrusted(uid int) bool {
	if uid == 0 || uid == os.Geteuid() {
		return true
	}
	root, err := os.Lstat("/")
	if err != nil {
		return false
	}
	has, _ := owner(root)
	return uid == has
}

// isTrustedGroup reports whether a group is root's, that of the administrators of
// macOS, or the private one of this user, which has the user's number.
func isTrustedGroup(gid int) bool {
	const macOSAdmin = 80
	return gid == 0 || gid == os.Geteuid() || runtime.GOOS == "darwin" && gid == macOSAdmin
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

// hasOtherName reports whether a file has a second name.
func hasOtherName(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
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
