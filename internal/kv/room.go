// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"fmt"
	"os"
	"path/filepath"

	"restante/internal/disk"
)

// A room watches over the room that the store needs. Badger writes into mapped
// files that have no blocks yet; where the file system has none left, the
// kernel ends the process instead of returning an error. So a commit that
// finds too little room is refused before it begins, and each new log file is
// given its blocks as soon as it is there.
type room struct {
	dir      string
	memTable int64 // Badger's MemTableSize
	reserve  int64 // how much must stay free
	next     int   // number of the next log file
}

const (
	minMemTable = 1 << 20
	maxMemTable = 16 << 20
)

func newRoom(dir string) (*room, error) {
	r := &room{dir: dir, memTable: maxMemTable, next: 1} // Badger counts from 1
	_, total, err := disk.Free(dir)
	if err != nil {
		return nil, err
	}
	if total > 0 {
		r.memTable = min(maxMemTable, max(minMemTable, total/128))
	}
	// Two tables being written to, and their logs: what a flush and a
	// compaction under way may still take.
	r.reserve = 2 * r.memTable
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &n); err == nil {
			r.next = max(r.next, n+1)
		}
	}
	if err := r.check(r.memTable / 2); err != nil {
		return nil, err
	}
	return r, nil
}

// check says whether n bytes may be written.
func (r *room) check(n int64) error {
	free, total, err := disk.Free(r.dir)
	if err != nil {
		return err
	}
	if total > 0 && free < n+r.reserve {
		return fmt.Errorf("kv: %s: %w: %d KiB free, %d KiB must stay free", r.dir, ErrFull, free>>10, r.reserve>>10)
	}
	return nil
}

// settle looks whether Badger has begun a new log file: its name must be on
// disk before anything in it counts as kept, which Badger does not see to.
func (r *room) settle() error {
	fresh := false
	for {
		name := filepath.Join(r.dir, fmt.Sprintf("%05d.mem", r.next))
		if _, err := os.Stat(name); err != nil {
			break
		}
		r.next++
		fresh = true
		// Best effort: without it, room is still asked before each commit.
		if err := r.check(r.memTable + r.memTable/4); err == nil {
			_ = disk.Preallocate(name, r.memTable+r.memTable/4)
		}
	}
	if !fresh {
		return nil
	}
	return disk.SyncDir(r.dir)
}
