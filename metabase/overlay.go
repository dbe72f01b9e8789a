// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"cmp"
	"slices"
	"time"

	"restante/metabase/internal/tree"
	"restante/metabase/item"
)

// A MemoryKey is a key that no store has, such as a session of the moment.
type MemoryKey struct {
	Name, Class string
	Modified    time.Time
	Properties  []Property
}

// WithKeys is s with such keys below p, whose parent exists, in place of its own.
// Where there is no key at p, it has one of that class. Nothing of them can be
// changed by a batch.
func (s Snapshot) WithKeys(p Path, class string, keys []MemoryKey) Snapshot {
	kids := make([]*tree.Node, len(keys))
	for i, k := range keys {
		kids[i] = k.node()
	}
	img := *s.img
	img.trail = nil
	img.root = img.root.Change(p, func(n *tree.Node) *tree.Node {
		if n == nil {
			n = MemoryKey{Name: p.Base(), Class: class, Modified: img.time}.node()
		}
		return n.WithKids(tree.KidsOf(kids))
	})
	return Snapshot{&img}
}

func (k MemoryKey) node() *tree.Node {
	props := append(slices.Clone(k.Properties), Property{ID: KeyType, UserType: UTServer, Value: String(k.Class)})
	slices.SortFunc(props, func(a, b Property) int { return cmp.Compare(a.ID, b.ID) })
	return &tree.Node{Spelling: k.Name, Items: item.ListOf(props), Modified: k.Modified.UnixNano()}
}
