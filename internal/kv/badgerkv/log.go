// SPDX-License-Identifier: Apache-2.0

package badgerkv

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// Badger ends a log at the first record that cannot be decoded and drops the rest.
// That is right if a crash cut off the last transaction: each one is written only
// when the one before is on disk. If whole transactions follow, the log is
// damaged, and Badger would drop them silently. The form of the records is that of Badger 4, see its memtable.go.

const (
	logHeader = 20      // octets at the front of a log
	maxLogKey = 1 << 16 // Badger's own limit
	inTxn     = 1 << 6  // the meta bit of a record within a transaction
	endOfTxn  = 1 << 7  // and of the one that ends it
)

// endKey is the key of a record that ends a transaction, without the 8 octets
// of its number.
var endKey = []byte("!badger!txn")

// logNames lists the logs, the newest last. Their numbers have five digits, and
// from 100,000 on more.
func logNames(dir string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return names, err
}

// verifyLogs looks for damage in the logs that Badger is about to replay. The
// tables hold transactions up to number flushed. It records the last transaction
// of the logs, because Badger empties a log before it removes it: see wasFlushed.
func verifyLogs(dir string, flushed uint64, log *slog.Logger) error {
	names, err := logNames(dir)
	if err != nil || len(names) == 0 {
		return err
	}
	b, err := readBegun(dir)
	if err != nil {
		return err
	}
	var following, all span // of the next log that has transactions; of all logs
	for i, name := range slices.Backward(names) {
		txns, cut, err := verifyLog(name, i == len(names)-1)
		if errors.Is(err, errEmpty) && b.wasFlushed(logNumber(name), following.first, flushed) {
			err = os.Remove(name)
		}
		if err != nil {
			return damaged(fmt.Errorf("%s: %w", filepath.Base(name), err))
		}
		if cut {
			log.Warn("kv: the last commit was cut off by a crash and is dropped", "file", name)
		}
		if txns.last != 0 {
			following, all.last = txns, max(all.last, txns.last)
		}
	}
	if b.newest == 0 {
		return nil // a store of a version that recorded nothing
	}
	b.below, b.last = logNumber(names[len(names)-1])+1, max(all.last, flushed)
	return b.write(dir)
}

// verifyLog returns the whole transactions of a log, and whether one was cut off
// behind them. Only the newest log may end so.
func verifyLog(name string, newest bool) (txns span, cut bool, err error) {
	defer guard(&err)()
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return txns, false, err
	case info.Size() == 0 && newest && !isBegun(name):
		return txns, false, nil
	case info.Size() == 0:
		return txns, false, errEmpty
	case info.Size() < logHeader:
		return txns, false, errCutOff
	}
	mf, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return txns, false, err
	}
	end, txns := replay(mf.Data)
	return txns, !isZero(mf.Data[end:]), errors.Join(verifyTail(mf.Data, end, txns.last, newest), mf.Close(-1))
}

// A span is the numbers of consecutive transactions; zero if there are none.
type span struct{ first, last uint64 }

var (
	errCutOff = errors.New("is cut off")
	errEmpty  = errors.New("is empty")
)

// verifyTail checks the octets after the last transaction that can be decoded.
func verifyTail(log []byte, end int, last uint64, newest bool) error {
	const room = 512 // a log that is not cut off ends in far more zeros
	tail := log[end:]
	switch {
	case isZero(tail):
		return nil
	case !newest:
		return fmt.Errorf("does not read back from octet %d, and there is a later log", end)
	case !isZero(tail[max(0, len(tail)-room):]):
		return errCutOff
	}
	seen := 0
	for i := 0; ; {
		k := bytes.Index(tail[i:], endKey)
		if k < 0 {
			return nil // one transaction, broken off
		}
		i += k + len(endKey)
		n, ok := endAt(tail, i-len(endKey))
		if !ok {
			continue
		}
		if seen++; seen > 1 || last > 0 && n > last+1 {
			return fmt.Errorf("does not read back from octet %d, and commits behind it do", end)
		}
	}
}

// endAt reads the end of a transaction whose key stands at k.
func endAt(b []byte, k int) (number uint64, ok bool) {
	const head = 5 // two octets of meta, and three numbers of one octet each
	if k < head {
		return 0, false
	}
	r, _ := readRecord(b[k-head:])
	return r.endOfTxn()
}

// replay returns the end of the last whole transaction, and the numbers of all
// whole ones.
func replay(log []byte) (end int, txns span) {
	end = logHeader
	var open uint64 // the transaction that the records belong to, or 0
	for at := end; ; {
		r, n := readRecord(log[at:])
		if n == 0 {
			return end, txns
		}
		at += n
		number, ends := r.endOfTxn()
		switch {
		case r.meta&inTxn != 0 && (open == 0 || open == r.number):
			open = r.number
		case ends && number == open:
			end, txns.last, open = at, number, 0
			if txns.first == 0 {
				txns.first = number
			}
		case r.meta&(inTxn|endOfTxn) == 0 && open == 0:
			end = at // one that Badger has moved here
		default:
			return end, txns
		}
	}
}

