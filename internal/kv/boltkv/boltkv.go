// SPDX-License-Identifier: Apache-2.0

// Package boltkv keeps the ordered map of package kv in bbolt, one file. When
// Commit returns nil, the file is synced by os.File.Sync or its like: by
// FlushFileBuffers on Windows and F_FULLFSYNC on macOS, where Badger syncs less
// than that. After a crash the store opens with all acknowledged commits, and every
// other one whole or not at all.
//
// bbolt has no checksums of what it keeps. Each value here has one, which also
// covers the key, and the store has the sum of all: Open reads every pair, and
// refuses a store that lacks one or has another. Two pages lead to the pairs, in
// turns; one that is damaged looks like a write of it that a crash cut off, and
// bbolt goes by the other. Close has both lead to the same pairs. After a crash,
// damage to the newer one takes the last commit away.
package boltkv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"restante/internal/disk"
	"restante/internal/groupcommit"
	"restante/internal/kv"
)

// Options adjusts Open. The zero value is the production setting.
type Options struct {
	Log *slog.Logger // diagnostics; nil: none

	// ReadOnly opens a store that is there and writes nothing. Several processes may
	// do so at once, while none has it open for writing.
	ReadOnly bool
}

const (
	fileName  = "store.db"
	hashSize  = 8
	keyPrefix = 'u' // bbolt takes no empty key
)

var (
	pairs   = []byte("pairs") // the bucket of all pairs: prefix and key, hash and value
	sums    = []byte("sums")  // the bucket of one pair
	sumKey  = []byte("sum")   // all hashes, added up
	hashing = crc64.MakeTable(crc64.ECMA)
)

// A store keeps its pairs in bbolt.
type store struct {
	dir     string
	bdb     *bolt.DB
	queue   *groupcommit.Queue[*request] // refuses all of a store to read only
	stopped chan struct{}
	once    sync.Once
	closing error
}

// Open opens the store in dir and creates it if there is none. The error is
// ErrInUse while another process has the store open, ErrDamaged if its file is
// damaged, ErrFull if the disk has too little space; each names the folder.
func Open(dir string, opts Options) (kv.DB, error) {
	bdb, err := open(dir, opts.ReadOnly)
	if errors.Is(err, kv.ErrDamaged) {
		err = fmt.Errorf("%w; nothing was changed: put back the folder from a backup, or move it aside to begin anew", err)
	}
	if err != nil {
		return nil, fmt.Errorf("kv: open %s: %w", dir, err)
	}
	db := &store{dir: dir, bdb: bdb, queue: groupcommit.New[*request](kv.ErrClosed), stopped: make(chan struct{})}
	if opts.ReadOnly {
		db.queue.Break(kv.ErrReadOnly)
	}
	go db.run() // until Close
	if opts.Log != nil {
		opts.Log.Debug("kv: opened", "folder", dir)
	}
	return db, nil
}

func open(dir string, readOnly bool) (bdb *bolt.DB, err error) {
	if !readOnly {
		if err := disk.MkdirAll(nil, dir, 0o700); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); err == nil {
		return nil, errors.New("is a store of Badger, which is used on other systems and by earlier versions: move it by mb backup there and mb restore here")
	}
	if !readOnly {
		if err := checkSpace(dir, 0, true); err != nil {
			return nil, err
		}
	}
	defer guard(&err)()
	bdb, err = bolt.Open(filepath.Join(dir, fileName), 0o600, &bolt.Options{Timeout: 100 * time.Millisecond, ReadOnly: readOnly})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, kv.InUseOf(dir)
	}
	if readOnly && errors.Is(err, os.ErrNotExist) {
		return nil, kv.ErrUnclean
	}
	if err != nil {
		return nil, classify(err)
	}
	if readOnly {
		if err := verify(bdb); err != nil {
			return nil, errors.Join(classify(err), bdb.Close())
		}
		return bdb, nil
	}
	kv.NoteProcess(dir)
	if err := errors.Join(verify(bdb), disk.SyncDir(dir)); err != nil {
		return nil, errors.Join(classify(err), bdb.Close())
	}
	return bdb, nil
}

// verify makes the buckets of a new store, and reads every pair of another.
func verify(bdb *bolt.DB) (err error) {
	defer guard(&err)()
	isNew := false
	err = bdb.View(func(tx *bolt.Tx) error {
		whole := tx.Bucket(pairs) != nil && tx.Bucket(sums) != nil
		isNew = !whole && tx.ID() <= 1 // bbolt's own first transaction
		if !whole && !isNew {
			return fmt.Errorf("%w: its buckets are missing", kv.ErrDamaged)
		}
		return nil
	})
	if isNew && bdb.IsReadOnly() {
		return kv.ErrUnclean
	}
	if isNew {
		return bdb.Update(func(tx *bolt.Tx) error {
			_, perr := tx.CreateBucket(pairs)
			_, serr := tx.CreateBucket(sums)
			return errors.Join(perr, serr)
		})
	}
	if err != nil {
		return err
	}
	return bdb.View(func(tx *bolt.Tx) error {
		var sum uint64
		all := tx.Bucket(pairs)
		err := all.ForEach(func(key, record []byte) error {
			if _, err := unwrap(key, record); err != nil {
				return err
			}
			if all.Get(key) == nil { // the way to it is damaged: a scan would begin too late
				return fmt.Errorf("%w: a pair is not found by its key", kv.ErrDamaged)
			}
			sum += binary.BigEndian.Uint64(record)
			return nil
		})
		if err == nil && sum != readSum(tx) {
			err = fmt.Errorf("%w: pairs are missing", kv.ErrDamaged)
		}
		return err
	})
}

