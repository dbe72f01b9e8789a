// SPDX-License-Identifier: Apache-2.0

package metabase

// checkLocks holds the promise of Locked: no key below one that stores a
// locked item stores an item of that ID. It looks at what list changed only.
func checkLocks(next *image, list []keyDelta) []Problem {
	var out []Problem
	for _, d := range list {
		if d.removed {
			continue
		}
		for _, p := range d.props {
			if p.new == nil {
				continue
			}
			if by, ok := lockAbove(next, d.path, p.id); ok {
				out = append(out, Problem{Path: d.path, ID: p.id, Err: because(Denied, "is locked at %s and cannot be overridden below it", by)})
			}
			if p.new.Attr&Locked == 0 || p.old != nil && p.old.Attr&Locked != 0 {
				continue
			}
			out = append(out, overrides(next, d.path, p.id)...)
		}
	}
	return out
}

// lockAbove finds the key above p that has id locked.
func lockAbove(img *image, p Path, id ID) (Path, bool) {
	n, end := img.root, 0
	for known := img.trail.to(p); n != nil && end < len(p) && p != Root; {
		if item := n.items.find(id); item != nil && item.Attr&Locked != 0 {
			return upTo(p, end), true
		}
		if len(known) > 1 {
			known = known[1:]
			n, end = known[0].node, known[0].end
			continue
		}
		n, end = n.step(p, end)
	}
	return "", false
}

// overrides tells, of an item that is being locked at p, what stands in its way.
func overrides(img *image, p Path, id ID) (out []Problem) {
	img.lookup(p).walk(p, func(q Path, n *node) bool {
		if _, ok := n.get(id); ok && q != p {
			out = append(out, Problem{Path: p, ID: id, Other: q, Err: because(InUse, "cannot be locked: %s overrides it", q)})
		}
		return true
	})
	return out
}
