// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"bytes"
	"context"
	"hash/maphash"
	"iter"
	"slices"
	"sync"
)

// A node of a persistent treap: a tree by key and a heap by weight. A change
// copies the path to it, so the holder of a root sees its own version for ever.
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

// split returns the parts below and above key, without key itself.
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

// A memMap is shared by the DBs of one map.
type memMap struct {
	seed maphash.Seed

	mu    sync.RWMutex // guards what follows
	root  *node        // replaced, never changed in place
	nodes []*mem
}

type mem struct {
	shared *memMap

	// Guarded by shared.mu.
	closed  bool
	watches []watch
}

type watch struct {
	prefix  []byte
	changed chan struct{} // capacity 1
}

// NewMem returns a DB that is in memory only.
func NewMem() DB { return NewMemNodes(1)[0] }

// NewMemNodes returns n DBs that share one map, as the nodes of a cluster do.
// Each is closed on its own.
func NewMemNodes(n int) []DB {
	shared := &memMap{seed: maphash.MakeSeed()}
	var out []DB
	for range n {
		m := &mem{shared: shared}
		shared.nodes, out = append(shared.nodes, m), append(out, m)
	}
	return out
}

func (m *mem) current() (*node, error) {
	m.shared.mu.RLock()
	defer m.shared.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	return m.shared.root, nil
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
			// Reuse the memory, as the durable one does: tests then find a caller
			// that keeps it.
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
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for _, op := range ops {
		if op.Kind != OpMust {
			continue
		}
		if value, ok := m.shared.root.get(op.Key); !op.Holds(value, ok) {
			return ErrMoved
		}
	}
	for _, op := range ops {
		m.shared.apply(op)
	}
	for _, other := range m.shared.nodes {
		if other != m {
			other.notify(ops)
		}
	}
	return nil
}

func (s *memMap) apply(op Op) {
	if op.Kind == OpMust {
		return
	}
	below, above := s.root.split(op.Key)
	if op.Kind == OpPut {
		n := &node{key: bytes.Clone(op.Key), value: bytes.Clone(op.Value), weight: maphash.Bytes(s.seed, op.Key)}
		below = join(below, n)
	}
	s.root = join(below, above)
}

// notify tells the watches of a prefix that ops write below.
func (m *mem) notify(ops []Op) {
	for _, w := range m.watches {
		if slices.ContainsFunc(ops, func(op Op) bool { return op.Kind != OpMust && bytes.HasPrefix(op.Key, w.prefix) }) {
			select {
			case w.changed <- struct{}{}:
			default: // a note is there already
			}
		}
	}
}

func (m *mem) Changed(prefix []byte) <-chan struct{} {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	if len(m.shared.nodes) == 1 {
		return nil
	}
	w := watch{bytes.Clone(prefix), make(chan struct{}, 1)}
	m.watches = append(m.watches, w)
	return w.changed
}

func (m *mem) Close() error {
	m.shared.mu.Lock()
	defer m.shared.mu.Unlock()
	m.closed, m.watches = true, nil
	return nil
}
