// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"slices"

	"restante/metabase/internal/pmap"
	"restante/metabase/item"
	"restante/metabase/key"
)

// A KeyDelta is the difference of one key between two trees. It can be applied in
// either direction.
type KeyDelta struct {
	Path                     key.Path // as spelled in the newer tree, or in the older if it is removed
	Added, Removed           bool
	OldName, NewName         string
	OldModified, NewModified int64
	Props                    []PropertyDelta // sorted by ID

	Node *Node // the key in the newer tree; nil of a delta read from the history
}

// A PropertyDelta is the difference of one property; Old or New is nil if there is none.
type PropertyDelta struct {
	ID       item.ID
	Old, New *item.Property
}

// Quiet reports whether only the revision that stored the property differs.
func (p PropertyDelta) Quiet() bool {
	return p.Old != nil && p.New != nil && p.Old.Same(*p.New)
}

// Quiet reports whether a reader of values sees no difference.
func (d KeyDelta) Quiet() bool {
	return !d.Added && !d.Removed && d.OldName == d.NewName &&
		!slices.ContainsFunc(d.Props, func(p PropertyDelta) bool { return !p.Quiet() })
}

// Diff lists the keys whose own data, name or existence differ, parents first. It
// skips the subtrees that both share.
func Diff(old, new *Node) []KeyDelta {
	var out []KeyDelta
	diffNode(key.Root, pmap.Pair[*Node]{Old: old, New: new}, &out)
	return out
}

// DiffAt is Diff for trees that differ only at or below the ends of old and new.
// One of them may be nil; both are if nothing differs.
func DiffAt(old, new *Trail) []KeyDelta {
	t := new
	if t == nil {
		t = old
	}
	if t == nil {
		return nil
	}
	var out []KeyDelta
	diffNode(t.Spell(), pmap.Pair[*Node]{Old: old.Last(), New: new.Last()}, &out)
	return out
}

func diffNode(p key.Path, n pmap.Pair[*Node], out *[]KeyDelta) {
	if n.Old == n.New {
		return
	}
	d := KeyDelta{Path: p, Added: n.Old == nil, Removed: n.New == nil, Node: n.New}
	var oldProps, newProps []item.Property
	var oldKids, newKids *Kids
	if n.Old != nil {
		d.OldName, d.OldModified, oldProps, oldKids = n.Old.Spelling, n.Old.Modified, n.Old.Items.All(), n.Old.Kids
	}
	if n.New != nil {
		d.NewName, d.NewModified, newProps, newKids = n.New.Spelling, n.New.Modified, n.New.Items.All(), n.New.Kids
	}
	d.Props = DiffProperties(oldProps, newProps)
	respelled := d.OldName != d.NewName && !d.Added && !d.Removed
	if d.Added || d.Removed || len(d.Props) > 0 || respelled || d.OldModified != d.NewModified {
		*out = append(*out, d)
	}
	for _, kid := range pmap.Diff(oldKids, newKids) {
		diffNode(p.Join(kid.Name), kid, out)
	}
}

// DiffProperties lists the properties that differ, by ID. Both lists must be sorted
// by ID.
func DiffProperties(old, new []item.Property) []PropertyDelta {
	var out []PropertyDelta
	for len(old) > 0 || len(new) > 0 {
		switch {
		case len(new) == 0 || len(old) > 0 && old[0].ID < new[0].ID:
			out = append(out, PropertyDelta{old[0].ID, &old[0], nil})
			old = old[1:]
		case len(old) == 0 || new[0].ID < old[0].ID:
			out = append(out, PropertyDelta{new[0].ID, nil, &new[0]})
			new = new[1:]
		default:
			if !old[0].Same(new[0]) || old[0].Rev != new[0].Rev {
				out = append(out, PropertyDelta{old[0].ID, &old[0], &new[0]})
			}
			old, new = old[1:], new[1:]
		}
	}
	return out
}

// Undo returns the tree before list, which led to root.
func Undo(root *Node, list []KeyDelta) *Node {
	for _, d := range slices.Backward(list) { // children before their parents
		if d.Added {
			root = root.Change(d.Path, func(*Node) *Node { return nil })
		}
	}
	for _, d := range list {
		if d.Added {
			continue
		}
		root = root.Change(d.Path, func(n *Node) *Node {
			prev := Node{Spelling: d.OldName, Modified: d.OldModified}
			if n != nil {
				prev.Items, prev.Kids = n.Items, n.Kids
			}
			prev.Items = item.ListOf(undoProps(prev.Items.All(), d.Props))
			return &prev
		})
	}
	return root
}

func undoProps(props []item.Property, list []PropertyDelta) []item.Property {
	props = slices.Clone(props)
	for _, d := range list {
		i, ok := item.Search(props, d.ID)
		switch {
		case ok && d.Old != nil:
			props[i] = *d.Old
		case ok:
			props = slices.Delete(props, i, i+1)
		case d.Old != nil:
			props = slices.Insert(props, i, *d.Old)
		}
	}
	return slices.Clip(props)
}

// Inverse gives what leads from the newer tree to the older. [Undo] of it
// leads forward.
func Inverse(list []KeyDelta) []KeyDelta {
	out := slices.Clone(list)
	for i, d := range list {
		out[i].Added, out[i].Removed = d.Removed, d.Added
		out[i].OldName, out[i].NewName = d.NewName, d.OldName
		out[i].OldModified, out[i].NewModified = d.NewModified, d.OldModified
		out[i].Props = slices.Clone(d.Props)
		for k, p := range d.Props {
			out[i].Props[k].Old, out[i].Props[k].New = p.New, p.Old
		}
	}
	return out
}
