// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// A disk watches over the room that the store needs. Badger writes into mapped
// files that have no blocks yet; where the file system has none left, the
// kernel ends the process instead of returning an error. So a commit that
// finds too little room is refused before it begins, and each new log file is
// given its blocks as soon as it is there.
type disk struct {
	dir      string
	memTable int64 // Badger's MemTableSize
	reserve  int64 // how much must stay free
	next     int   // number of the next log file
}

const (
	minMemTable = 1 << 20
	maxMemTable = 16 << 20
)

func newDisk(dir string) (*disk, error) {
	d := &disk{dir: dir, memTable: maxMemTable}
	_, total, err := freeSpace(dir)
	if err != nil {
		return nil, err
	}
	if total > 0 {
		d.memTable = min(maxMemTable, max(minMemTable, total/128))
	}
	// Two tables being written to, and their logs: what a flush and a
	// compaction under way may still take.
	d.reserve = 2 * d.memTable
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &n); err == nil {
			d.next = max(d.next, n+1)
		}
	}
	if err := d.room(d.memTable / 2); err != nil {
		return nil, err
	}
	return d, nil
}

// room says whether n bytes may be written.
func (d *disk) room(n int64) error {
	free, total, err := freeSpace(d.dir)
	if err != nil {
		return err
	}
	if total > 0 && free < n+d.reserve {
		return fmt.Errorf("kv: %s: %w: %d KiB free, %d KiB must stay free", d.dir, ErrFull, free>>10, d.reserve>>10)
	}
	return nil
}

// settle looks whether Badger has begun a new log file: its name must be on
// disk before anything in it counts as kept, which Badger does not see to.
func (d *disk) settle() error {
	fresh := false
	for {
		name := filepath.Join(d.dir, fmt.Sprintf("%05d.mem", d.next))
		if _, err := os.Stat(name); err != nil {
			break
		}
		d.next++
		fresh = true
		// Best effort: without it, room is still asked before each commit.
		if err := d.room(d.memTable + d.memTable/4); err == nil {
			_ = preallocate(name, d.memTable+d.memTable/4)
		}
	}
	if !fresh {
		return nil
	}
	return syncDir(d.dir)
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || isQuota(err) }