// A record is one entry of a log.
type record struct {
	meta       byte
	key, value []byte // the key without its number
	number     uint64 // of the transaction
}

// readRecord reads the record at the front of b; n is its length, 0 when there
// is none, or it is not whole.
func readRecord(b []byte) (r record, n int) {
	if len(b) < 2 {
		return r, 0
	}
	at := 2
	var sizes [3]uint64 // of key and value; the third is the time when it expires
	for i := range sizes {
		size, w := binary.Uvarint(b[at:])
		if w <= 0 {
			return r, 0
		}
		sizes[i], at = size, at+w
	}
	klen, vlen := sizes[0], sizes[1]
	if klen < 8 || klen > maxLogKey || vlen > uint64(len(b)) || uint64(at)+klen+vlen+crc32.Size > uint64(len(b)) {
		return r, 0
	}
	end := at + int(klen+vlen)
	if crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[end:]) {
		return r, 0
	}
	key := b[at : at+int(klen)]
	return record{
		meta: b[0], key: key[:klen-8], value: b[at+int(klen) : end],
		number: ^binary.BigEndian.Uint64(key[klen-8:]), // Badger writes it so that the newest comes first
	}, end + crc32.Size
}

// endOfTxn gives the number of the transaction that r ends, if it ends one.
func (r record) endOfTxn() (uint64, bool) {
	if r.meta&endOfTxn == 0 || !bytes.Equal(r.key, endKey) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r.value), 10, 64)
	return n, err == nil
}

func isZero(b []byte) bool {
	var zeros [64 << 10]byte
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// verify checks the checksums of every table that the manifest names, and returns
// the newest transaction in them. Badger
// itself skips some broken tables and ends the process over others; here, either
// is an error.
func verify(dir string, opts badger.Options) (newest uint64, err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return 0, noManifest(dir)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	manifest, err := readManifest(f, opts)
	if err != nil {
		return 0, damaged(fmt.Errorf("%s: %w", badger.ManifestFilename, err))
	}
	for id := range manifest.Tables {
		version, err := verifyTable(table.NewFilename(id, dir))
		if err != nil {
			return 0, damaged(fmt.Errorf("%s: %w", table.IDToFilename(id), err))
		}
		newest = max(newest, version)
	}
	return newest, verifyStrays(dir, manifest, newest)
}

func readManifest(f *os.File, opts badger.Options) (m badger.Manifest, err error) {
	defer guard(&err)()
	m, _, err = badger.ReplayManifestFile(f, 0, opts)
	return m, err
}

// verifyStrays checks the tables that the manifest does not name, which Badger is
// about to delete. A crash leaves such tables, but their data is then also in the
// tables they were made from, or in a log. If neither exists, the manifest has
// lost them.
func verifyStrays(dir string, manifest badger.Manifest, newest uint64) error {
	if logs, err := filepath.Glob(filepath.Join(dir, "*.mem")); err != nil || len(logs) > 0 {
		return err
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	for _, name := range tables {
		id, ok := table.ParseFileID(name)
		if _, named := manifest.Tables[id]; !ok || named {
			continue
		}
		if version, err := verifyTable(name); err == nil && version > newest {
			return damaged(fmt.Errorf("%s does not name %s", badger.ManifestFilename, filepath.Base(name)))
		}
	}
	return nil
}

// noManifest accepts a new store, but not one that has lost its manifest: Badger
// would take it for new and delete its tables.
func noManifest(dir string) error {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	if len(tables) > 0 {
		return damaged(fmt.Errorf("%s is missing", badger.ManifestFilename))
	}
	return nil
}

// verifyTable returns the newest version in a table that is whole.
func verifyTable(name string) (newest uint64, err error) {
	defer guard(&err)()
	info, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	if info.Size() == 0 {
		return 0, errors.New("is empty")
	}
	mf, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	t, err := table.OpenTable(mf, table.Options{ChkMode: options.OnTableRead})
	if err != nil {
		return 0, err
	}
	return t.MaxVersion(), t.Close(-1)
}

// guard is deferred as guard(&err)(): it turns a panic, and reading a mapped
// file that the disk can't give, into an error.
func guard(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		switch r := recover().(type) {
		case nil:
		case error:
			*err = fmt.Errorf("%w", r)
		default:
			*err = fmt.Errorf("%v", r)
		}
	}
}
