// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"errors"
	"iter"
	"slices"
	"sync/atomic"

	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// A View is one state of the tree as one caller may see it. Its own methods
// leave out the keys that the caller may not read; those of the Snapshot do not.
type View struct {
	Snapshot
	who   []Principal
	lists *listIndex // nil: not needed so far
}

// View gives the state as somebody who is all of who may see it. A View must
// not be used by several goroutines at once.
func (s Snapshot) View(who []Principal) *View { return &View{Snapshot: s, who: who} }

// Sees reports whether the caller may read p, which need not exist.
func (v *View) Sees(p Path) bool { return v.Allows(v.who, p, Read) }

// Hidden finds a key at or below p that the caller may not read.
func (v *View) Hidden(p Path) (Path, bool) {
	if !v.Sees(p) {
		return p, true
	}
	// What is hidden begins at a key with an access list.
	for _, q := range v.listsAt(p) {
		if !v.Sees(q) {
			return q, true
		}
	}
	return "", false
}

// Leads reports whether the caller may read p or a key below it.
func (v *View) Leads(p Path) bool {
	return v.Sees(p) || slices.ContainsFunc(v.listsAt(p), v.Sees)
}

// Conceals reports whether a request for right r at p, which the caller may not
// read, is to be answered as if p did not exist: the caller would have r there if
// it did not, so that a refusal would tell that it does. A key that leads to one
// that the caller may read is listed, and no secret.
func (v *View) Conceals(p Path, r Right) bool {
	if v.Sees(p) {
		return false
	}
	for p != Root && !v.Sees(p.Parent()) {
		p = p.Parent()
	}
	return p != Root && !v.Leads(p) && v.Allows(v.who, p.Parent(), r)
}

// Count counts the children of p that lead to a key that the caller may read.
func (v *View) Count(p Path) int {
	key, ok := v.Key(p)
	if !ok {
		return 0
	}
	sees, n := v.Sees(p), 0
	if sees {
		n = key.Children
	}
	counted := map[string]bool{}
	for _, q := range v.listsAt(p) {
		child, ok := childToward(p, q)
		if name := child.Fold(); !ok || counted[name] {
			continue
		} else {
			counted[name] = true
		}
		switch leads := v.Leads(child); {
		case sees && !leads:
			n--
		case !sees && leads:
			n++
		}
	}
	return n
}

// childToward is the child of p at or above q, which is at or below p; there is
// none of p itself.
func childToward(p, q Path) (Path, bool) {
	if p.Equal(q) {
		return "", false
	}
	for !q.Parent().Equal(p) {
		q = q.Parent()
	}
	return q, true
}

// Children yields the names of those children of p that lead to a key that the
// caller may read.
func (v *View) Children(p Path) iter.Seq[string] {
	return func(yield func(string) bool) {
		for name := range v.Snapshot.Children(p) {
			if v.Leads(p.Join(name)) && !yield(name) {
				return
			}
		}
	}
}

// ChildKeys yields those children of p that the caller may read, in the order of
// Children, each with its properties.
func (v *View) ChildKeys(p Path) iter.Seq2[Key, []Property] {
	return func(yield func(Key, []Property) bool) {
		n := v.node(p)
		if n == nil {
			return
		}
		sees := v.Sees(p)
		p = v.img.root.Spell(p)
		for _, k := range n.Kids.Sorted() {
			at := p.Join(k.Spelling)
			if _, own := k.Get(AccessList); own && !v.Sees(at) || !own && !sees {
				continue
			}
			if !yield(keyOf(at, k), v.properties(at, k)) {
				return
			}
		}
	}
}

// Walk yields those of the keys at and below p that lead to a key that the
// caller may read.
func (v *View) Walk(p Path) iter.Seq[Path] {
	return func(yield func(Path) bool) {
		for q := range v.Snapshot.Walk(p) {
			if v.Leads(q) && !yield(q) {
				return
			}
		}
	}
}

// DataPaths lists the keys at and below p that store the property and that the
// caller may read.
func (v *View) DataPaths(p Path, id ID) []Path {
	return slices.DeleteFunc(v.Snapshot.DataPaths(p, id), func(q Path) bool { return !v.Sees(q) })
}

// These stand for a reason that names a key that the caller may not read.
const (
	redactedBelow = "denied: the right to all that is below it is missing"
	redactedOther = "denied: a key that you may not read stands against it"
)

// Redact gives err without the keys of its problems that the caller may not
// read. A key that the caller has named, or one above it, is no secret.
func (v *View) Redact(err error, named ...Path) error {
	var refused *Refused
	if !errors.As(err, &refused) {
		return err
	}
	known := func(p Path) bool {
		return p == "" || v.Sees(p) || slices.ContainsFunc(named, func(q Path) bool { return q.Within(p) })
	}
	list, redacted := slices.Clone(refused.Problems), false
	for i, p := range list {
		if known(p.Path) && known(p.Other) {
			continue
		}
		redacted = true
		if known(p.Path) {
			list[i].Other, list[i].Err = "", key.Errorf(key.KindOf(p.Err), redactedOther)
			continue
		}
		list[i] = Problem{Err: key.Errorf(Denied, redactedOther)}
		if above := slices.IndexFunc(named, p.Path.Within); above >= 0 {
			list[i] = Problem{Path: named[above], Err: key.Errorf(Denied, redactedBelow)}
		}
	}
	if !redacted {
		return err
	}
	return &Refused{Problems: distinct(list)}
}

// A listIndex finds the keys that store an access list at and below each key:
// what is hidden from somebody, or open to them, begins there.
type listIndex struct {
	root  *tree.Node
	below map[string][]Path // by folded path
}

// access is what a store's images share: who may do everything, and the index
// of the tree that was last asked for it.
type access struct {
	admins []Principal
	lists  atomic.Pointer[listIndex]
}

func (v *View) listsAt(p Path) []Path {
	if v.img == nil {
		return nil
	}
	if v.lists == nil {
		v.lists = v.img.listIndex()
	}
	return v.lists.below[p.Fold()]
}

func (img *image) listIndex() *listIndex {
	if img.access != nil {
		if known := img.access.lists.Load(); known != nil && known.root == img.root {
			return known
		}
	}
	index := &listIndex{img.root, map[string][]Path{}}
	img.root.Walk(Root, func(q Path, n *tree.Node) bool {
		if n.Items.Find(AccessList) != nil {
			for up := range q.Parents() {
				at := up.Fold()
				index.below[at] = append(index.below[at], q)
			}
		}
		return true
	})
	if img.access != nil {
		img.access.lists.Store(index)
	}
	return index
}
