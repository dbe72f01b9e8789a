// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"restante/metabase/acl"
	"restante/metabase/internal/tree"
	"restante/metabase/internal/unconfirmed"
	"restante/metabase/key"
)

// An authorizer asks the access lists for the rights that a request needs, and
// collects those that are missing. It asks for each right at a key once.
type authorizer struct {
	old          Snapshot
	who          []Principal
	unrestricted bool
	asked        map[grant]bool
	onAsk        func(Path, Right) // nil: none
	view         *View
	notFound     func(Path) // told of what is concealed from the caller

	problems  []Problem
	missing   []Refusal
	concealed []Refusal // that are answered as if there was no such key
}

// A grant is a right at a key.
type grant struct {
	path  Path
	right Right
}

func (a *authorizer) begin(old Snapshot, b *Batch, onAsk func(Path, Right), notFound func(Path)) {
	a.old, a.onAsk, a.notFound = old, onAsk, notFound
	a.unrestricted = old.unrestricted(b.Actor)
	for _, p := range b.Also {
		a.unrestricted = a.unrestricted || old.unrestricted(p)
	}
	if !a.unrestricted {
		a.who, a.asked = b.who(), map[grant]bool{}
		a.view = old.View(a.who)
	}
}

// permits reports whether every right that op needs is there.
func (a *authorizer) permits(op Op) bool {
	if a.unrestricted {
		return true
	}
	before := len(a.missing) + len(a.concealed)
	op.authorize(a)
	return len(a.missing)+len(a.concealed) == before
}

// allows is the one place where a request asks the access lists.
func (a *authorizer) allows(p Path, r Right) bool {
	g := grant{p, r}
	ok, known := a.asked[g]
	if !known {
		if a.onAsk != nil {
			a.onAsk(p, r)
		}
		ok = a.old.Allows(a.who, p, r)
		a.asked[g] = ok
	}
	return ok
}

// require asks for a right to the property id of a key, or with 0 to the key.
func (a *authorizer) require(p Path, id ID, r Right) {
	if a.allows(p, r) {
		return
	}
	if a.view.Conceals(p, r) {
		a.concealed = append(a.concealed, Refusal{Path: p, Need: r})
		a.notFound(p)
		return
	}
	a.missing = append(a.missing, Refusal{Path: p, Need: r})
	a.problems = append(a.problems, Problem{Path: p, ID: id, Err: key.Errorf(Denied, "denied: the right to %s is missing", r)})
}

// requireBelow is require for a key that the batch removes with one above it.
// Where the caller may not read the key, the problem is about the deepest key
// above it that the caller may read.
func (a *authorizer) requireBelow(p Path, r Right) {
	if a.allows(p, Read) {
		a.require(p, 0, r)
		return
	}
	a.missing = append(a.missing, Refusal{Path: p, Need: r | Read})
	for p != Root && !a.allows(p, Read) {
		p = p.Parent()
	}
	a.problems = append(a.problems, Problem{Path: p, Err: key.Errorf(Denied, "denied: the right to %s all that is below it is missing", r)})
}

// requireItem asks for the right to change one item into another: the right
// that the stricter of the two needs. A nil item is none.
func (a *authorizer) requireItem(p Path, id ID, items ...*Property) {
	right := Write
	for _, item := range items {
		switch {
		case item == nil:
		case item.ID == AccessList || item.Attr&Locked != 0:
			right = Control
		case item.Attr&Secure != 0 && right == Write:
			right = WriteSecret
		}
	}
	a.require(p, id, right)
}

// requireSet is requireItem for what is stored at p now and next.
func (a *authorizer) requireSet(p Path, next Property) {
	var was *Property
	if item, ok := a.old.Stored(p, next.ID); ok && a.allows(p, Write) { // or what is stored would tell
		was = &item
	}
	a.requireItem(p, next.ID, was, &next)
}

// requireSource asks for the right to copy what is at p, and with deep below it:
// a secret must not be copied to where the caller may use it. Keys that the
// caller may not read are not named.
func (a *authorizer) requireSource(p Path, deep bool) {
	top := a.old.node(p)
	a.require(p, 0, Read)
	if top == nil || !a.allows(p, Read) {
		return
	}
	hidden := false
	top.Walk(p, func(q Path, k *tree.Node) bool {
		if !a.allows(q, Read) {
			hidden = true
			a.missing = append(a.missing, Refusal{Path: q, Need: Read})
			return deep
		}
		for _, item := range k.Items.All() {
			if item.Attr&Secure != 0 {
				a.require(q, item.ID, WriteSecret)
			}
		}
		return deep
	})
	if hidden {
		a.problems = append(a.problems, Problem{Path: p, Err: key.Errorf(Denied, "denied: the right to read all that is below it is missing")})
	}
}

// requireLists asks for the right to write the access lists that a batch takes over
// for good from changes which are not confirmed: their authors' rights alone must not
// make them last.
func (a *authorizer) requireLists(wrote map[unconfirmed.PartName]unconfirmed.Part, pending unconfirmed.List, root *tree.Node) {
	if a.unrestricted {
		return
	}
	for _, w := range wrote {
		was, rev, ok := pending.Below(w.Path, w.ID)
		if w.ID != AccessList || !ok || root.Lookup(w.Path) == nil {
			continue
		}
		has := Right(0)
		switch {
		case was == nil && w.Path != Root:
			has = a.old.Rights(a.who, w.Path.Parent())
		case was != nil:
			list, _ := acl.Parse(was.Value) // one that does not read gives no right
			has = list.Rights(a.who)
		}
		if has&Control == 0 {
			a.missing = append(a.missing, Refusal{Path: w.Path, Need: Control})
			a.problems = append(a.problems, Problem{Path: w.Path, ID: w.ID, Err: key.Errorf(Denied,
				"denied: the right to control is that of revision %d, which is not confirmed", rev)})
		}
	}
}

// requireDeltas asks for what the whole change needs, whichever ops made it.
func (a *authorizer) requireDeltas(list []tree.KeyDelta) {
	if a.unrestricted {
		return
	}
	for _, d := range list {
		switch {
		case d.Added:
			a.require(d.Path.Parent(), 0, Create)
		case d.Removed:
			a.requireBelow(d.Path, Delete)
		case d.OldName != d.NewName:
			a.require(d.Path, 0, Delete)
		case len(d.Props) == 0:
			a.require(d.Path, 0, Write)
		}
		for _, p := range d.Props {
			switch {
			case d.Removed && p.Old.Attr&Locked == 0:
				// The right to remove the key includes its properties.
			case d.Added && p.New.Attr&(Secure|Locked) == 0 && p.ID != AccessList:
				// The right to create the key includes its properties.
			default:
				a.requireItem(d.Path, p.ID, p.Old, p.New)
			}
		}
	}
}
