// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// checkLocks holds the promise of Locked: no key below one that stores a
// locked item stores an item of that ID. It looks at what list changed only.
func checkLocks(next *image, list []tree.KeyDelta) []Problem {
	var out []Problem
	for _, d := range list {
		if d.Removed {
			continue
		}
		for _, p := range d.Props {
			if p.New == nil {
				continue
			}
			if by, ok := lockAbove(next, d.Path, p.ID); ok {
				out = append(out, Problem{Path: d.Path, ID: p.ID, Err: key.Errorf(Denied, "is locked at %s and cannot be overridden below it", by)})
			}
			if p.New.Attr&Locked == 0 || p.Old != nil && p.Old.Attr&Locked != 0 {
				continue
			}
			out = append(out, overrides(next, d.Path, p.ID)...)
		}
	}
	return out
}

// lockAbove finds the key above p that has id locked.
func lockAbove(img *image, p Path, id ID) (Path, bool) {
	n, end := img.root, 0
	for known := img.trail.To(p); n != nil && end < len(p) && p != Root; {
		if item := n.Items.Find(id); item != nil && item.Attr&Locked != 0 {
			return p.Prefix(end), true
		}
		if len(known) > 1 {
			known = known[1:]
			n, end = known[0].Node, known[0].End
			continue
		}
		n, end = n.Step(p, end)
	}
	return "", false
}

// overrides tells, of an item that is being locked at p, what stands in its way.
func overrides(img *image, p Path, id ID) (out []Problem) {
	img.lookup(p).Walk(p, func(q Path, n *tree.Node) bool {
		if _, ok := n.Get(id); ok && q != p {
			out = append(out, Problem{Path: p, ID: id, Other: q, Err: key.Errorf(InUse, "cannot be locked: %s overrides it", q)})
		}
		return true
	})
	return out
}
