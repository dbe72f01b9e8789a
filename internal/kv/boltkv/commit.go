// SPDX-License-Identifier: Apache-2.0

package boltkv

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"restante/internal/disk"
	"restante/internal/groupcommit"
	"restante/internal/kv"
)

// maxBatch is the size at which a transaction takes no more requests.
const maxBatch = 4 << 20

// A request is one caller's Commit.
type request struct {
	groupcommit.Request
	ops   []kv.Op
	size  int64
	grows bool
}

// Commit merges with the other requests that are queued into one transaction.
func (db *store) Commit(ctx context.Context, ops ...kv.Op) error {
	if err := kv.Check(ops...); err != nil {
		return err
	}
	if len(ops) == 0 {
		return context.Cause(ctx)
	}
	r := &request{ops: ops}
	puts := 0
	for _, op := range ops {
		r.size += int64(len(op.Key)+len(op.Value)) + 64
		if op.Kind == kv.OpPut {
			puts++
		}
	}
	r.grows = 2*puts > len(ops)
	return db.queue.DoInline(ctx, r, db.serve)
}

func (db *store) run() {
	defer close(db.stopped)
	for {
		var size int64
		batch := db.queue.NextBatch(func(r *request) bool { size += r.size; return size <= maxBatch })
		if len(batch) == 0 {
			return
		}
		db.serve(batch)
	}
}

// serve answers each request of batch. After an error of the transaction the
// state is unknown, and the store takes no more commits.
func (db *store) serve(batch []*request) {
	var room []*request
	for _, r := range batch {
		if err := checkSpace(db.dir, r.size, r.grows); err != nil {
			groupcommit.Answer([]*request{r}, err)
			continue
		}
		room = append(room, r)
	}
	if len(room) == 0 {
		return
	}
	kept, err := db.write(room)
	if err != nil {
		err = db.queue.Break(fmt.Errorf("kv: commit in %s: %w; nothing more is written until the store is opened again", db.dir, err))
		err = fmt.Errorf("%w: %w", kv.ErrUnknown, err)
	}
	groupcommit.Answer(kept, err)
}

// write commits the requests whose conditions hold, and answers the others.
func (db *store) write(batch []*request) (kept []*request, err error) {
	defer func() {
		if err != nil && len(kept) == 0 {
			kept = batch
		}
	}()
	defer guard(&err)()
	tx, err := db.bdb.Begin(true)
	if err != nil {
		return batch, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to undo
	sum := readSum(tx)
	var moved []*request
	written := false
	for _, r := range batch {
		ok, err := holds(tx, r.ops)
		if err != nil {
			return batch, err
		}
		if !ok {
			moved = append(moved, r)
			continue
		}
		kept = append(kept, r)
		for _, op := range r.ops {
			if op.Kind == kv.OpMust {
				continue
			}
			written = true
			if err := apply(tx, op, &sum); err != nil {
				return batch, err
			}
		}
	}
	if written {
		if err := tx.Bucket(sums).Put(sumKey, binary.BigEndian.AppendUint64(nil, sum)); err != nil {
			return batch, err
		}
		if err := tx.Commit(); err != nil {
			return batch, err
		}
	}
	groupcommit.Answer(moved, fmt.Errorf("kv: commit: %w", kv.ErrMoved))
	return kept, nil
}

// holds reports whether all conditions among ops do.
func holds(tx *bolt.Tx, ops []kv.Op) (bool, error) {
	for _, op := range ops {
		if op.Kind != kv.OpMust {
			continue
		}
		value, ok, err := get(tx, dataKey(op.Key))
		if err != nil || !op.Holds(value, ok) {
			return false, err
		}
	}
	return true, nil
}

// apply carries out op, and adds to sum what it changes of it.
func apply(tx *bolt.Tx, op kv.Op, sum *uint64) error {
	key, bucket := dataKey(op.Key), tx.Bucket(pairs)
	if old := bucket.Get(key); len(old) >= hashSize {
		*sum -= binary.BigEndian.Uint64(old)
	}
	if op.Kind == kv.OpDel {
		return bucket.Delete(key)
	}
	record := wrap(key, op.Value)
	*sum += binary.BigEndian.Uint64(record)
	return bucket.Put(key, record)
}

// checkSpace returns ErrFull unless n bytes may be written. bbolt writes changed
// pages anew, and doubles the file until it has 1 GiB. Removals may use the last
// of the space.
func checkSpace(dir string, n int64, grows bool) error {
	free, total, err := disk.Free(dir)
	if err != nil || total == 0 {
		return err
	}
	need := 2*n + 1<<20
	if grows {
		need += 16 << 20
		if info, err := os.Stat(filepath.Join(dir, fileName)); err == nil {
			need += min(info.Size(), 1<<30)
		}
	}
	if free < need {
		return fmt.Errorf("kv: %s: %w: %d KiB free, %d KiB needed", dir, kv.ErrFull, free>>10, need>>10)
	}
	return nil
}
