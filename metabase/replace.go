// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"fmt"
	"iter"

	"restante/internal/record"
	"restante/internal/seal"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// Records gives the newest state as records, one for each key, parents first:
// all that it stores but what is volatile. A Replace takes them again. Secure
// values are in clear, or with sealed under the machine key, which proof names.
func (s *Store) Records(sealed bool) (rev Rev, proof []byte, records iter.Seq[[]byte]) {
	img := s.cur.Load()
	return img.rev, s.proof, func(yield func([]byte) bool) {
		more := true
		img.root.Walk(Root, func(p Path, n *tree.Node) bool {
			if !more {
				return false
			}
			b := record.AppendText(nil, string(p))
			if sealed {
				b = stored.AppendNode(b, n, s.key)
			} else {
				b = stored.AppendClear(b, n)
			}
			more = yield(b)
			return more
		})
	}
}

// A Replace puts another tree, made of records, in the place of the whole.
// What is the same and confirmed keeps its revision. Get one from Store.Replace.
type Replace struct {
	root *tree.Node
	key  seal.Key // the zero one where nothing is sealed
	keep []Path
}

// Keep leaves what is at and below p as it is in the store.
func (op *Replace) Keep(p ...Path) { op.keep = append(op.keep, p...) }

// Replace begins a Replace, to which records are then added. With a proof they
// are sealed, and the error is Invalid unless that was under this store's key;
// with nil they are in clear.
func (s *Store) Replace(proof []byte) (*Replace, error) {
	if proof == nil {
		return &Replace{}, nil
	}
	if !s.key.Fits(proof) {
		return nil, key.Errorf(Invalid, "sealed under another machine key")
	}
	return &Replace{key: s.key}, nil
}

// Add takes the next record, which it does not keep. The error is Damaged when
// it does not read, or its key has no parent yet or is there already.
func (op *Replace) Add(b []byte) error {
	r := stored.NewReader(b, op.key)
	p := Path(r.Text())
	n := r.Node()
	if err := r.End(); err != nil {
		return fmt.Errorf("key %q: %w", key.Clip(string(p)), err)
	}
	misplaced := key.Errorf(Damaged, "key %q is out of place", key.Clip(string(p)))
	if p.CheckStored() != nil || p.Base() != n.Spelling || (p == Root) != (op.root == nil) {
		return misplaced
	}
	if p == Root {
		op.root = n
		return nil
	}
	if op.root.Lookup(p.Parent()) == nil || op.root.Lookup(p) != nil {
		return misplaced
	}
	op.root = op.root.Change(p, func(*tree.Node) *tree.Node { return n })
	return nil
}

func (op *Replace) apply(e *edit) {
	if op.root == nil {
		e.bad(Root, 0, key.Errorf(Invalid, "cannot be replaced by nothing"))
		return
	}
	next := op.root
	for _, p := range op.keep {
		if kept := e.root.Lookup(p); kept != nil && next.Lookup(p.Parent()) != nil {
			next = next.Change(p, func(*tree.Node) *tree.Node { return kept })
		}
	}
	e.covers = append(e.covers, cover{path: Root, except: op.keep})
	e.alter(Root, func(old *tree.Node) *tree.Node { return e.rebase(Root, old, next) })
}

func (op *Replace) Scope() Scope            { return Scope{Path: Root, Deep: true} }
func (op *Replace) authorize(a *authorizer) { a.require(Root, 0, AllRights) }

// rebase gives next with all that equals old taken from there, and the rest, with what
// is not confirmed, as stored by this revision.
func (e *edit) rebase(at Path, old, next *tree.Node) *tree.Node {
	out := &tree.Node{Spelling: next.Spelling, Modified: e.now}
	var was item.List
	var wasKids *tree.Kids
	if old != nil {
		was, wasKids = old.Items, old.Kids
	}
	var list []Property
	for _, p := range next.Items.All() {
		if item := was.Find(p.ID); item != nil && item.Same(p) && (old == next || !e.rewrites(at, p.ID)) {
			p = *item
		} else {
			p.Rev = e.rev
		}
		list = append(list, p)
	}
	out.Items = item.ListOf(list)
	same := old != nil && old.Spelling == next.Spelling && len(tree.DiffProperties(was.All(), list)) == 0
	if same {
		out.Modified, out.Items = old.Modified, old.Items
	}
	var below []*tree.Node
	shared := 0
	for k := range next.Kids.All {
		was := wasKids.Get(k.Spelling)
		kid := e.rebase(at.Join(k.Spelling), was, k)
		if kid == was {
			shared++
		}
		below = append(below, kid)
	}
	if same && shared == len(below) && shared == wasKids.Len() {
		return old
	}
	out.Kids = tree.KidsOf(below)
	return out
}
