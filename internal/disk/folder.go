// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLink means that a link, or no folder at all, stands where a folder is wanted.
var ErrLink = errors.New("is not a folder, but a link or a file")

// A Folder is an open folder whose files are reached through it alone: whatever
// takes its name later, and whatever link another user puts into it, nothing else
// is read or written. Close it after use.
type Folder struct {
	fsys FS
	dir  string   // names begin here in fsys
	root *os.Root // nil with an FS of a test
}

// MakeFolder opens a folder and makes it, with what is missing above it, if it is
// not there. The error is ErrLink where its name is that of a link, and that of
// CheckParents where others can exchange it.
func MakeFolder(fsys FS, dir string, perm fs.FileMode) (*Folder, error) {
	if fsys == nil {
		if err := CheckParents(dir); err != nil {
			return nil, err
		}
	}
	if err := MkdirAll(fsys, dir, perm); err != nil {
		return nil, err
	}
	if fsys != nil {
		return &Folder{fsys: fsys, dir: dir}, nil
	}
	return OpenFolder(dir)
}

// OpenFolder is MakeFolder for a folder that must be there.
func OpenFolder(dir string) (*Folder, error) {
	if err := CheckParents(dir); err != nil {
		return nil, err
	}
	link := func(err error) error { return &fs.PathError{Op: "open", Path: dir, Err: err} }
	named, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if !named.IsDir() {
		return nil, link(ErrLink)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(named, opened) {
		err = link(ErrLink) // exchanged in between
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Folder{fsys: rootFS{root}, dir: ".", root: root}, nil
}

// CheckLink gives ErrLink where a name is that of a link or a file; a folder may be
// missing.
func CheckLink(dir string) error {
	named, err := os.Lstat(dir)
	if err == nil && !named.IsDir() {
		err = &fs.PathError{Op: "open", Path: dir, Err: ErrLink}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Close closes the folder.
func (f *Folder) Close() error {
	if f.root == nil {
		return nil
	}
	return f.root.Close()
}

// WriteFile is [WriteFile] for a name in the folder.
func (f *Folder) WriteFile(name string, perm fs.FileMode, write func(io.ReadWriteSeeker) error) error {
	return WriteFile(f.fsys, filepath.Join(f.dir, name), perm, write)
}

// CreateFile is [CreateFile] for a name in the folder.
func (f *Folder) CreateFile(name string, perm fs.FileMode, write func(io.ReadWriteSeeker) error) error {
	return CreateFile(f.fsys, filepath.Join(f.dir, name), perm, write)
}

// Names lists the folder.
func (f *Folder) Names() ([]fs.DirEntry, error) { return fs.ReadDir(f.root.FS(), ".") }

// Open opens a regular file of the folder for reading.
func (f *Folder) Open(name string) (*os.File, error) { return f.open(name, os.O_RDONLY) }

// Append opens a regular file of the folder for reading and for writing at its
// end, and makes it if it is not there.
func (f *Folder) Append(name string, perm fs.FileMode) (*os.File, error) {
	const mode = os.O_RDWR | os.O_APPEND
	file, err := f.open(name, mode)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	file, err = f.root.OpenFile(name, mode|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	_, err = exact(file, perm)
	return file, err
}

func (f *Folder) open(name string, mode int) (*os.File, error) {
	named, err := f.root.Lstat(name)
	if err == nil && !named.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("is not a regular file")}
	}
	if err != nil {
		return nil, err
	}
	// Without it, a FIFO that takes the name in between would have the call wait.
	file, err := f.root.OpenFile(name, mode|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	opened, err := file.Stat()
	if err == nil && !os.SameFile(named, opened) {
		err = fmt.Errorf("open %s: it was exchanged meanwhile", name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// ReadFile reads a regular file of the folder.
func (f *Folder) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(file)
	return b, errors.Join(err, file.Close())
}

// Remove removes a file of the folder.
func (f *Folder) Remove(name string) error { return f.root.Remove(name) }

// Rename gives a file another name in the folder, in place of a file that has it.
func (f *Folder) Rename(from, to string) error { return f.root.Rename(from, to) }

// Lstat describes a file of the folder, and not what a link leads to.
func (f *Folder) Lstat(name string) (fs.FileInfo, error) { return f.root.Lstat(name) }

// Sync has the names of the files survive a power cut.
func (f *Folder) Sync() error { return f.fsys.SyncDir(f.dir) }

// rootFS is the system's FS in an open folder.
type rootFS struct{ *os.Root }

func (r rootFS) Create(name string, perm fs.FileMode) (File, error) {
	f, err := r.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return exact(f, perm)
}

func (r rootFS) SyncDir(dir string) error {
	f, err := r.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(f), f.Close())
}

func (r rootFS) Exists(name string) bool {
	_, err := r.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
