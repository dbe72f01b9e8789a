// SPDX-License-Identifier: Apache-2.0

// Package unconfirmed keeps account of the revisions that are taken back unless they
// are confirmed in time.
//
// A revision consists of parts: stored properties, and keys that it made, removed,
// respelled, or put something in. Each part is taken back by itself, and a move as a
// whole. The writers of a part form a stack: what an unconfirmed revision puts back is
// what the unconfirmed one below it wrote, or else what is confirmed. A change that
// needs no confirmation takes the whole stack away.
//
// The package does not know how a revision is made, nor how its parts are put back.
package unconfirmed

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// A Revision is taken back unless it is confirmed in time. It never changes but for
// Raw and Chunks, which belong to the goroutine that stores it.
type Revision struct {
	Rev       item.Rev
	Until     time.Time
	Parts     map[PartName]Part
	Moves     []tree.Move // in the order they were made; the parts are named as after them
	TakenOver []TakenOver // parts that will not be taken back any more

	Raw    []byte // the first chunk as stored; nil: not stored yet
	Chunks int
}

// Empty reports whether nothing of u is left to be taken back or told of.
func (u *Revision) Empty() bool { return len(u.Parts)+len(u.Moves)+len(u.TakenOver) == 0 }

// Waits reports whether anything of u may yet be taken back or confirmed.
func (u *Revision) Waits() bool {
	for _, p := range u.Parts {
		if p.Open() {
			return true
		}
	}
	return len(u.Moves) > 0
}

// A PartName is the folded path of a key and the property, 0 for the key itself.
type PartName struct {
	path string
	ID   item.ID
}

// NameOf names a part.
func NameOf(p key.Path, id item.ID) PartName { return PartName{p.Fold(), id} }

// A Part is what a revision wrote, as it was before.
type Part struct {
	Path key.Path
	ID   item.ID
	Was  *item.Property // nil: there was none, or the part is a key
	Name string         // the spelling of a key; "": there was none
	Time int64          // of its last change, where the revision set that; else 0
	Need bool           // the revision did not write the key, but needs it
}

// PartName names the part.
func (p Part) PartName() PartName { return NameOf(p.Path, p.ID) }

func (p Part) same(q Part) bool {
	return p.Name == q.Name && p.Time == q.Time && item.SamePointed(p.Was, q.Was)
}

// A TakenOver is a part that a later revision took over for good.
type TakenOver struct {
	Path key.Path
	ID   item.ID
	By   item.Rev
}

// A List is sorted by revision. A list never changes.
type List []*Revision

// Find returns the revision rev of the list.
func (l List) Find(rev item.Rev) (*Revision, bool) {
	i, ok := slices.BinarySearchFunc(l, rev, func(u *Revision, rev item.Rev) int { return cmp.Compare(u.Rev, rev) })
	if !ok {
		return nil, false
	}
	return l[i], true
}

// ToConfirm finds the revision rev, 0 for the newest, if anything of it waits.
func (l List) ToConfirm(rev item.Rev) (*Revision, error) {
	if rev == 0 {
		for _, u := range slices.Backward(l) {
			if u.Waits() {
				return u, nil
			}
		}
		return nil, errors.New("nothing waits to be confirmed")
	}
	u, ok := l.Find(rev)
	switch {
	case !ok:
		return nil, fmt.Errorf("revision %d does not wait to be confirmed", rev)
	case u.Waits():
		return u, nil
	}
	var by []item.Rev
	for _, t := range u.TakenOver {
		by = append(by, t.By)
	}
	slices.Sort(by)
	names := fmt.Sprint(slices.Compact(by))
	return nil, fmt.Errorf("revision %d does not wait to be confirmed: later ones have changed all that it changed: %s",
		rev, strings.ReplaceAll(names[1:len(names)-1], " ", ", "))
}

// Has reports whether a revision of the list wrote a part.
func (l List) Has(n PartName) bool {
	return slices.ContainsFunc(l, func(u *Revision) bool { _, ok := u.Parts[n]; return ok })
}

// Decides finds a revision on which it hangs what holds for key p of a property: it
// wrote the property at p, at the nearest key above that stores it, or between, or has
// moved one of the keys below that. The list is as before moves, root and p as after.
func (l List) Decides(root *tree.Node, moves []tree.Move, p key.Path, id item.ID) (rev item.Rev, ok bool) {
	for q := range p.Parents() {
		n, at := root.Lookup(q), tree.Back(moves, q)
		stored := n != nil && n.Items.Find(id) != nil
		for _, u := range slices.Backward(l) {
			_, wrote := u.Parts[NameOf(at, id)]
			if wrote || !stored && slices.ContainsFunc(u.Moves, func(m tree.Move) bool { return m.To.Equal(at) }) {
				return u.Rev, true
			}
		}
		if stored {
			break
		}
	}
	return 0, false
}

// Below gives what the oldest revision of the list that wrote a part would put back:
// the part as confirmed.
func (l List) Below(p key.Path, id item.ID) (was *item.Property, rev item.Rev, ok bool) {
	n := NameOf(p, id)
	for _, u := range l {
		if part, ok := u.Parts[n]; ok {
			return part.Was, u.Rev, true
		}
	}
	return nil, 0, false
}

