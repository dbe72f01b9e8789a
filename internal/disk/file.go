// SPDX-License-Identifier: Apache-2.0

// Package disk puts files on disk durably, one way for all, and has
// the calls that differ by system: free space, syncing data and names, locking a
// file, and telling the system's errors from damage. It knows nothing of what the
// files hold.
package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// An FS has the steps that put a file on disk. A nil FS is the system's; tests
// use one that fails, or that forgets what was not synced.
type FS interface {
	Mkdir(dir string, perm fs.FileMode) error
	Create(name string, perm fs.FileMode) (File, error) // fs.ErrExist if the name is taken
	Rename(from, to string) error
	Link(from, to string) error // fs.ErrExist if the name is taken
	Remove(name string) error
	SyncDir(dir string) error
	Exists(name string) bool
}

// A File is what Create returns.
type File interface {
	io.ReadWriteSeeker
	Sync() error
	Close() error
}

// WriteFile makes name hold what write writes, and replaces a file of that name.
// When it returns nil, the file survives a power cut. After an error name is as
// it was before, or, if only the sync of the folder failed, the new file stands
// in the place of an old one. The reads and seeks are for a writer that verifies
// what it wrote.
func WriteFile(fsys FS, name string, perm fs.FileMode, write func(io.ReadWriteSeeker) error) error {
	fsys = orSystem(fsys)
	return put(fsys, name, perm, write, func(tmp string) (fresh bool, err error) {
		fresh = !fsys.Exists(name)
		return fresh, fsys.Rename(tmp, name)
	})
}

// CreateFile is WriteFile for a name that must not be taken: the error is then
// fs.ErrExist.
func CreateFile(fsys FS, name string, perm fs.FileMode, write func(io.ReadWriteSeeker) error) error {
	fsys = orSystem(fsys)
	if fsys.Exists(name) {
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	return put(fsys, name, perm, write, func(tmp string) (fresh bool, err error) {
		// A link fails when another process took the name; a rename replaces it.
		err = fsys.Link(tmp, name)
		switch {
		case err == nil:
			_ = fsys.Remove(tmp) // best effort: name has the file
			return true, nil
		case errors.Is(err, fs.ErrExist):
			return false, err
		}
		return true, fsys.Rename(tmp, name) // not every file system has links
	})
}

// put writes a file under a temporary name, which publish changes to the final
// one. publish reports whether there was no file of the final name.
func put(fsys FS, name string, perm fs.FileMode, write func(io.ReadWriteSeeker) error, publish func(tmp string) (bool, error)) (err error) {
	dir := filepath.Dir(name)
	// Create refuses a name that is taken: in a folder that others can write,
	// no link of theirs is followed.
	tmp := filepath.Join(dir, fmt.Sprintf("tmp-%016x.part", rand.Uint64()))
	defer func() { err = withName(err, tmp, name) }()
	f, err := fsys.Create(tmp, perm)
	if err != nil {
		return err
	}
	leftover := tmp
	defer func() {
		if err != nil && leftover != "" {
			_ = fsys.Remove(leftover) // best effort
		}
	}()
	if err := errors.Join(fill(f, write), f.Close()); err != nil {
		return err
	}
	fresh, err := publish(tmp)
	if err != nil {
		return err
	}
	if leftover = ""; fresh {
		leftover = name
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// withName is an error about the temporary file of a file, with the name that the
// caller knows.
func withName(err error, tmp, name string) error {
	if err == nil || !strings.Contains(err.Error(), tmp) {
		return err
	}
	if e, ok := err.(*os.LinkError); ok {
		return &fs.PathError{Op: e.Op, Path: name, Err: e.Err}
	}
	return namedError{strings.ReplaceAll(err.Error(), tmp, name), err}
}

type namedError struct {
	text string
	err  error
}

func (e namedError) Error() string { return e.text }
func (e namedError) Unwrap() error { return e.err }

func fill(f File, write func(io.ReadWriteSeeker) error) error {
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// CheckWhole returns an error if another program is not done with f, as far as the
// system says so: it has the file open for writing, or under a second name.
func CheckWhole(f *os.File) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case hasOtherName(info):
		return fmt.Errorf("%s has a second name: a link", f.Name())
	case isWritten(f):
		return fmt.Errorf("%s is open for writing", f.Name())
	}
	return nil
}

// Bytes is a writer of b for WriteFile.
func Bytes(b []byte) func(io.ReadWriteSeeker) error {
	return func(w io.ReadWriteSeeker) error { _, err := w.Write(b); return err }
}

// Copy is a writer of all that r gives, for WriteFile.
func Copy(r io.Reader) func(io.ReadWriteSeeker) error {
	return func(w io.ReadWriteSeeker) error {
		buf := bufio.NewWriterSize(w, 64<<10)
		_, err := io.Copy(buf, r)
		return errors.Join(err, buf.Flush())
	}
}

// MkdirAll makes dir and the folders above it that are missing. When it returns
// nil, the new ones survive a power cut.
func MkdirAll(fsys FS, dir string, perm fs.FileMode) error {
	fsys, dir = orSystem(fsys), filepath.Clean(dir)
	if fsys.Exists(dir) {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := MkdirAll(fsys, above, perm); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(above)
}

// Mkdir makes a folder with perm, whatever the umask.
func Mkdir(dir string, perm fs.FileMode) error { return system{}.Mkdir(dir, perm) }

func orSystem(fsys FS) FS {
	if fsys == nil {
		return system{}
	}
	return fsys
}

type system struct{}

func (system) Rename(from, to string) error { return os.Rename(from, to) }
func (system) Link(from, to string) error   { return os.Link(from, to) }
func (system) Remove(name string) error     { return os.Remove(name) }
func (system) SyncDir(dir string) error     { return SyncDir(dir) }

func (system) Exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

func (system) Create(name string, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err // not f: a nil *os.File is not a nil File
	}
	return exact(f, perm)
}

// exact gives a new file the mode that was asked for, whatever the umask.
func exact(f *os.File, perm fs.FileMode) (File, error) {
	if perm&0o077 != 0 {
		if err := f.Chmod(perm); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// ErrLocked means that the lock is held, by another process or by this one.
var ErrLocked = errors.New("locked")

// Lock opens a file, creates it if there is none, and locks it against other calls
// of Lock. The lock ends when the file is closed, and with the process.
func Lock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return locked(f, false)
}

// LockFolder locks a folder against other calls of LockFolder, or if shared against
// those that are not shared. It writes nothing. The lock ends as that of Lock.
func LockFolder(dir string, shared bool) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return locked(f, shared)
}

func locked(f *os.File, shared bool) (*os.File, error) {
	if err := lock(f, shared); err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: f.Name(), Err: err}, f.Close())
	}
	return f, nil
}
