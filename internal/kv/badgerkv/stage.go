// SPDX-License-Identifier: Apache-2.0

package badgerkv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"restante/internal/kv"
)

// A batch that is too large for one Badger transaction is first written in pieces
// under the stage prefix, which no reader sees. Then one small commit writes the
// marker: from here on the batch is committed. Then the pieces are applied and
// the marker is removed. Open finishes or discards a batch that was cut off.
//
// A piece is small enough for Badger to store it beside its key.
func (c *committer) pieceSize() int { return int(min(128<<10, c.threshold/4)) }

var markerKey = []byte{stagePrefix, '!'}

func pieceKey(n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{stagePrefix, 'p'}, n)
}

// appendOp encodes an op for a piece: its kind, then the lengths and bytes of key
// and value.
func appendOp(b []byte, op kv.Op) []byte {
	kind := byte('+')
	if op.Kind == kv.OpDel {
		kind = '-'
	}
	b = append(b, kind)
	b = append(binary.AppendUvarint(b, uint64(len(op.Key))), op.Key...)
	return append(binary.AppendUvarint(b, uint64(len(op.Value))), op.Value...)
}

var errPiece = errors.New("a piece of a large commit cannot be decoded")

func readOp(b []byte) (op kv.Op, rest []byte, err error) {
	if len(b) == 0 || b[0] != '+' && b[0] != '-' {
		return op, nil, errPiece
	}
	if b[0] == '-' {
		op.Kind = kv.OpDel
	}
	b = b[1:]
	for _, field := range []*[]byte{&op.Key, &op.Value} {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return op, nil, errPiece
		}
		*field, b = b[w:w+int(n)], b[w+int(n):]
	}
	return op, b, nil
}

// stage commits a batch of any size. Readers see all of it or nothing: they see
// the state before until it is applied, and after an error.
func (c *committer) stage(ops []kv.Op) error {
	n, err := c.writePieces(ops)
	if err != nil {
		return err
	}
	err = c.txn(func(add func(kv.Op) error) error {
		return add(kv.Put(markerKey, binary.BigEndian.AppendUint32(nil, n)))
	})
	if err == nil {
		err = c.apply(n)
	}
	if err != nil {
		return c.broken(err)
	}
	c.db.show()
	return nil
}

// writePieces returns how many pieces there are.
func (c *committer) writePieces(ops []kv.Op) (n uint32, err error) {
	var piece []byte
	var pending []kv.Op
	flush := func(last bool) error {
		if len(piece) > 0 && (last || len(piece) >= c.pieceSize()) {
			pending = append(pending, kv.Put(pieceKey(n), piece))
			n, piece = n+1, nil
		}
		return c.flush(&pending, last)
	}
	for _, op := range ops {
		if len(piece) > 0 && len(piece)+len(op.Key)+len(op.Value) > 2*c.pieceSize() {
			pending = append(pending, kv.Put(pieceKey(n), piece))
			n, piece = n+1, nil
		}
		piece = appendOp(piece, op)
		if err := flush(false); err != nil {
			return n, err
		}
	}
	return n, flush(true)
}

// flush commits pending as far as whole transactions can be filled, or all of
// it when it is the last.
func (c *committer) flush(pending *[]kv.Op, last bool) error {
	var size, n int64
	for i := 0; i < len(*pending); i++ {
		cost := c.opCost((*pending)[i])
		if n > 0 && (size+cost > c.maxSize || n+1 > c.maxOps) {
			if err := c.putAll((*pending)[:i]); err != nil {
				return err
			}
			*pending = append([]kv.Op(nil), (*pending)[i:]...)
			i, size, n = 0, 0, 0
			cost = c.opCost((*pending)[0])
		}
		size, n = size+cost, n+1
	}
	if !last || n == 0 {
		return nil
	}
	err := c.putAll(*pending)
	*pending = nil
	return err
}

func (c *committer) putAll(ops []kv.Op) error {
	return c.txn(func(add func(kv.Op) error) error {
		for _, op := range ops {
			if err := add(op); err != nil {
				return err
			}
		}
		return nil
	})
}

// apply applies the n pieces and clears the stage. Doing it twice is harmless, as
// the ops keep their order.
func (c *committer) apply(n uint32) error {
	var pending []kv.Op
	for i := range n {
		piece, err := c.piece(i)
		if err != nil {
			return err
		}
		for len(piece) > 0 {
			var op kv.Op
			if op, piece, err = readOp(piece); err != nil {
				return damaged(err)
			}
			op.Key = dataKey(op.Key)
			pending = append(pending, op)
		}
		if err := c.flush(&pending, false); err != nil {
			return err
		}
	}
	if err := c.flush(&pending, true); err != nil {
		return err
	}
	if err := c.putAll([]kv.Op{kv.Del(markerKey)}); err != nil {
		return err
	}
	return c.clearStage()
}

func (c *committer) piece(n uint32) ([]byte, error) {
	txn := c.db.bdb.NewTransactionAt(c.db.last, false)
	defer txn.Discard()
	item, err := txn.Get(pieceKey(n))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, damaged(fmt.Errorf("piece %d of a large commit is missing", n))
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// clearStage removes the pieces of a batch that is not committed, or is applied.
func (c *committer) clearStage() error {
	var pending []kv.Op
	txn := c.db.bdb.NewTransactionAt(c.db.last, false)
	defer txn.Discard()
	opts := badger.DefaultIteratorOptions
	opts.Prefix = []byte{stagePrefix}
	opts.PrefetchValues = false
	it := txn.NewIterator(opts)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		pending = append(pending, kv.Del(it.Item().KeyCopy(nil)))
	}
	return c.flush(&pending, true)
}

// recover finishes or discards the batch that a crash left on the stage.
func (db *store) recover() error {
	c := newCommitter(db)
	txn := db.bdb.NewTransactionAt(db.last, false)
	item, err := txn.Get(markerKey)
	var marker []byte
	if err == nil {
		marker, err = item.ValueCopy(nil)
	}
	txn.Discard()
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return c.clearStage()
	case err != nil:
		return err
	case len(marker) != 4:
		return damaged(errors.New("the marker of a large commit cannot be decoded"))
	}
	return c.apply(binary.BigEndian.Uint32(marker))
}
