// SPDX-License-Identifier: Apache-2.0

package badgerkv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"restante/internal/disk"
	"restante/internal/kv"
)

// A spaceGuard watches over the disk space that the store needs. Badger writes into mapped
// files that have no blocks yet; where the file system has none left, the
// kernel ends the process instead of returning an error. So a commit that
// finds too little room is refused before it begins, and each new log file is
// given its blocks as soon as it is there.
type spaceGuard struct {
	dir      string
	memTable int64        // Badger's MemTableSize
	margin   int64        // what only commits that make the store smaller may use
	tables   func() int64 // how large the tables are that a merge may write anew
	next     int          // number of the next log file
}

const (
	minMemTable = 1 << 20
	maxMemTable = 16 << 20
	maxMerge    = 256 << 20 // more than that is not merged in one go
)

func newSpaceGuard(dir string, memTable int64) (*spaceGuard, error) {
	if memTable == 0 {
		memTable = maxMemTable
	}
	_, total, err := disk.Free(dir)
	if err != nil {
		return nil, err
	}
	if total > 0 {
		memTable = min(memTable, total/128)
	}
	next, largest, err := logs(dir)
	if err != nil {
		return nil, err
	}
	// Badger ends the process when a log of a crash has more than one of its
	// tables has room for.
	memTable = min(maxMemTable, max(minMemTable, memTable, largest))
	r := &spaceGuard{dir: dir, memTable: memTable, next: next}
	// What is in logs now will be counted twice, as tables and as what merging
	// them takes.
	r.margin = 6 * memTable
	return r, r.check(memTable/2, false)
}

// logs says which number the next log file gets and how large a table must be
// for what is in the largest.
func logs(dir string) (next int, largest int64, err error) {
	names, err := logNames(dir)
	if err != nil {
		return 0, 0, err
	}
	next = 1 // Badger counts from 1
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &n); err != nil {
			continue
		}
		next = max(next, n+1)
		size, err := tableOf(name)
		if err != nil {
			return 0, 0, err
		}
		largest = max(largest, size)
	}
	return next, largest, nil
}

// tableOf says how large a table must be for what is in a log. Badger begins a
// log with twice the size of its table, in zeros, and cuts the zeros off when
// it has read it after a crash. Taking the whole of the former would double
// the table, and the room that it needs, with every crash.
func tableOf(log string) (int64, error) {
	f, err := os.Open(log)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	last := make([]byte, min(512, info.Size()))
	if _, err := f.ReadAt(last, info.Size()-int64(len(last))); err != nil {
		return 0, err
	}
	if isZero(last) {
		return info.Size() / 2, nil
	}
	return info.Size(), nil
}

// check says whether n bytes may be written. What makes the store grow is
// refused first, so that there is room left to remove things in.
func (r *spaceGuard) check(n int64, grows bool) error {
	free, total, err := disk.Free(r.dir)
	if err != nil {
		return err
	}
	// A flush and its log, and all that the merges of tables may write before
	// they remove what they have read.
	need := n + 2*r.memTable
	if grows {
		need += r.margin
	}
	if total == 0 || free >= need+maxMerge {
		return nil
	}
	if r.tables != nil {
		need += min(maxMerge, r.tables())
	}
	if free < need {
		return fmt.Errorf("kv: %s: %w: %d KiB free, %d KiB needed", r.dir, kv.ErrFull, free>>10, need>>10)
	}
	return nil
}

// settle looks whether Badger has begun a new log file: its name must be on
// disk before anything in it counts as kept, which Badger does not see to.
func (r *spaceGuard) settle() error {
	fresh := false
	for {
		name := filepath.Join(r.dir, fmt.Sprintf("%05d.mem", r.next))
		if _, err := os.Stat(name); err != nil {
			break
		}
		r.next++
		fresh = true
		// Best effort: without it, room is still asked before each commit.
		if err := r.check(r.memTable+r.memTable/4, true); err == nil {
			_ = disk.Preallocate(name, r.memTable+r.memTable/4)
		}
	}
	if !fresh {
		return nil
	}
	return errors.Join(setBegun(r.dir, r.next-1), disk.SyncDir(r.dir))
}

// begunName is a file with the number of the newest log that may have something
// in it.
const begunName = "BEGUN"

// setBegun notes that log n is begun, before anything in it counts as kept. It
// needs room on the disk only once.
func setBegun(dir string, n int) error {
	f, err := os.OpenFile(filepath.Join(dir, begunName), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%05d\n", n)
	return errors.Join(err, disk.SyncData(f), f.Close())
}

// hasUnbegun says that the newest log has no size, and never had one.
func hasUnbegun(dir string) (bool, error) {
	names, err := logNames(dir)
	if err != nil || len(names) == 0 {
		return false, err
	}
	newest := names[len(names)-1]
	info, err := os.Stat(newest)
	return err == nil && info.Size() == 0 && !isBegun(newest), err
}

// isBegun says whether the log of that name may have something in it. One that
// Badger had made, but not given its size when the process was ended, has not.
func isBegun(name string) bool {
	var n, last int
	if _, err := fmt.Sscanf(filepath.Base(name), "%d.mem", &n); err != nil {
		return true
	}
	b, err := os.ReadFile(filepath.Join(filepath.Dir(name), begunName))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err == nil {
		_, err = fmt.Sscanf(string(b), "%d", &last)
	}
	return err != nil || n <= last
}
