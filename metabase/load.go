// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"restante/internal/kv"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// load reads the newest image, and where the history begins.
func (s *Store) load(ctx context.Context) (*image, error) {
	for {
		raw, ok, err := s.db.Get([]byte{stored.MetaKey})
		if err == nil && !ok {
			raw, err = s.create(ctx)
		}
		if errors.Is(err, kv.ErrMoved) {
			continue // another process has created it meanwhile
		}
		if err != nil {
			return nil, err
		}
		img, err := s.loadAt(ctx, raw)
		if now, _, lookup := s.db.Get([]byte{stored.MetaKey}); lookup != nil {
			return nil, lookup
		} else if !bytes.Equal(now, raw) {
			continue // another process has committed meanwhile
		}
		return img, err
	}
}

// loadAt reads the image of the revision whose record is raw.
func (s *Store) loadAt(ctx context.Context, raw []byte) (*image, error) {
	m, err := stored.DecodeMeta(raw)
	if err != nil {
		return nil, fmt.Errorf("the record of the revision: %w", err)
	}
	if !s.key.Fits(m.Proof) {
		return nil, key.Errorf(Invalid, "the machine key is not the one that this store was made with")
	}
	s.proof, s.committer.meta = m.Proof, raw
	root, err := stored.LoadTree(ctx, s.db, s.key)
	if err != nil {
		return nil, err
	}
	if err := s.pages.Load(ctx, m.Rev); err != nil {
		return nil, err
	}
	s.live.Begin(root)
	if err := s.pages.SweepHeads(ctx, &s.live, kv.Must([]byte{stored.MetaKey}, raw)); err != nil && !errors.Is(err, kv.ErrMoved) && !errors.Is(err, kv.ErrReadOnly) {
		return nil, err
	}
	return &image{root: root, rev: m.Rev, time: m.Time, access: &s.access}, nil
}

// create begins a store in a map that holds nothing and returns the record of
// its revision.
func (s *Store) create(ctx context.Context) ([]byte, error) {
	for pair, err := range s.db.Scan(ctx, nil) {
		if err != nil {
			return nil, err
		}
		if _, ok, err := s.db.Get([]byte{stored.MetaKey}); err != nil || ok {
			return nil, cmp.Or(err, kv.ErrMoved)
		}
		return nil, key.Errorf(Damaged, "the record of the revision is missing, but there is one of kind %q", pair.Key[:min(1, len(pair.Key))])
	}
	now := s.now()
	raw := stored.Meta{Time: now, Proof: s.key.Prove()}.Encode()
	return raw, s.db.Commit(ctx,
		kv.Must([]byte{stored.MetaKey}, nil),
		kv.Put([]byte{stored.MetaKey}, raw),
		kv.Put(stored.NodeKey(Root), stored.AppendNode(nil, &tree.Node{Modified: now.UnixNano()}, s.key)))
}
