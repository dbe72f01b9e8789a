// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"restante/internal/disk"
	"restante/internal/kv"
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

// ownerName is the file that is locked while a spool has the folder. It holds
// the name of the owner.
const ownerName = "owner"

// A folderLock gives one spool exclusive use of a folder.
type folderLock struct{ f *os.File }

// lockFolder locks a folder for owner. A new index would take another queue's
// files for mail that it had lost, and send it again: such a folder is refused.
func lockFolder(ctx context.Context, dir string, db kv.DB, owner string) (_ *folderLock, err error) {
	name := filepath.Join(dir, ownerName)
	f, err := lockOwnerFile(ctx, name, owner)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	before, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	was := strings.TrimSpace(string(before))
	if owner == "" || was == owner {
		return &folderLock{f}, nil
	}
	if was != "" {
		if err := checkForeign(dir, db, was); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(f.Truncate(0), writeOwner(f, owner+"\n"), disk.SyncDir(dir)); err != nil {
		return nil, err
	}
	return &folderLock{f}, nil
}

// Another queue that tries a folder has its lock while it reads the owner's
// name. The owner waits for that.
const (
	ownerWait = 5 * time.Second
	ownerPoll = 10 * time.Millisecond
)

// lockOwnerFile locks the owner's file.
func lockOwnerFile(ctx context.Context, name, owner string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, ownerWait)
	defer cancel()
	for {
		f, err := disk.Lock(name)
		if !errors.Is(err, disk.ErrLocked) {
			return f, err
		}
		who := readOwner(name)
		if who == owner {
			select {
			case <-time.After(ownerPoll):
				continue
			case <-ctx.Done():
			}
		}
		return nil, fmt.Errorf("%w by %s", ErrInUse, who)
	}
}

func writeOwner(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Sync())
}

// readOwner returns the name of the owner.
func readOwner(name string) string {
	b, err := os.ReadFile(name)
	if who := strings.TrimSpace(string(b)); who != "" && err == nil {
		return who
	}
	return "another queue"
}

// checkForeign refuses a folder with another queue's files, unless the index
// has been used with it.
func checkForeign(dir string, db kv.DB, was string) error {
	if _, ok, err := db.Get([]byte(lastKey)); ok || err != nil {
		return err
	}
	names, err := folder(dir).List()
	if err != nil {
		return err
	}
	for _, name := range names {
		if parseSegmentName(name) != 0 || strings.HasSuffix(name, fileSuffix) {
			return fmt.Errorf("%w, which was that of %s: name another folder, or remove the file %s in it to have it all sent", ErrForeign, was, ownerName)
		}
	}
	return nil
}

// unlock releases the folder. A spool without a folder has a nil lock.
func (c *folderLock) unlock() error {
	if c == nil {
		return nil
	}
	return c.f.Close()
}