func readSum(tx *bolt.Tx) uint64 {
	if b := tx.Bucket(sums).Get(sumKey); len(b) == hashSize {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// classify maps an error of bbolt to one of package kv.
func classify(err error) error {
	switch {
	case disk.IsFull(err):
		return fmt.Errorf("%w: %w", kv.ErrFull, err)
	case disk.IsRefused(err), errors.Is(err, kv.ErrDamaged), errors.Is(err, kv.ErrUnclean):
		return err
	}
	return fmt.Errorf("%w: %w", kv.ErrDamaged, err)
}

// guard turns a panic over a broken file into an error.
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = fmt.Errorf("%w: %v", kv.ErrDamaged, r)
		}
	}
}

func dataKey(key []byte) []byte {
	return append(append(make([]byte, 0, len(key)+1), keyPrefix), key...)
}

// hash is that of a pair, the key with its prefix.
func hash(key, value []byte) uint64 {
	h := crc64.Update(uint64(len(key)), hashing, key)
	return crc64.Update(h, hashing, value)
}

func wrap(key, value []byte) []byte {
	out := binary.BigEndian.AppendUint64(make([]byte, 0, hashSize+len(value)), hash(key, value))
	return append(out, value...)
}

// unwrap returns the value in a record, in the memory of the record.
func unwrap(key, record []byte) ([]byte, error) {
	if len(record) < hashSize || hash(key, record[hashSize:]) != binary.BigEndian.Uint64(record) {
		return nil, fmt.Errorf("%w: the checksum of a pair", kv.ErrDamaged)
	}
	return record[hashSize:], nil
}

func (db *store) Get(key []byte) (value []byte, ok bool, err error) {
	defer guard(&err)()
	err = db.bdb.View(func(tx *bolt.Tx) error {
		value, ok, err = get(tx, dataKey(key))
		if ok {
			value = append([]byte{}, value...)
		}
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("kv: get: %w", asClosed(err))
	}
	return value, ok, nil
}

func get(tx *bolt.Tx, key []byte) (value []byte, ok bool, err error) {
	record := tx.Bucket(pairs).Get(key)
	if record == nil {
		return nil, false, nil
	}
	value, err = unwrap(key, record)
	return value, err == nil, err
}

func asClosed(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return kv.ErrClosed
	}
	return err
}

// Scan copies the pairs when it is called. A transaction of bbolt that stays open
// would keep the file from growing, and so commits from ending.
func (db *store) Scan(ctx context.Context, prefix []byte) iter.Seq2[kv.Pair, error] {
	all, err := db.collect(ctx, dataKey(prefix))
	return func(yield func(kv.Pair, error) bool) {
		for _, p := range all {
			if cerr := context.Cause(ctx); cerr != nil {
				yield(kv.Pair{}, cerr)
				return
			}
			if !db.isOpen() {
				yield(kv.Pair{}, kv.ErrClosed)
				return
			}
			if !yield(p, nil) {
				return
			}
		}
		if err != nil {
			yield(kv.Pair{}, err)
		}
	}
}

func (db *store) isOpen() bool {
	select {
	case <-db.stopped:
		return false
	default:
		return true
	}
}

func (db *store) collect(ctx context.Context, prefix []byte) (all []kv.Pair, err error) {
	defer guard(&err)()
	err = db.bdb.View(func(tx *bolt.Tx) error {
		at := tx.Bucket(pairs).Cursor()
		for key, record := at.Seek(prefix); len(key) >= len(prefix) && string(key[:len(prefix)]) == string(prefix); key, record = at.Next() {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			value, err := unwrap(key, record)
			if err != nil {
				return fmt.Errorf("kv: scan: %w", err)
			}
			all = append(all, kv.Pair{Key: append([]byte{}, key[1:]...), Value: append([]byte{}, value...)})
		}
		return nil
	})
	return all, asClosed(err)
}

// Changed returns nil: the file is locked against other processes.
func (db *store) Changed([]byte) <-chan struct{} { return nil }

// repeatHead writes the page that leads to the pairs once more, to the place of
// the one before. It is best effort: the store is whole without it, and one to read
// only stays as it is.
func (db *store) repeatHead() (err error) {
	defer guard(&err)()
	return db.bdb.Update(func(*bolt.Tx) error { return nil })
}

// Close lets commits end, then closes the file. It must not be called from inside
// a scan.
func (db *store) Close() error {
	db.once.Do(func() {
		db.queue.Close()
		<-db.stopped
		_ = db.repeatHead()
		if err := db.bdb.Close(); err != nil {
			db.closing = fmt.Errorf("kv: close %s: %w", db.dir, err)
		}
	})
	return db.closing
}
