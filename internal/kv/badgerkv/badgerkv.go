// SPDX-License-Identifier: Apache-2.0

// Package badgerkv keeps the ordered map of package kv in Badger. When Commit
// returns nil, the ops are synced to the log. After a crash the store opens with
// all acknowledged commits, and every other one whole or not at all.
//
// Badger tolerates damage that loses data, so Open checks every table and log
// before Badger does. Commits are refused before the disk is full.
package badgerkv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"restante/internal/disk"
	"restante/internal/kv"
)

// Options adjusts Open. The zero value is the production setting.
type Options struct {
	Log *slog.Logger // diagnostics; nil: none

	// MemTable is the size in bytes at which data in memory becomes a table; a
	// few times as much is in use under load. From 1 to 16 MiB; 0: 16 MiB, less
	// on a small disk.
	MemTable int64

	// ReadOnly opens a store that is there and writes nothing. Several processes may
	// do so at once, while none has it open for writing.
	ReadOnly bool

	beforeTxn func() error // for tests: an error is that of the disk
}

// Every key in Badger begins with one of these, so that callers may use any
// key at all, the empty one included.
const (
	dataPrefix  = 'u'
	stagePrefix = 's' // see stage.go
)

// A store keeps its pairs in Badger.
type store struct {
	dir    string
	lock   *os.File // the folder
	bdb    *badger.DB
	space  *spaceGuard // nil of a store to read only
	commit *committer  // nil of a store to read only
	last   uint64      // version of the newest transaction, counted by the committer

	beforeTxn func() error

	view    sync.RWMutex   // guards what follows
	newest  *badger.Txn    // at the version that readers see, which is no half of a staged batch
	scans   map[uint64]int // how many snapshots there are, by the version that they are of
	closed  atomic.Bool    // set under view
	readers sync.WaitGroup // scans under way; grows only under view and not closed
	once    sync.Once
	closing error
}

// Open opens the store in dir and creates it if there is none. A large commit that
// a crash cut off is finished if its marker was written, and discarded otherwise.
// The error is ErrInUse while another process has the store open, ErrDamaged if
// its files are damaged, ErrFull if the disk has too little space; each names the
// folder. With ReadOnly it is ErrUnclean if the store was not closed.
func Open(dir string, opts Options) (kv.DB, error) {
	db, err := open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("kv: open %s: %w", dir, err)
	}
	return db, nil
}

// open locks the folder before it looks at its files: those of a store that another
// process has open look damaged.
func open(dir string, opts Options) (db *store, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if !opts.ReadOnly {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	lock, err := disk.LockFolder(dir, opts.ReadOnly)
	if errors.Is(err, disk.ErrLocked) {
		return nil, kv.InUseOf(dir)
	}
	if err != nil {
		return nil, err
	}
	if opts.ReadOnly {
		db, err = openToRead(dir, opts)
	} else {
		kv.NoteProcess(dir)
		db, err = openToWrite(dir, opts)
	}
	if err != nil {
		return nil, errors.Join(err, unlock(dir, lock, opts.ReadOnly))
	}
	db.lock = lock
	return db, nil
}

func unlock(dir string, lock *os.File, readOnly bool) error {
	if !readOnly {
		kv.ForgetProcess(dir)
	}
	return lock.Close()
}

func openToWrite(dir string, opts Options) (*store, error) {
	if err := probe(dir); err != nil {
		return nil, err
	}
	space, err := newSpaceGuard(dir, opts.MemTable)
	if err != nil {
		return nil, err
	}
	bopts := tuned(dir, space.memTable, opts.Log)
	flushed, err := verify(dir, bopts)
	if err != nil {
		return nil, err
	}
	if err := verifyLogs(dir, flushed, opts.Log); err != nil {
		return nil, err
	}
	unbegun, err := hasUnbegun(dir)
	if err != nil {
		return nil, err
	}
	bdb, err := openBadger(bopts)
	if err != nil && unbegun {
		bdb, err = openBadger(bopts) // the first attempt gave the log its size
	}
	if err != nil {
		return nil, damaged(err)
	}
	db := &store{dir: dir, bdb: bdb, space: space, last: bdb.MaxVersion(), beforeTxn: opts.beforeTxn, scans: map[uint64]int{}}
	space.tables = db.tableBytes
	if err := errors.Join(space.syncNewLog(db.last), db.recover()); err != nil {
		return nil, errors.Join(err, bdb.Close())
	}
	db.show()
	collect(bdb)
	db.commit = newCommitter(db)
	go db.commit.run() // until Close
	return db, nil
}

// openToRead opens a store that is as Close leaves it: without a log to replay and
// without a large commit to finish.
func openToRead(dir string, opts Options) (*store, error) {
	names, err := logNames(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, badger.ManifestFilename)); len(names) > 0 || errors.Is(err, os.ErrNotExist) {
		return nil, kv.ErrUnclean
	}
	bopts := tuned(dir, minMemTable, opts.Log).WithReadOnly(true)
	if _, err := verify(dir, bopts); err != nil {
		return nil, err
	}
	bdb, err := openBadger(bopts)
	if err != nil {
		return nil, damaged(err)
	}
	db := &store{dir: dir, bdb: bdb, last: bdb.MaxVersion(), scans: map[uint64]int{}}
	db.show()
	if _, err := db.newest.Get(markerKey); !errors.Is(err, badger.ErrKeyNotFound) {
		return nil, errors.Join(cmp.Or(err, kv.ErrUnclean), bdb.Close())
	}
	return db, nil
}