// Rewrites reports whether storing the property again as it is changes what becomes of it.
func (l List) Rewrites(p key.Path, id item.ID) bool {
	return len(l) > 0 && l.Has(PartName{p.Fold(), id})
}

// Edit returns a list with a changed copy of each u that f changes. f must replace
// the maps and slices of the copy that it changes.
func (l List) Edit(f func(u *Revision) bool) List {
	var out List
	for i, u := range l {
		next := *u
		next.Raw, next.Chunks = nil, 0
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

// TakeOver takes the parts away from the revisions before the one that wrote them for good.
func (l List) TakeOver(parts map[PartName]Part, by item.Rev) List {
	return l.Edit(func(u *Revision) bool {
		if u.Rev >= by {
			return false
		}
		var left map[PartName]Part
		for n := range parts {
			p, ok := u.Parts[n]
			if !ok {
				continue
			}
			if left == nil {
				left, u.TakenOver = maps.Clone(u.Parts), slices.Clone(u.TakenOver)
			}
			delete(left, n)
			if !p.Need {
				u.TakenOver = append(u.TakenOver, TakenOver{p.Path, p.ID, by})
			}
		}
		if left == nil {
			return false
		}
		slices.SortFunc(u.TakenOver, func(a, b TakenOver) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.ID, b.ID))
		})
		u.Parts = left
		return true
	})
}

// Drop returns the list without rev.
func (l List) Drop(rev item.Rev) List {
	return slices.DeleteFunc(slices.Clone(l), func(u *Revision) bool { return u.Rev == rev })
}

// Confirm keeps what u wrote, and takes away from those before it what u wrote over.
func (l List) Confirm(u *Revision) List {
	return l.TakeOver(u.Parts, u.Rev).Drop(u.Rev)
}

// PassOn gives the parts of u to the revisions that wrote them next: they now put
// back what u would have. It returns the parts that are u's to take back, and by name
// the revision of each that is not, 0 where that is of no interest.
func (l List) PassOn(u *Revision) (next List, own []Part, later map[PartName]item.Rev) {
	later = map[PartName]item.Rev{}
	next = l.Edit(func(v *Revision) bool {
		if v.Rev <= u.Rev {
			return false
		}
		var parts map[PartName]Part
		for n, p := range u.Parts {
			q, ok := v.Parts[n]
			if _, done := later[n]; !ok || done {
				continue
			}
			if parts == nil {
				parts = maps.Clone(v.Parts)
			}
			later[n] = v.Rev
			if p.Need {
				later[n] = 0
			}
			q.Was, q.Name, q.Time = p.Was, p.Name, p.Time
			parts[n] = q
		}
		if parts != nil {
			v.Parts = parts
		}
		return parts != nil
	})
	for n, p := range u.Parts {
		if _, ok := later[n]; !ok {
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b Part) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.ID, b.ID)) })
	return next, own, later
}

// Moved follows a move of a key: its parts go with it.
func (l List) Moved(m tree.Move) List {
	return l.Edit(func(u *Revision) bool {
		changed := false
		parts := make(map[PartName]Part, len(u.Parts))
		for n, p := range u.Parts {
			if p.Path.Within(m.From) {
				changed = true
				p.Path = m.Carry(p.Path)
				if p.ID == 0 && p.Name != "" && p.Path.Equal(m.To) {
					p.Name = m.To.Base()
				}
				n = p.PartName()
			}
			parts[n] = p
		}
		moves := slices.Clone(u.Moves)
		for i, o := range moves {
			moves[i] = tree.Move{From: m.Follow(o.From), To: m.Follow(o.To)}
		}
		changed = changed || !slices.Equal(moves, u.Moves)
		u.Parts, u.Moves = parts, moves
		return changed
	})
}

// Within reports whether a revision of the list wrote a part at or below p.
func (l List) Within(p key.Path) bool {
	return slices.ContainsFunc(l, func(u *Revision) bool {
		for _, q := range u.Parts {
			if q.Open() && q.Path.Within(p) {
				return true
			}
		}
		return false
	})
}

// Open reports whether the part goes or changes if the revision is taken back.
func (p Part) Open() bool { return !p.Need || p.Name == "" }

// KeyAbove finds a key at or above p that may yet be taken back.
func (l List) KeyAbove(p key.Path) (key.Path, bool) {
	for q := range p.Parents() {
		n := PartName{q.Fold(), 0}
		if slices.ContainsFunc(l, func(u *Revision) bool { p, ok := u.Parts[n]; return ok && p.Open() }) {
			return q, true
		}
	}
	return "", false
}

// In gives the part as it is in a tree.
func (p Part) In(root *tree.Node) Part {
	out := Part{Path: p.Path, ID: p.ID}
	switch n := root.Lookup(p.Path); {
	case n != nil && p.ID == 0:
		out.Name = n.Spelling
	case n != nil:
		out.Was = n.Items.Find(p.ID)
	}
	return out
}
