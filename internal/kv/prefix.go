// SPDX-License-Identifier: Apache-2.0

package kv

import (
	"context"
	"iter"
)

type prefixed struct {
	db     DB
	prefix string
}

// Prefix returns the part of db whose keys begin with prefix; its keys are without
// the prefix. Commits of several such parts still share a sync. Its Close does
// nothing: db is closed by its owner.
func Prefix(db DB, prefix string) DB {
	if p, ok := db.(prefixed); ok {
		return prefixed{p.db, p.prefix + prefix}
	}
	return prefixed{db, prefix}
}

func (p prefixed) key(k []byte) []byte {
	out := make([]byte, 0, len(p.prefix)+len(k))
	return append(append(out, p.prefix...), k...)
}

func (p prefixed) Get(key []byte) ([]byte, bool, error) { return p.db.Get(p.key(key)) }

func (p prefixed) Scan(ctx context.Context, prefix []byte) iter.Seq2[Pair, error] {
	inner := p.db.Scan(ctx, p.key(prefix))
	return func(yield func(Pair, error) bool) {
		for pair, err := range inner {
			if err == nil {
				pair.Key = pair.Key[len(p.prefix):]
			}
			if !yield(pair, err) {
				return
			}
		}
	}
}

func (p prefixed) Commit(ctx context.Context, ops ...Op) error {
	moved := make([]Op, len(ops))
	for i, op := range ops {
		op.Key = p.key(op.Key)
		moved[i] = op
	}
	return p.db.Commit(ctx, moved...)
}

func (p prefixed) Changed(prefix []byte) <-chan struct{} { return p.db.Changed(p.key(prefix)) }

func (p prefixed) Close() error { return nil }