// probe writes to the folder and returns the plain errors (no permission, no
// space) that Badger would not tell apart.
func probe(dir string) error {
	f, err := os.CreateTemp(dir, "probe-*.tmp")
	if at := (*os.PathError)(nil); errors.As(err, &at) {
		err = &os.PathError{Op: "write to", Path: dir, Err: at.Err} // the name of the file means nothing
	}
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	if disk.IsFull(err) {
		return fmt.Errorf("%w: %w", kv.ErrFull, err)
	}
	return err
}

// tuned is Badger for a queue and a tree of settings: small, durable, values
// beside their keys, one version of each. Defaults cost hundreds of MiB.
func tuned(dir string, memTable int64, log *slog.Logger) badger.Options {
	maxBatch := memTable * 15 / 100 // Badger's own rule
	return badger.DefaultOptions(dir).
		WithLogger(logger{log}).
		WithBypassLockGuard(true). // open has locked the folder
		WithSyncWrites(true).
		WithDetectConflicts(false). // there is one writer, the committer
		WithMetricsEnabled(false).
		WithNumVersionsToKeep(1).
		WithNumGoroutines(1).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithNumCompactors(2).
		WithCompression(options.None). // with it, Badger wants a cache of blocks
		WithBlockCacheSize(0).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithValueThreshold(min(1<<20, maxBatch/2)).
		WithValueLogFileSize(64 << 20)
}

// openBadger turns a panic over broken files into an error. The committer, the
// only writer, numbers the transactions: Badger's own numbering costs a message
// to another goroutine for each.
func openBadger(opts badger.Options) (bdb *badger.DB, err error) {
	defer guard(&err)()
	return badger.OpenManaged(opts)
}

// damaged marks err as damage and adds what to do, unless it is the system that
// keeps the files from being read.
func damaged(err error) error {
	if errors.Is(err, kv.ErrDamaged) || errors.Is(err, kv.ErrFull) {
		return err
	}
	err = oneLine{err}
	switch {
	case disk.IsFull(err):
		return fmt.Errorf("%w: %w", kv.ErrFull, err)
	case disk.IsRefused(err):
		return err
	}
	return fmt.Errorf("%w: %w; nothing was changed: put back the folder from a backup, or move it aside to begin anew", kv.ErrDamaged, err)
}

// oneLine joins the lines of a message of Badger.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }
func (e oneLine) Unwrap() error { return e.error }

// collect frees the space of deleted large values in the value log. Most stores
// have none.
func collect(bdb *badger.DB) {
	for bdb.RunValueLogGC(0.5) == nil {
	}
}

// tableBytes is how large all tables are. It is only asked for when the disk
// is nearly full.
func (db *store) tableBytes() (n int64) {
	for _, level := range db.bdb.Levels() {
		n += level.Size
	}
	return n
}

func dataKey(key []byte) []byte {
	out := make([]byte, 0, len(key)+9) // Badger adds 8 bytes of its own
	return append(append(out, dataPrefix), key...)
}

