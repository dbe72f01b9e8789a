// SPDX-License-Identifier: Apache-2.0

package badgerkv

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"restante/internal/groupcommit"
	"restante/internal/kv"
)

// A request is one caller's Commit.
type request struct {
	groupcommit.Request
	ops  []kv.Op
	size int64
}

// A committer is the only writer. It takes all requests that wait, as far as
// one Badger transaction has room, and commits them with one sync.
type committer struct {
	db              *store
	maxSize, maxOps int64
	threshold       int64
	queue           *groupcommit.Queue[*request]
	stopped         chan struct{}
	txns            atomic.Int64 // how many transactions there were
	cut             int64        // the one that does not come about, for tests; 0: none
}

// newCommitter gives one that does nothing until run; close ends that.
func newCommitter(db *store) *committer {
	return &committer{
		db: db,
		// Badger counts at most opCost less one byte per op, and refuses at
		// its limits, not above them.
		maxSize:   db.bdb.MaxBatchSize() - 1,
		maxOps:    db.bdb.MaxBatchCount() - 2,
		threshold: db.bdb.Opts().ValueThreshold,
		queue:     groupcommit.New[*request](kv.ErrClosed),
		stopped:   make(chan struct{}),
	}
}

// opCost is not less than what Badger takes one op for.
func (c *committer) opCost(op kv.Op) int64 {
	const overhead = 64
	if n := int64(len(op.Value)); n < c.threshold {
		return int64(len(op.Key)) + n + overhead
	}
	return int64(len(op.Key)) + overhead // its value goes to a file of its own
}

// do waits for the ops to be on disk. A caller that gives up before they are
// taken in leaves no trace; after that, it gets the true answer, which is a
// matter of milliseconds.
func (c *committer) do(ctx context.Context, ops []kv.Op) error {
	r := &request{ops: ops}
	for _, op := range ops {
		r.size += c.opCost(op)
	}
	return c.queue.DoInline(ctx, r, c.serve)
}

// close waits until all who wait are answered and run has returned.
func (c *committer) close() {
	c.queue.Close()
	<-c.stopped
}

func (c *committer) run() {
	defer close(c.stopped)
	for batch := c.take(); len(batch) > 0; batch = c.take() {
		c.serve(batch)
	}
}

func (c *committer) serve(batch []*request) {
	if batch = c.admit(batch); len(batch) > 0 {
		groupcommit.Answer(batch, c.write(batch))
	}
}

// take gives the requests of the next transaction, in the order they came. One
// that is too large for any transaction comes alone.
func (c *committer) take() []*request {
	var size, ops int64
	return c.queue.NextBatch(func(r *request) bool {
		size += r.size
		ops += int64(len(r.ops))
		return size <= c.maxSize && ops <= c.maxOps
	})
}

// admit answers the requests that the disk has no room for and gives the
// others. Those that remove as much as they put may use the last of it.
func (c *committer) admit(batch []*request) []*request {
	var growing, rest []*request
	var all, less int64
	for _, r := range batch {
		n, grows := r.bytes()
		if n > c.maxSize {
			n *= 2 // it goes by the stage
		}
		all += n
		if grows {
			growing = append(growing, r)
		} else {
			rest, less = append(rest, r), less+n
		}
	}
	if len(growing) > 0 {
		err := c.db.space.check(all, true)
		if err == nil {
			return batch
		}
		groupcommit.Answer(growing, err)
	}
	if len(rest) > 0 {
		if err := c.db.space.check(less, false); err != nil {
			groupcommit.Answer(rest, err)
			return nil
		}
	}
	return rest
}

// bytes is what the ops take in a log, and whether they make the store grow.
func (r *request) bytes() (n int64, grows bool) {
	puts := 0
	for _, op := range r.ops {
		n += int64(len(op.Key)+len(op.Value)) + 64
		if !op.Delete {
			puts++
		}
	}
	return n, 2*puts > len(r.ops)
}

func (c *committer) write(batch []*request) error {
	first := batch[0]
	if first.size > c.maxSize || int64(len(first.ops)) > c.maxOps {
		return c.stage(first.ops)
	}
	err := c.txn(func(add func(kv.Op) error) error {
		for _, r := range batch {
			for _, op := range r.ops {
				if err := add(kv.Op{Key: dataKey(op.Key), Value: op.Value, Delete: op.Delete}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil {
		c.db.show()
	}
	return err
}

// txn commits what fill adds, keys being Badger's own. An error of the commit
// itself leaves the state unknown and is the last word of this store.
func (c *committer) txn(fill func(add func(kv.Op) error) error) (err error) {
	txn := c.db.bdb.NewTransactionAt(c.db.last, true)
	defer txn.Discard()
	err = fill(func(op kv.Op) error {
		if op.Delete {
			return txn.Delete(op.Key)
		}
		return txn.SetEntry(badger.NewEntry(op.Key, op.Value))
	})
	if err != nil {
		return fmt.Errorf("kv: commit: %w", err) // nothing was sent to the disk yet
	}
	if c.txns.Add(1) == c.cut {
		return c.queue.Break(errCut)
	}
	err = txn.CommitAt(c.db.last+1, nil)
	if err == nil {
		c.db.last++
		err = c.db.space.settle()
	}
	if err != nil {
		return c.queue.Break(fmt.Errorf("kv: commit in %s: %w; what is on disk is not known, so nothing more is written until the store is opened again", c.db.dir, err))
	}
	return nil
}

var errCut = errors.New("kv: cut off by a test")
