// SPDX-License-Identifier: Apache-2.0

package history

import (
	"sync"

	"restante/metabase/internal/tree"
	"restante/metabase/item"
)

// Live counts, for each revision, the properties that it stored last and
// that are still in place.
type Live struct {
	mu    sync.Mutex // guards what follows
	Count map[item.Rev]int
}

// Begin counts the properties of a tree.
func (c *Live) Begin(root *tree.Node) {
	c.Count = map[item.Rev]int{}
	var add func(*tree.Node) bool
	add = func(n *tree.Node) bool {
		for _, p := range n.Items.All() {
			c.Count[p.Rev]++
		}
		n.Kids.All(add)
		return true
	}
	add(root)
}

// Of returns the count of rev.
func (c *Live) Of(rev item.Rev) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Count[rev]
}

// Take counts the properties that list, which was committed, adds and removes.
func (c *Live) Take(list []tree.KeyDelta) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range list {
		for _, p := range d.Props {
			if p.New != nil {
				c.Count[p.New.Rev]++
			}
			if p.Old == nil {
				continue
			}
			if c.Count[p.Old.Rev]--; c.Count[p.Old.Rev] == 0 {
				delete(c.Count, p.Old.Rev)
			}
		}
	}
}
