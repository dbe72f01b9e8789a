// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"context"
	"hash/maphash"
	"iter"
	"sync"
)

// A node of a persistent treap: a tree by key and a heap by weight. A change
// copies the path to it, so whoever holds a root sees its own version forever.
type node struct {
	key, value  []byte
	weight      uint64
	left, right *node
}

func (n *node) get(key []byte) ([]byte, bool) {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return nil, false
}

// split gives what is below key and what is above it; an equal one is left out.
func (n *node) split(key []byte) (below, above *node) {
	if n == nil {
		return nil, nil
	}
	cp := *n
	switch c := bytes.Compare(n.key, key); {
	case c < 0:
		cp.right, above = n.right.split(key)
		return &cp, above
	case c > 0:
		below, cp.left = n.left.split(key)
		return below, &cp
	}
	return n.left, n.right
}

// join puts two trees together, all of a being below all of b.
func join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight > b.weight:
		cp := *a
		cp.right = join(a.right, b)
		return &cp
	}
	cp := *b
	cp.left = join(a, b.left)
	return &cp
}

// ascend yields from the first key that is not below from, until stop.
func (n *node) ascend(from []byte, yield func(*node) bool) bool {
	if n == nil {
		return true
	}
	if bytes.Compare(n.key, from) < 0 {
		return n.right.ascend(from, yield)
	}
	return n.left.ascend(from, yield) && yield(n) && n.right.ascend(from, yield)
}

type mem struct {
	seed maphash.Seed

	mu     sync.RWMutex // guards what follows
	root   *node        // replaced, never changed in place
	closed bool
}

// NewMem makes a DB that lives in memory and forgets.
func NewMem() DB { return &mem{seed: maphash.MakeSeed()} }

func (m *mem) current() (*node, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	return m.root, nil
}

func (m *mem) Get(key []byte) ([]byte, bool, error) {
	root, err := m.current()
	if err != nil {
		return nil, false, err
	}
	value, ok := root.get(key)
	if !ok {
		return nil, false, nil
	}
	return append([]byte{}, value...), true, nil
}

func (m *mem) Scan(ctx context.Context, prefix []byte) iter.Seq2[Pair, error] {
	root, err := m.current()
	prefix = bytes.Clone(prefix)
	return func(yield func(Pair, error) bool) {
		if err != nil {
			yield(Pair{}, err)
			return
		}
		var pair Pair
		root.ascend(prefix, func(n *node) bool {
			if !bytes.HasPrefix(n.key, prefix) {
				return false
			}
			if err := context.Cause(ctx); err != nil {
				yield(Pair{}, err)
				return false
			}
			// Into the same memory each time, as the durable one does: a caller
			// who keeps them is found out in his tests.
			pair.Key = append(pair.Key[:0], n.key...)
			pair.Value = append(pair.Value[:0], n.value...)
			return yield(pair, nil)
		})
	}
}

func (m *mem) Commit(ctx context.Context, ops ...Op) error {
	if err := Check(ops...); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for _, op := range ops {
		below, above := m.root.split(op.Key)
		if !op.Delete {
			n := &node{key: bytes.Clone(op.Key), value: bytes.Clone(op.Value), weight: maphash.Bytes(m.seed, op.Key)}
			below = join(below, n)
		}
		m.root = join(below, above)
	}
	return nil
}

func (m *mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
