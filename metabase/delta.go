// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"slices"

	"restante/metabase/internal/pmap"
)

// A keyDelta is the difference of one key between two trees. It can be applied in
// either direction.
type keyDelta struct {
	path             Path // as spelled in the newer tree, or in the older if it is removed
	added, removed   bool
	oldName, newName string
	oldMod, newMod   int64
	props            []propDelta // sorted by id

	node *node // the key in the newer tree; nil of a delta read from the history
}

// A propDelta is the difference of one property; old or new is nil if there is none.
type propDelta struct {
	id       ID
	old, new *Property
}

// quiet reports whether only the revision that stored the property differs.
func (p propDelta) quiet() bool {
	return p.old != nil && p.new != nil && p.old.same(*p.new)
}

// quiet reports whether a reader of values sees no difference.
func (d keyDelta) quiet() bool {
	return !d.added && !d.removed && d.oldName == d.newName &&
		!slices.ContainsFunc(d.props, func(p propDelta) bool { return !p.quiet() })
}

// diff lists the keys whose own data, name or existence differ, parents first. It
// skips the subtrees that both share.
func diff(old, new *node) []keyDelta {
	var out []keyDelta
	diffNode(Root, pmap.Pair[*node]{Old: old, New: new}, &out)
	return out
}

// diffAt is diff for trees that differ only at or below the ends of old and new.
// One of them may be nil; both are if nothing differs.
func diffAt(old, new *trail) []keyDelta {
	t := new
	if t == nil {
		t = old
	}
	if t == nil {
		return nil
	}
	var out []keyDelta
	diffNode(t.spell(), pmap.Pair[*node]{Old: old.last(), New: new.last()}, &out)
	return out
}

func diffNode(p Path, n pmap.Pair[*node], out *[]keyDelta) {
	if n.Old == n.New {
		return
	}
	d := keyDelta{path: p, added: n.Old == nil, removed: n.New == nil, node: n.New}
	var oldProps, newProps []Property
	var oldKids, newKids *kids
	if n.Old != nil {
		d.oldName, d.oldMod, oldProps, oldKids = n.Old.name, n.Old.modified, n.Old.items.list, n.Old.kids
	}
	if n.New != nil {
		d.newName, d.newMod, newProps, newKids = n.New.name, n.New.modified, n.New.items.list, n.New.kids
	}
	d.props = diffProps(oldProps, newProps)
	respelled := d.oldName != d.newName && !d.added && !d.removed
	if d.added || d.removed || len(d.props) > 0 || respelled || d.oldMod != d.newMod {
		*out = append(*out, d)
	}
	for _, kid := range pmap.Diff(oldKids, newKids) {
		diffNode(p.Join(kid.Name), kid, out)
	}
}

func diffProps(old, new []Property) []propDelta {
	var out []propDelta
	for len(old) > 0 || len(new) > 0 {
		switch {
		case len(new) == 0 || len(old) > 0 && old[0].ID < new[0].ID:
			out = append(out, propDelta{old[0].ID, &old[0], nil})
			old = old[1:]
		case len(old) == 0 || new[0].ID < old[0].ID:
			out = append(out, propDelta{new[0].ID, nil, &new[0]})
			new = new[1:]
		default:
			if !old[0].same(new[0]) || old[0].Rev != new[0].Rev {
				out = append(out, propDelta{old[0].ID, &old[0], &new[0]})
			}
			old, new = old[1:], new[1:]
		}
	}
	return out
}

// undo returns the tree before list, which led to root.
func undo(root *node, list []keyDelta) *node {
	for _, d := range slices.Backward(list) { // children before their parents
		if d.added {
			root = root.change(d.path, func(*node) *node { return nil })
		}
	}
	for _, d := range list {
		if d.added {
			continue
		}
		root = root.change(d.path, func(n *node) *node {
			prev := node{name: d.oldName, modified: d.oldMod}
			if n != nil {
				prev.items, prev.kids = n.items, n.kids
			}
			prev.items = itemsOf(undoProps(prev.items.list, d.props))
			return &prev
		})
	}
	return root
}

func undoProps(props []Property, list []propDelta) []Property {
	props = slices.Clone(props)
	for _, d := range list {
		i, ok := find(props, d.id)
		switch {
		case ok && d.old != nil:
			props[i] = *d.old
		case ok:
			props = slices.Delete(props, i, i+1)
		case d.old != nil:
			props = slices.Insert(props, i, *d.old)
		}
	}
	return slices.Clip(props)
}