func (db *store) Get(key []byte) (value []byte, ok bool, err error) {
	db.view.RLock()
	defer db.view.RUnlock()
	if db.closed.Load() {
		return nil, false, kv.ErrClosed
	}
	item, err := db.newest.Get(dataKey(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err == nil {
		value, err = item.ValueCopy([]byte{})
	}
	if err != nil {
		return nil, false, fmt.Errorf("kv: get: %w", err)
	}
	return value, true, nil
}

// show makes all commits visible to readers, and lets Badger drop the versions
// that no scan reads.
func (db *store) show() {
	db.view.Lock()
	defer db.view.Unlock()
	if db.newest != nil {
		db.newest.Discard()
	}
	db.newest = db.bdb.NewTransactionAt(db.last, false)
	oldest := db.last
	for version := range db.scans {
		oldest = min(oldest, version)
	}
	db.bdb.SetDiscardTs(oldest)
}

// A snapshot is the database as of one call of Scan. It is released with the
// garbage, when no caller can range over it.
type snapshot struct{ txn *badger.Txn }

func (db *store) snapshot() (*snapshot, error) {
	db.view.Lock()
	defer db.view.Unlock()
	if db.closed.Load() {
		return nil, kv.ErrClosed
	}
	version := db.newest.ReadTs()
	db.scans[version]++
	s := &snapshot{db.bdb.NewTransactionAt(version, false)}
	runtime.AddCleanup(s, db.release, s.txn)
	return s, nil
}

func (db *store) release(txn *badger.Txn) {
	db.view.Lock()
	defer db.view.Unlock()
	txn.Discard()
	if version := txn.ReadTs(); db.scans[version] > 1 {
		db.scans[version]--
	} else {
		delete(db.scans, version)
	}
}

func (db *store) Scan(ctx context.Context, prefix []byte) iter.Seq2[kv.Pair, error] {
	snap, err := db.snapshot()
	prefix = dataKey(prefix)
	return func(yield func(kv.Pair, error) bool) {
		if err == nil {
			err = db.scan(ctx, snap, prefix, yield)
		}
		if err != nil {
			yield(kv.Pair{}, err)
		}
	}
}

func (db *store) scan(ctx context.Context, snap *snapshot, prefix []byte, yield func(kv.Pair, error) bool) error {
	if !db.enter() {
		return kv.ErrClosed
	}
	defer db.readers.Done()
	opts := badger.DefaultIteratorOptions
	opts.Prefix = prefix
	it := snap.txn.NewIterator(opts)
	defer runtime.KeepAlive(snap)
	defer it.Close()
	var pair kv.Pair
	for it.Rewind(); it.Valid(); it.Next() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if db.closed.Load() {
			return kv.ErrClosed
		}
		var err error
		if pair.Value, err = it.Item().ValueCopy(pair.Value); err != nil {
			return fmt.Errorf("kv: scan: %w", err)
		}
		pair.Key = it.Item().Key()[1:]
		if !yield(pair, nil) {
			return nil
		}
	}
	return nil
}

func (db *store) enter() bool {
	db.view.RLock()
	defer db.view.RUnlock()
	if db.closed.Load() {
		return false
	}
	db.readers.Add(1)
	return true
}

func (db *store) Commit(ctx context.Context, ops ...kv.Op) error {
	if err := kv.Check(ops...); err != nil {
		return err
	}
	if db.commit == nil {
		return fmt.Errorf("kv: commit: %w", kv.ErrReadOnly)
	}
	if len(ops) == 0 {
		return context.Cause(ctx)
	}
	return db.commit.do(ctx, ops)
}

// Changed returns nil: the folder is locked against other processes.
func (db *store) Changed([]byte) <-chan struct{} { return nil }

// Close lets commits and the current step of each scan end, then closes the
// files. It must not be called from inside a scan.
func (db *store) Close() error {
	db.once.Do(func() {
		if db.commit != nil {
			db.commit.close()
		}
		db.view.Lock()
		db.closed.Store(true)
		if db.newest != nil {
			db.newest.Discard()
		}
		db.view.Unlock()
		db.readers.Wait()
		var noted error
		if db.commit != nil { // Badger removes its last log; see wasFlushed
			noted = begun{db.space.next - 1, db.space.next, db.last}.write(db.dir)
		}
		if err := errors.Join(noted, db.bdb.Close(), unlock(db.dir, db.lock, db.commit == nil)); err != nil {
			db.closing = fmt.Errorf("kv: close %s: %w", db.dir, err)
		}
	})
	return db.closing
}

// logger passes on the log lines of Badger. Its routine ones are for debugging.
type logger struct{ log *slog.Logger }

func (l logger) line(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "kv: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

func (l logger) Errorf(format string, args ...any)   { l.line(slog.LevelError, format, args) }
func (l logger) Warningf(format string, args ...any) { l.line(slog.LevelWarn, format, args) }
func (l logger) Infof(format string, args ...any)    { l.line(slog.LevelDebug, format, args) }
func (l logger) Debugf(string, ...any)               {} // several per commit
