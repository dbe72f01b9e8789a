// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"maps"
	"slices"

	"restante/metabase/internal/tree"
	"restante/metabase/internal/unconfirmed"
	"restante/metabase/key"
)

// An await works out what a plan means for what is not confirmed.
type await struct {
	list  unconfirmed.List
	root  *tree.Node  // before the edit, and after those of its moves that count
	moves []tree.Move // those
	into  []Path      // the keys that they moved something into
	parts map[unconfirmed.PartName]unconfirmed.Part
}

// pend sets what is unconfirmed once p is made.
func (s *Store) pend(p *plan, r *request, old *image) (problems []Problem) {
	p.next.unconfirmed = old.unconfirmed
	if r.ends != nil {
		p.next.unconfirmed = r.ends(old.unconfirmed)
		return nil
	}
	until := r.deadline(p.next.time)
	if len(old.unconfirmed) == 0 && until.IsZero() {
		return nil
	}
	for _, a := range p.edit.acting {
		if !until.IsZero() {
			problems = append(problems, Problem{Path: a.Path, ID: a.Property.ID,
				Err: key.Errorf(Invalid, "acts at once and cannot be taken back: set it without a time to confirm")})
		}
	}
	a := await{list: old.unconfirmed, root: old.root, parts: map[unconfirmed.PartName]unconfirmed.Part{}}
	problems = slices.Concat(problems, unconfirmed.Guard(old.unconfirmed, p.deltas), a.follow(&p.edit, !until.IsZero()))
	if len(problems) > 0 {
		return problems
	}
	deltas := p.deltas
	if len(a.moves) > 0 {
		deltas = tree.Diff(a.root, p.next.root)
	}
	a.write(deltas, &p.edit)
	p.rewrites = slices.ContainsFunc(slices.Collect(maps.Keys(a.parts)), a.list.Has)
	if until.IsZero() {
		p.rights.requireLists(a.parts, a.list, p.next.root)
		p.next.unconfirmed = a.list.TakeOver(a.parts, p.next.rev)
	} else if len(a.parts) > 0 || len(a.moves) > 0 {
		p.next.unconfirmed = append(slices.Clip(a.list), &unconfirmed.Revision{Rev: p.next.rev, Until: until, Parts: a.parts, Moves: a.moves})
	}
	return nil
}

// follow takes the moves of e along, in the list and in the tree before e, so that
// what is left of the difference is what e changed besides. pending: e is not to be
// confirmed.
func (a *await) follow(e *edit, pending bool) (problems []Problem) {
	for _, m := range e.moves {
		bad := func(other Path, format string, args ...any) {
			problems = append(problems, Problem{Path: m.From, Other: other, Err: key.Errorf(Conflict, format, args...)})
		}
		n := a.root.Lookup(m.From)
		within := a.list.Within(m.From)
		switch {
		case n == nil: // the edit has made it
			continue
		case a.list.Within(m.To):
			bad(m.To, "cannot be moved to %s, where changes wait to be confirmed: confirm or revert them first", m.To)
			continue
		case !pending && !within:
			continue
		case a.root.Lookup(m.To) != nil:
			bad(m.To, "cannot be moved onto the key %s, as it could not be taken back: remove that first", m.To)
			continue
		}
		if pending {
			for _, q := range []Path{m.From, m.To.Parent()} {
				if above, ok := a.list.KeyAbove(q); ok {
					bad(above, "cannot be moved for a time, as the key %s is not confirmed: confirm or revert that first", above)
				}
			}
		}
		if e.root.Lookup(m.To) == nil && !slices.ContainsFunc(e.moves, func(o tree.Move) bool { return o.From.Equal(m.To) }) {
			*a = await{list: a.list, root: e.old.root, parts: map[unconfirmed.PartName]unconfirmed.Part{}} // it is a removal
			return problems
		}
		a.list = a.list.Moved(m)
		a.carry(m, n, e.now)
		a.moves, a.into = append(a.moves, m), append(a.into, m.To.Parent())
	}
	return problems
}

// carry makes a move in the tree before the edit. Keys above its target that are
// missing are the edit's.
func (a *await) carry(m tree.Move, n *tree.Node, now int64) {
	next := *n
	next.Spelling, next.Modified = m.To.Base(), now
	a.root = a.root.Change(m.From, func(*tree.Node) *tree.Node { return nil })
	for _, up := range slices.Backward(slices.Collect(m.To.Parent().Parents())) {
		if a.root.Lookup(up) == nil {
			a.add(unconfirmed.Part{Path: up})
			a.root = a.root.Change(up, func(*tree.Node) *tree.Node { return &tree.Node{Spelling: up.Base()} })
		}
	}
	a.root = a.root.Change(m.To, func(*tree.Node) *tree.Node { return &next })
}

func (a *await) add(p unconfirmed.Part) {
	if n := p.PartName(); a.parts[n].Path == "" {
		a.parts[n] = p
	}
}

// write notes the parts that e writes, deltas being the difference that it makes.
func (a *await) write(deltas []tree.KeyDelta, e *edit) {
	for _, d := range deltas {
		switch {
		case d.Added:
			a.add(unconfirmed.Part{Path: d.Path})
			if class := (unconfirmed.Part{Path: d.Path, ID: KeyType}); a.list.Has(class.PartName()) {
				a.add(class.In(a.root))
			}
		case d.Removed, d.OldName != d.NewName:
			a.add(unconfirmed.Part{Path: d.Path, Name: d.OldName})
		}
		for _, p := range d.Props {
			wrote := unconfirmed.Part{Path: d.Path, ID: p.ID, Was: p.Old}
			if !(d.Added && p.ID == KeyType) && (!p.Quiet() || a.list.Has(wrote.PartName())) { // the class belongs to the key
				a.add(wrote)
			}
		}
	}
	for _, p := range e.touched {
		if n := a.root.Lookup(p); n != nil {
			a.add(unconfirmed.Part{Path: p, Name: n.Spelling, Time: n.Modified})
		}
	}
	if len(a.list) == 0 {
		return
	}
	for _, d := range deltas {
		if !d.Removed {
			a.needs(d.Path)
		}
	}
	for _, p := range a.into {
		a.needs(p)
	}
	for _, p := range e.wrote {
		if a.list.Has(p.PartName()) {
			a.add(p.In(a.root))
		}
	}
	for _, c := range e.covers {
		for _, u := range a.list {
			for _, p := range u.Parts {
				if c.has(p.Path) {
					p = p.In(a.root)
					p.Need = p.Name != "" && e.root.Lookup(p.Path) != nil
					a.add(p)
				}
			}
		}
	}
}

// needs notes that the key p stays, and those above it.
func (a *await) needs(p Path) {
	for q := range p.Parents() {
		if n := a.root.Lookup(q); n != nil && a.list.Has(unconfirmed.Part{Path: q}.PartName()) {
			a.add(unconfirmed.Part{Path: q, Name: n.Spelling, Need: true})
		}
	}
}

// A cover is a subtree that an operation writes whole, what is absent from it included.
type cover struct {
	path   Path
	below  bool   // without the key at path
	except []Path // and what is below
}

func (c cover) has(p Path) bool {
	return p.Within(c.path) && !(c.below && p.Equal(c.path)) && !slices.ContainsFunc(c.except, p.Within)
}
