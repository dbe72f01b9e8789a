// SPDX-License-Identifier: Apache-2.0

package stored

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"restante/internal/kv"
	"restante/internal/progress"
	"restante/internal/seal"
	"restante/metabase/internal/casefold"
	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// LoadTree reads the keys of a map in the order of a walk, and builds each key after the
// last one below it.
func LoadTree(ctx context.Context, db kv.DB, secret seal.Key) (*tree.Node, error) {
	l, count := loader{key: secret, classes: map[item.Value]item.Value{}}, progress.From(ctx)
	for pair, err := range db.Scan(ctx, []byte{NodeKeys}) {
		if err != nil {
			return nil, err
		}
		if err := l.add(pair); err != nil {
			return nil, err
		}
		count.Add(1)
	}
	if len(l.open) == 0 {
		return nil, key.Errorf(key.Damaged, "the root key is missing")
	}
	l.closeTo(0)
	return l.root, nil
}

type loader struct {
	key     seal.Key
	classes map[item.Value]item.Value // one copy of each class's name
	open    []opened                  // the keys from the root to the one read last
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
		return bad(key.Errorf(key.Damaged, "the key above it is missing"))
	}
	l.closeTo(depth)
	r := NewReader(pair.Value, l.key)
	n := r.Node()
	if err := r.End(); err != nil {
		return bad(err)
	}
	if i := bytes.LastIndexByte(pair.Key, 0); depth > 0 {
		if !bytes.Equal(pair.Key[:i], l.open[depth-1].key) {
			return bad(key.Errorf(key.Damaged, "the key above it is missing"))
		}
		if casefold.Fold(n.Spelling) != string(pair.Key[i+1:]) {
			return bad(key.Errorf(key.Damaged, "holds the name %q", n.Spelling))
		}
	}
	l.intern(n)
	l.open = append(l.open, opened{key: bytes.Clone(pair.Key), node: n})
	return nil
}

// intern lets keys of one class share its name.
func (l *loader) intern(n *tree.Node) {
	class := n.Items.Find(item.KeyType)
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
