// SPDX-License-Identifier: Apache-2.0

// Package disktest has a file system in memory for the tests of whatever puts
// files on disk: it fails at a chosen step, and after a power cut it has only
// what was synced.
package disktest

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"

	"restante/internal/disk"
)

// ErrFault is the error of the step that fails, unless Disk.Err is set.
var ErrFault = errors.New("injected fault")

// A Disk is a [disk.FS] in memory. The zero value is empty and never fails.
type Disk struct {
	FailAt int   // the step that fails and does nothing, from 1 on; 0: none
	Err    error // what it fails with; nil: ErrFault

	mu      sync.Mutex // guards what follows
	log     []string
	names   map[string]*inode // a folder has no data
	durable map[string]*inode // names that survive a power cut
}

type inode struct {
	dir          bool
	data, synced []byte
}

// step counts a step and says whether it fails. It takes the lock, which the
// caller gives back.
func (d *Disk) step(what string) error {
	d.mu.Lock()
	if d.names == nil {
		d.names, d.durable = map[string]*inode{}, map[string]*inode{}
	}
	d.log = append(d.log, what)
	if len(d.log) != d.FailAt {
		return nil
	}
	if d.Err != nil {
		return d.Err
	}
	return ErrFault
}

// Log lists the steps so far.
func (d *Disk) Log() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.log...)
}

// Files gives the contents of all files by their names.
func (d *Disk) Files() map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return files(d.names, func(n *inode) []byte { return n.data })
}

// AfterPowerCut gives the files that a power cut leaves: those whose name and
// data were synced. With early, all names have reached the disk before it, as
// a file system may do on its own, but no data has.
func (d *Disk) AfterPowerCut(early bool) map[string]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := d.durable
	if early {
		names = d.names
	}
	return files(names, func(n *inode) []byte { return n.synced })
}

func files(names map[string]*inode, data func(*inode) []byte) map[string]string {
	out := map[string]string{}
	for name, n := range names {
		if !n.dir && reachable(names, filepath.Dir(name)) {
			out[name] = string(data(n))
		}
	}
	return out
}

// reachable says whether the folder dir is there, with all above it. "." and
// the root always are.
func reachable(names map[string]*inode, dir string) bool {
	if dir == "." || dir == filepath.Dir(dir) {
		return true
	}
	n := names[dir]
	return n != nil && n.dir && reachable(names, filepath.Dir(dir))
}

// Mkdir is that of disk.FS.
func (d *Disk) Mkdir(dir string, _ fs.FileMode) error {
	defer d.mu.Unlock()
	if err := d.step("mkdir"); err != nil {
		return err
	}
	return d.add(dir, &inode{dir: true})
}

func (d *Disk) add(name string, n *inode) error {
	if d.names[name] != nil {
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if !reachable(d.names, filepath.Dir(name)) {
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	d.names[name] = n
	return nil
}

// Create is that of disk.FS.
func (d *Disk) Create(name string, _ fs.FileMode) (disk.File, error) {
	defer d.mu.Unlock()
	if err := d.step("create"); err != nil {
		return nil, err
	}
	n := &inode{}
	if err := d.add(name, n); err != nil {
		return nil, err
	}
	return &file{d: d, n: n}, nil
}

// Rename is that of disk.FS.
func (d *Disk) Rename(from, to string) error {
	defer d.mu.Unlock()
	if err := d.step("rename"); err != nil {
		return err
	}
	if d.names[from] == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

// Link is that of disk.FS.
func (d *Disk) Link(from, to string) error {
	defer d.mu.Unlock()
	if err := d.step("link"); err != nil {
		return err
	}
	return d.add(to, d.names[from])
}

// Remove is that of disk.FS.
func (d *Disk) Remove(name string) error {
	defer d.mu.Unlock()
	if err := d.step("remove"); err != nil {
		return err
	}
	delete(d.names, name)
	return nil
}

// SyncDir is that of disk.FS.
func (d *Disk) SyncDir(dir string) error {
	defer d.mu.Unlock()
	if err := d.step("sync folder"); err != nil {
		return err
	}
	inDir := func(name string, _ *inode) bool { return filepath.Dir(name) == dir }
	maps.DeleteFunc(d.durable, inDir)
	for name, n := range d.names {
		if inDir(name, n) {
			d.durable[name] = n
		}
	}
	return nil
}

// Exists is that of disk.FS, and no step: it never fails.
func (d *Disk) Exists(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[name] != nil || name == "." || name == filepath.Dir(name)
}

type file struct {
	d  *Disk
	n  *inode
	at int
}

func (f *file) Write(p []byte) (int, error) {
	defer f.d.mu.Unlock()
	if err := f.d.step("write"); err != nil {
		return 0, err
	}
	f.n.data = append(f.n.data[:f.at:f.at], p...)
	f.at += len(p)
	return len(p), nil
}

func (f *file) Read(p []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.at >= len(f.n.data) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[f.at:])
	f.at += n
	return n, nil
}

// Seek only goes to the start, as who verifies a file does.
func (f *file) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	f.at = 0
	return 0, nil
}

func (f *file) Sync() error {
	defer f.d.mu.Unlock()
	if err := f.d.step("sync"); err != nil {
		return err
	}
	f.n.synced = append([]byte{}, f.n.data...)
	return nil
}

func (f *file) Close() error {
	defer f.d.mu.Unlock()
	return f.d.step("close")
}
