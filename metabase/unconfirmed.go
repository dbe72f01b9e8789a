// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// A change that is not confirmed consists of parts: stored properties, and keys that
// it made, removed, respelled, or put something in. Each part is taken back by itself,
// and a move as a whole. The writers of a part form a stack: what an unconfirmed
// revision puts back is what the unconfirmed one below it wrote, or else what is
// confirmed. A change that needs no confirmation takes the whole stack away.

// An unconfirmed is a revision that is taken back unless it is confirmed in time. It
// never changes but for raw and chunks, which belong to the goroutine at work.
type unconfirmed struct {
	rev   Rev
	until time.Time
	parts map[partName]part
	moves []move        // in the order they were made; the parts are named as after them
	kept  []settledPart // parts that will not be taken back any more

	raw    []byte // the first chunk as stored; nil: not stored yet
	chunks int
}

// empty reports whether nothing of u is left to be taken back or told of.
func (u *unconfirmed) empty() bool { return len(u.parts)+len(u.moves)+len(u.kept) == 0 }

// A partName is the folded path of a key and the property, 0 for the key itself.
type partName struct {
	path string
	id   ID
}

// A part is what a revision wrote, as it was before.
type part struct {
	path Path
	id   ID
	was  *Property // nil: there was none, or the part is a key
	name string    // the spelling of a key; "": there was none
	time int64     // of its last change, where the revision set that; else 0
	need bool      // the revision did not write the key, but needs it
}

func (p part) partName() partName { return partName{p.path.Fold(), p.id} }

func (p part) same(q part) bool {
	return p.name == q.name && p.time == q.time && samePointed(p.was, q.was)
}

// A settledPart is a part that a later revision took over for good.
type settledPart struct {
	path Path
	id   ID
	by   Rev
}

// unconfirmedList is sorted by revision. A list never changes.
type unconfirmedList []*unconfirmed

func (l unconfirmedList) find(rev Rev) (*unconfirmed, bool) {
	i, ok := slices.BinarySearchFunc(l, rev, func(u *unconfirmed, rev Rev) int { return cmp.Compare(u.rev, rev) })
	if !ok {
		return nil, false
	}
	return l[i], true
}

// has reports whether a revision of the list wrote a part.
func (l unconfirmedList) has(n partName) bool {
	return slices.ContainsFunc(l, func(u *unconfirmed) bool { _, ok := u.parts[n]; return ok })
}

// rewrites reports whether storing the property again as it is changes what becomes of it.
func (l unconfirmedList) rewrites(p Path, id ID) bool {
	return len(l) > 0 && l.has(partName{p.Fold(), id})
}

// edit returns a list with a changed copy of each u that f changes. f must replace
// the maps and slices of the copy that it changes.
func (l unconfirmedList) edit(f func(u *unconfirmed) bool) unconfirmedList {
	var out unconfirmedList
	for i, u := range l {
		next := *u
		next.raw, next.chunks = nil, 0
		if !f(&next) {
			continue
		}
		if out == nil {
			out = slices.Clone(l)
		}
		out[i] = &next
	}
	if out == nil {
		return l
	}
	return out
}

// settle takes the parts away from the revisions before the one that wrote them for good.
func (l unconfirmedList) settle(parts map[partName]part, by Rev) unconfirmedList {
	return l.edit(func(u *unconfirmed) bool {
		if u.rev >= by {
			return false
		}
		var left map[partName]part
		for n := range parts {
			p, ok := u.parts[n]
			if !ok {
				continue
			}
			if left == nil {
				left, u.kept = maps.Clone(u.parts), slices.Clone(u.kept)
			}
			delete(left, n)
			if !p.need {
				u.kept = append(u.kept, settledPart{p.path, p.id, by})
			}
		}
		if left == nil {
			return false
		}
		slices.SortFunc(u.kept, func(a, b settledPart) int {
			return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.id, b.id))
		})
		u.parts = left
		return true
	})
}

// drop returns the list without rev.
func (l unconfirmedList) drop(rev Rev) unconfirmedList {
	return slices.DeleteFunc(slices.Clone(l), func(u *unconfirmed) bool { return u.rev == rev })
}

// confirm keeps what u wrote, and takes away from those before it what u wrote over.
func (l unconfirmedList) confirm(u *unconfirmed) unconfirmedList {
	return l.settle(u.parts, u.rev).drop(u.rev)
}

