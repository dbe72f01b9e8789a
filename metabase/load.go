// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"restante/internal/kv"
	"restante/internal/progress"
	"restante/internal/seal"
	"restante/metabase/internal/casefold"
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
	root, err := s.loadTree(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.loadPages(ctx, m.Rev); err != nil {
		return nil, err
	}
	s.live.Begin(root)
	if err := s.sweepHeads(ctx); err != nil && !errors.Is(err, kv.ErrMoved) && !errors.Is(err, kv.ErrReadOnly) {
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

// loadTree reads the keys in the order of a walk, and builds each key after the
// last one below it.
func (s *Store) loadTree(ctx context.Context) (*tree.Node, error) {
	l, count := loader{key: s.key, classes: map[Value]Value{}}, progress.From(ctx)
	for pair, err := range s.db.Scan(ctx, []byte{stored.NodeKeys}) {
		if err != nil {
			return nil, err
		}
		if err := l.add(pair); err != nil {
			return nil, err
		}
		count.Add(1)
	}
	if len(l.open) == 0 {
		return nil, key.Errorf(Damaged, "the root key is missing")
	}
	l.closeTo(0)
	return l.root, nil
}

type loader struct {
	key     seal.Key
	classes map[Value]Value // one copy of each class's name
	open    []opened        // the keys from the root to the one read last
	root    *tree.Node
}

type opened struct {
	key  []byte // of the map
	node *tree.Node
	kids []*tree.Node
}

func (l *loader) add(pair kv.Pair) error {
	depth := bytes.Count(pair.Key, []byte{0})
	bad := func(err error) error { return fmt.Errorf("key %s: %w", shownKey(pair.Key), err) }
	if depth > len(l.open) || depth == 0 && len(pair.Key) != 1 {
		return bad(key.Errorf(Damaged, "the key above it is missing"))
	}
	l.closeTo(depth)
	r := stored.NewReader(pair.Value, l.key)
	n := r.Node()
	if err := r.End(); err != nil {
		return bad(err)
	}
	if i := bytes.LastIndexByte(pair.Key, 0); depth > 0 {
		if !bytes.Equal(pair.Key[:i], l.open[depth-1].key) {
			return bad(key.Errorf(Damaged, "the key above it is missing"))
		}
		if casefold.Fold(n.Spelling) != string(pair.Key[i+1:]) {
			return bad(key.Errorf(Damaged, "holds the name %q", n.Spelling))
		}
	}
	l.intern(n)
	l.open = append(l.open, opened{key: bytes.Clone(pair.Key), node: n})
	return nil
}

// intern lets keys of one class share its name.
func (l *loader) intern(n *tree.Node) {
	class := n.Items.Find(KeyType)
	if class == nil {
		return
	}
	if known, ok := l.classes[class.Value]; ok {
		class.Value = known // not yet published
	} else {
		l.classes[class.Value] = class.Value
	}
}

// closeTo finishes the open keys but for the first depth.
func (l *loader) closeTo(depth int) {
	for len(l.open) > depth {
		last := l.open[len(l.open)-1]
		l.open = l.open[:len(l.open)-1]
		last.node.Kids = tree.KidsOf(last.kids)
		if len(l.open) == 0 {
			l.root = last.node
			return
		}
		above := &l.open[len(l.open)-1]
		above.kids = append(above.kids, last.node)
	}
}

// shownKey formats a key of the map as a path.
func shownKey(key []byte) string {
	if len(key) < 2 {
		return "/"
	}
	return fmt.Sprintf("%q", strings.ReplaceAll(string(key[1:]), "\x00", "/"))
}
