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

// A spaceGuard keeps the disk from running full under Badger. Badger writes into
// mapped files that have no blocks yet; if the file system has none left, the
// kernel ends the process instead of returning an error. So a commit is refused
// before it begins if there is too little space, and each new log file gets its
// blocks as soon as it exists.
type spaceGuard struct {
	dir      string
	memTable int64        // Badger's MemTableSize
	margin   int64        // reserved for commits that make the store smaller
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
	// tables holds.
	memTable = min(maxMemTable, max(minMemTable, memTable, largest))
	r := &spaceGuard{dir: dir, memTable: memTable, next: next}
	// The data in logs counts twice: as tables, and as the space to merge them.
	r.margin = 6 * memTable
	return r, r.check(memTable/2, false)
}

// logs returns the number of the next log file and the table size that the
// largest log needs.
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

// tableOf returns the table size that the data of a log needs. Badger begins a
// log with twice the size of its table, in zeros, and cuts the zeros off when
// it has read it after a crash. Taking the whole of the former would double the
// table, and the space that it needs, with every crash.
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

// check returns ErrFull unless n bytes may be written. Commits that grow the
// store are refused first, so that removals still have space.
func (r *spaceGuard) check(n int64, grows bool) error {
	free, total, err := disk.Free(r.dir)
	if err != nil {
		return err
	}
	// A flush and its log, and the output of table merges before their input is
	// removed.
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

// syncNewLog syncs the name of a log file that Badger has begun: no commit in it is
// durable before that, and Badger does not do it. The logs before it hold
// transactions up to last.
func (r *spaceGuard) syncNewLog(last uint64) error {
	fresh := false
	for {
		name := filepath.Join(r.dir, fmt.Sprintf("%05d.mem", r.next))
		if _, err := os.Stat(name); err != nil {
			break
		}
		r.next++
		fresh = true
		// Best effort: check is called before each commit anyway.
		if err := r.check(r.memTable+r.memTable/4, true); err == nil {
			_ = disk.Preallocate(name, r.memTable+r.memTable/4)
		}
	}
	if !fresh {
		return nil
	}
	return errors.Join(begun{r.next - 1, r.next - 1, last}.write(r.dir), disk.SyncDir(r.dir))
}

// begunName is the file that records what is known of the logs.
const begunName = "BEGUN"

// begun records the newest log that may hold commits, and the last transaction of
// the logs below a number. An earlier version recorded only newest.
type begun struct {
	newest int
	below  int
	last   uint64
}

// readBegun reads the record; it is zero where there is none.
func readBegun(dir string) (b begun, err error) {
	text, err := os.ReadFile(filepath.Join(dir, begunName))
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err == nil {
		_, _ = fmt.Sscanf(string(text), "%d %d %d", &b.newest, &b.below, &b.last)
	}
	return b, err
}

// write records b, before a commit in the log newest is durable. It rewrites the
// file in place, and so needs disk space only once.
func (b begun) write(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, begunName), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%05d %05d %020d\n", b.newest, b.below, b.last)
	return errors.Join(err, disk.SyncData(f), f.Close())
}

// wasFlushed reports whether the empty log n may be one that Badger was removing
// when the process ended: it writes a log's transactions to a table, truncates the
// log and then removes it. That is so if the tables, which hold transactions up to
// flushed, have all of the log's. Its last one comes before the first of the
// following logs or, if they have none, is recorded.
func (b begun) wasFlushed(n int, following, flushed uint64) bool {
	switch {
	case following > 0:
		return flushed >= following-1
	case n < b.below && b.last > 0:
		return flushed >= b.last
	}
	return false
}

// hasUnbegun reports whether the newest log has no size, and never had one.
func hasUnbegun(dir string) (bool, error) {
	names, err := logNames(dir)
	if err != nil || len(names) == 0 {
		return false, err
	}
	newest := names[len(names)-1]
	info, err := os.Stat(newest)
	return err == nil && info.Size() == 0 && !isBegun(newest), err
}

// isBegun reports whether the log of that name may hold commits. A log that Badger
// had created but not yet given a size when the process ended does not.
func isBegun(name string) bool {
	b, err := readBegun(filepath.Dir(name))
	return err != nil || logNumber(name) <= b.newest
}

// logNumber returns the number in a log's name.
func logNumber(name string) (n int) {
	_, _ = fmt.Sscanf(filepath.Base(name), "%d.mem", &n) // 0 if Badger did not name it
	return n
}