// handOver gives the parts of u to the revisions that wrote them next: they now put
// back what u would have. It returns the parts that are u's to take back, and by name
// the revision of each that is not, 0 where that is of no interest.
func (l unconfirmedList) handOver(u *unconfirmed) (next unconfirmedList, own []part, later map[partName]Rev) {
	later = map[partName]Rev{}
	next = l.edit(func(v *unconfirmed) bool {
		if v.rev <= u.rev {
			return false
		}
		var parts map[partName]part
		for n, p := range u.parts {
			q, ok := v.parts[n]
			if _, done := later[n]; !ok || done {
				continue
			}
			if parts == nil {
				parts = maps.Clone(v.parts)
			}
			later[n] = v.rev
			if p.need {
				later[n] = 0
			}
			q.was, q.name, q.time = p.was, p.name, p.time
			parts[n] = q
		}
		if parts != nil {
			v.parts = parts
		}
		return parts != nil
	})
	for n, p := range u.parts {
		if _, ok := later[n]; !ok {
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b part) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.id, b.id)) })
	return next, own, later
}

// moved follows a move of a key: its parts go with it.
func (l unconfirmedList) moved(m move) unconfirmedList {
	return l.edit(func(u *unconfirmed) bool {
		changed := false
		parts := make(map[partName]part, len(u.parts))
		for n, p := range u.parts {
			if p.path.Within(m.from) {
				changed = true
				p.path = m.carry(p.path)
				if p.id == 0 && p.name != "" && p.path.Equal(m.to) {
					p.name = m.to.Base()
				}
				n = p.partName()
			}
			parts[n] = p
		}
		moves := slices.Clone(u.moves)
		for i, o := range moves {
			moves[i] = move{m.follow(o.from), m.follow(o.to)}
		}
		changed = changed || !slices.Equal(moves, u.moves)
		u.parts, u.moves = parts, moves
		return changed
	})
}

// carry gives the new path of a key that lies within what moves.
func (m move) carry(p Path) Path { return m.to + p[len(m.from):] }

// follow gives the path of a key after the move.
func (m move) follow(p Path) Path {
	if p.Within(m.from) {
		return m.carry(p)
	}
	return p
}

// within reports whether a revision of the list wrote a part at or below p.
func (l unconfirmedList) within(p Path) bool {
	return slices.ContainsFunc(l, func(u *unconfirmed) bool {
		for _, q := range u.parts {
			if q.open() && q.path.Within(p) {
				return true
			}
		}
		return false
	})
}

// open reports whether it depends on a confirmation what becomes of the part.
func (p part) open() bool { return !p.need || p.name == "" }

// keyAbove finds a key at or above p that may yet be taken back.
func (l unconfirmedList) keyAbove(p Path) (Path, bool) {
	for q := range p.Parents() {
		n := partName{q.Fold(), 0}
		if slices.ContainsFunc(l, func(u *unconfirmed) bool { p, ok := u.parts[n]; return ok && p.open() }) {
			return q, true
		}
	}
	return "", false
}

// An await works out what a plan means for what is not confirmed.
type await struct {
	list  unconfirmedList
	root  *tree.Node // before the edit, and after those of its moves that count
	moves []move     // those
	into  []Path     // the keys that they moved something into
	parts map[partName]part
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
	problems = append(problems, old.unconfirmed.guard(p.deltas)...)
	a := await{list: old.unconfirmed, root: old.root, parts: map[partName]part{}}
	problems = append(problems, a.follow(&p.edit, !until.IsZero())...)
	if len(problems) > 0 {
		return problems
	}
	deltas := p.deltas
	if len(a.moves) > 0 {
		deltas = tree.Diff(a.root, p.next.root)
	}
	a.write(deltas, &p.edit)
	p.rewrites = slices.ContainsFunc(slices.Collect(maps.Keys(a.parts)), a.list.has)
	if until.IsZero() {
		p.next.unconfirmed = a.list.settle(a.parts, p.next.rev)
	} else if len(a.parts) > 0 || len(a.moves) > 0 {
		p.next.unconfirmed = append(slices.Clip(a.list), &unconfirmed{rev: p.next.rev, until: until, parts: a.parts, moves: a.moves})
	}
	return nil
}

// guard refuses what would prevent a move that is not confirmed from being taken back.
func (l unconfirmedList) guard(deltas []tree.KeyDelta) (out []Problem) {
	for _, u := range l {
		for _, m := range u.moves {
			for _, d := range deltas {
				if d.Removed && (m.to.Within(d.Path) || m.from.Parent().Within(d.Path)) || d.Added && d.Path.Equal(m.from) {
					out = append(out, Problem{Path: d.Path, Other: m.to, Err: key.Errorf(Conflict,
						"is needed to take back the move of %s to %s: confirm or revert revision %d first", m.from, m.to, u.rev)})
				}
			}
		}
	}
	return out
}

