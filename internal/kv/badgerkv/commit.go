// SPDX-License-Identifier: Apache-2.0

package badgerkv

import (
	"context"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"restante/internal/groupcommit"
	"restante/internal/kv"
)

// A request is one caller's Commit.
type request struct {
	groupcommit.Request
	ops  []kv.Op // what is written
	must []kv.Op // conditions
	size int64
}

// A committer is the only writer. It merges all queued requests that fit into
// one Badger transaction and commits them with one sync.
type committer struct {
	db              *store
	maxSize, maxOps int64
	threshold       int64
	queue           *groupcommit.Queue[*request]
	stopped         chan struct{}
}

// newCommitter returns a committer that does nothing until run; close ends run.
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

// opCost is an upper bound of the size that Badger counts for one op.
func (c *committer) opCost(op kv.Op) int64 {
	const overhead = 64
	if n := int64(len(op.Value)); n < c.threshold {
		return int64(len(op.Key)) + n + overhead
	}
	return int64(len(op.Key)) + overhead // its value goes to a file of its own
}

// do returns when the ops are on disk. A caller that gives up while its request
// is queued leaves no trace; later it gets the true answer, a matter of
// milliseconds.
func (c *committer) do(ctx context.Context, ops []kv.Op) error {
	r := &request{ops: ops}
	if slices.ContainsFunc(ops, isMust) {
		r.ops = nil
		for _, op := range ops {
			if isMust(op) {
				r.must = append(r.must, op)
			} else {
				r.ops = append(r.ops, op)
			}
		}
	}
	for _, op := range r.ops {
		r.size += c.opCost(op)
	}
	return c.queue.DoInline(ctx, r, c.serve)
}

func isMust(op kv.Op) bool { return op.Kind == kv.OpMust }

// close returns when all queued requests are answered and run has returned.
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
	if batch = c.judge(c.admit(batch)); len(batch) > 0 {
		groupcommit.Answer(batch, c.write(batch))
	}
}

// take returns the requests of the next transaction, in the order of arrival. A
// request that is too large for any transaction comes alone.
func (c *committer) take() []*request {
	var size, ops int64
	return c.queue.NextBatch(func(r *request) bool {
		size += r.size
		ops += int64(len(r.ops))
		return size <= c.maxSize && ops <= c.maxOps
	})
}

// admit answers the requests that the disk has no space for and returns the
// others. Those that remove as much as they put may use the last of it.
func (c *committer) admit(batch []*request) []*request {
	var growing, rest []*request
	var all, less int64
	for _, r := range batch {
		n, grows := r.bytes()
		if n > c.maxSize {
			n *= 2 // it is staged
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
		if op.Kind == kv.OpPut {
			puts++
		}
	}
	return n, 2*puts > len(r.ops)
}

// judge answers the requests whose conditions do not hold and returns the
// others. The state that it judges by has the requests before in the batch.
func (c *committer) judge(batch []*request) []*request {
	if !slices.ContainsFunc(batch, func(r *request) bool { return len(r.must) > 0 }) {
		return batch
	}
	written := map[string]kv.Op{}
	kept := batch[:0:0]
	for _, r := range batch {
		if err := c.holds(r, written); err != nil {
			groupcommit.Answer([]*request{r}, err)
			continue
		}
		kept = append(kept, r)
		if len(batch) > 1 {
			for _, op := range r.ops {
				written[string(op.Key)] = op
			}
		}
	}
	return kept
}

func (c *committer) holds(r *request, written map[string]kv.Op) error {
	for _, must := range r.must {
		op, known := written[string(must.Key)]
		value, ok := op.Value, op.Kind == kv.OpPut
		if !known {
			var err error
			if value, ok, err = c.db.Get(must.Key); err != nil {
				return err
			}
		}
		if !must.Holds(value, ok) {
			return fmt.Errorf("kv: commit: %w", kv.ErrMoved)
		}
	}
	return nil
}

func (c *committer) write(batch []*request) error {
	first := batch[0]
	if first.size > c.maxSize || int64(len(first.ops)) > c.maxOps {
		return c.stage(first.ops)
	}
	if !slices.ContainsFunc(batch, func(r *request) bool { return len(r.ops) > 0 }) {
		return nil // conditions only
	}
	err := c.txn(func(add func(kv.Op) error) error {
		for _, r := range batch {
			for _, op := range r.ops {
				op.Key = dataKey(op.Key)
				if err := add(op); err != nil {
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

// txn commits what fill adds, keys being Badger's own. After an error of the
// commit itself the state is unknown, and the store takes no more commits.
func (c *committer) txn(fill func(add func(kv.Op) error) error) (err error) {
	txn := c.db.bdb.NewTransactionAt(c.db.last, true)
	defer txn.Discard()
	err = fill(func(op kv.Op) error {
		if op.Kind == kv.OpDel {
			return txn.Delete(op.Key)
		}
		return txn.SetEntry(badger.NewEntry(op.Key, op.Value))
	})
	if err != nil {
		return fmt.Errorf("kv: commit: %w", err) // nothing was sent to the disk yet
	}
	if c.db.beforeTxn != nil {
		err = c.db.beforeTxn()
	}
	if err == nil {
		err = txn.CommitAt(c.db.last+1, nil)
	}
	if err == nil {
		c.db.last++
		err = c.db.space.syncNewLog(c.db.last - 1)
	}
	if err != nil {
		return c.broken(fmt.Errorf("kv: commit in %s: %w; nothing more is written until the store is opened again", c.db.dir, err))
	}
	return nil
}

// broken refuses all later commits with err. The one under way may be on disk.
func (c *committer) broken(err error) error {
	return fmt.Errorf("%w: %w", kv.ErrUnknown, c.queue.Break(err))
}
