// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"restante/internal/disk"
)

// A volume is the folder that the spool works in. Tests use one that fails and
// one that forgets what was not synced.
type volume interface {
	Open(name string, create bool) (file, error) // create: an existing file is an error
	Rename(from, to string) error
	Remove(name string) error
	List() ([]string, error) // all but the owner's file
	Sync() error             // makes names durable
}

// space reports how much of a disk is free, and its size; 0 for one without a
// limit.
type space func() (free, total int64, err error)

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error // makes data durable
	Size() (int64, error)
}

type folder string

func (d folder) path(name string) string { return filepath.Join(string(d), name) }

func (d folder) Open(name string, create bool) (file, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(d.path(name), flags, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d folder) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d folder) Remove(name string) error     { return os.Remove(d.path(name)) }
func (d folder) Sync() error                  { return disk.SyncDir(string(d)) }

func (d folder) Free() (free, total int64, err error) { return disk.Free(string(d)) }

func (d folder) List() ([]string, error) {
	f, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	names = slices.DeleteFunc(names, func(name string) bool { return name == ownerName })
	return names, errors.Join(err, f.Close())
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return disk.SyncData(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