// follow takes the moves of e along, in the list and in the tree before e, so that
// what is left of the difference is what e changed besides. pending: e is not to be
// confirmed.
func (a *await) follow(e *edit, pending bool) (problems []Problem) {
	for _, m := range e.moves {
		bad := func(other Path, format string, args ...any) {
			problems = append(problems, Problem{Path: m.from, Other: other, Err: key.Errorf(Conflict, format, args...)})
		}
		n := a.root.Lookup(m.from)
		within := a.list.within(m.from)
		switch {
		case n == nil: // the edit has made it
			continue
		case a.list.within(m.to):
			bad(m.to, "cannot be moved to %s, where changes wait to be confirmed: confirm or revert them first", m.to)
			continue
		case !pending && !within:
			continue
		case a.root.Lookup(m.to) != nil:
			bad(m.to, "cannot be moved onto the key %s, as it could not be taken back: remove that first", m.to)
			continue
		}
		if pending {
			for _, q := range []Path{m.from, m.to.Parent()} {
				if above, ok := a.list.keyAbove(q); ok {
					bad(above, "cannot be moved for a time, as the key %s is not confirmed: confirm or revert that first", above)
				}
			}
		}
		if e.root.Lookup(m.to) == nil && !slices.ContainsFunc(e.moves, func(o move) bool { return o.from.Equal(m.to) }) {
			*a = await{list: a.list, root: e.old.root, parts: map[partName]part{}} // it is a removal
			return problems
		}
		a.list = a.list.moved(m)
		a.carry(m, n, e.now)
		a.moves, a.into = append(a.moves, m), append(a.into, m.to.Parent())
	}
	return problems
}

// carry makes a move in the tree before the edit. Keys above its target that are
// missing are the edit's.
func (a *await) carry(m move, n *tree.Node, now int64) {
	next := *n
	next.Spelling, next.Modified = m.to.Base(), now
	a.root = a.root.Change(m.from, func(*tree.Node) *tree.Node { return nil })
	for _, up := range slices.Backward(slices.Collect(m.to.Parent().Parents())) {
		if a.root.Lookup(up) == nil {
			a.add(part{path: up})
			a.root = a.root.Change(up, func(*tree.Node) *tree.Node { return &tree.Node{Spelling: up.Base()} })
		}
	}
	a.root = a.root.Change(m.to, func(*tree.Node) *tree.Node { return &next })
}

func (a *await) add(p part) {
	if n := p.partName(); a.parts[n].path == "" {
		a.parts[n] = p
	}
}

// write notes the parts that e writes, deltas being the difference that it makes.
func (a *await) write(deltas []tree.KeyDelta, e *edit) {
	for _, d := range deltas {
		switch {
		case d.Added:
			a.add(part{path: d.Path})
			if class := (part{path: d.Path, id: KeyType}); a.list.has(class.partName()) {
				a.add(class.in(a.root))
			}
		case d.Removed, d.OldName != d.NewName:
			a.add(part{path: d.Path, name: d.OldName})
		}
		for _, p := range d.Props {
			wrote := part{path: d.Path, id: p.ID, was: p.Old}
			if !(d.Added && p.ID == KeyType) && (!p.Quiet() || a.list.has(wrote.partName())) { // the class belongs to the key
				a.add(wrote)
			}
		}
	}
	for _, p := range e.touched {
		if n := a.root.Lookup(p); n != nil {
			a.add(part{path: p, name: n.Spelling, time: n.Modified})
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
		if a.list.has(p.partName()) {
			a.add(p.in(a.root))
		}
	}
	for _, c := range e.covers {
		for _, u := range a.list {
			for _, p := range u.parts {
				if c.has(p.path) {
					p = p.in(a.root)
					p.need = p.name != "" && e.root.Lookup(p.path) != nil
					a.add(p)
				}
			}
		}
	}
}

// needs notes that the key p stays, and those above it.
func (a *await) needs(p Path) {
	for q := range p.Parents() {
		if n := a.root.Lookup(q); n != nil && a.list.has(partName{q.Fold(), 0}) {
			a.add(part{path: q, name: n.Spelling, need: true})
		}
	}
}

// in gives the part as it is in a tree.
func (p part) in(root *tree.Node) part {
	out := part{path: p.path, id: p.id}
	switch n := root.Lookup(p.path); {
	case n != nil && p.id == 0:
		out.name = n.Spelling
	case n != nil:
		out.was = n.Items.Find(p.id)
	}
	return out
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

// texts gives, for the history, what is kept of u, and what later maps to a revision.
func (u *unconfirmed) texts(later map[partName]Rev) (out []Problem) {
	bad := func(p Path, id ID, by Rev, more string) {
		did := "has set it since"
		if id == 0 {
			did = "has changed it or something in it since"
		}
		out = append(out, Problem{Path: p, ID: id, Err: key.Errorf(Conflict, "revision %d%s %s", by, more, did)})
	}
	for _, k := range u.kept {
		bad(k.path, k.id, k.by, "")
	}
	for n, by := range later {
		if by == 0 {
			continue
		}
		bad(u.parts[n].path, n.id, by, ", which waits to be confirmed,")
	}
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(strings.Compare(string(a.Path), string(b.Path)), cmp.Compare(a.ID, b.ID))
	})
	return out
}
