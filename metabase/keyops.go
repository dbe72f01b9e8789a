// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"time"

	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// AddKey makes a key below one that exists. With a Class it gets its KeyType.
type AddKey struct {
	Path  Path
	Class string
}

func (op AddKey) Scope() Scope            { return Scope{Path: op.Path} }
func (op AddKey) authorize(a *authorizer) { a.require(op.Path.Parent(), 0, Create) }

func (op AddKey) apply(e *edit) {
	if e.canonical(op.Path) && e.named(op.Path) {
		op.add(e)
	}
}

// A putBack is AddKey for one that was there: what was read is taken again.
type putBack struct{ AddKey }

func (op putBack) apply(e *edit) { op.add(e) }

func (op AddKey) add(e *edit) {
	if e.root.Lookup(op.Path) != nil {
		e.bad(op.Path, 0, Exists)
		return
	}
	if e.root.Lookup(op.Path.Parent()) == nil {
		e.bad(op.Path, 0, key.Errorf(NotFound, "there is no key %s to add it to", op.Path.Parent()))
		return
	}
	n := &tree.Node{Spelling: op.Path.Base(), Modified: e.now}
	if op.Class != "" {
		class := Property{ID: KeyType, UserType: UTServer, Value: String(op.Class), Rev: e.rev}
		if err := class.Check(); err != nil {
			e.bad(op.Path, KeyType, err)
			return
		}
		n.Items = item.ListOf([]Property{class})
	}
	e.alter(op.Path, func(*tree.Node) *tree.Node { return n })
}

// Remove takes a key away; with Recursive also one that has children.
type Remove struct {
	Path      Path
	Recursive bool
}

func (op Remove) Scope() Scope            { return Scope{Path: op.Path, Deep: true} }
func (op Remove) authorize(a *authorizer) { a.require(op.Path, 0, Delete) }

func (op Remove) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	if op.Path == Root {
		e.bad(op.Path, 0, key.Errorf(Invalid, "the root cannot be removed"))
		return
	}
	if n.Kids.Len() > 0 && !op.Recursive {
		e.bad(op.Path, 0, key.Errorf(InUse, "has keys below it")) // how many is not for everybody to know
		return
	}
	e.covers = append(e.covers, cover{path: op.Path})
	e.alter(op.Path, func(*tree.Node) *tree.Node { return nil })
}

// RemoveChildren takes away everything below a key and leaves the key.
type RemoveChildren struct{ Path Path }

func (op RemoveChildren) Scope() Scope            { return Scope{Path: op.Path, Deep: true} }
func (op RemoveChildren) authorize(a *authorizer) { a.require(op.Path, 0, Delete) }

func (op RemoveChildren) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	e.covers = append(e.covers, cover{path: op.Path, below: true})
	if n.Kids.Len() > 0 {
		e.alter(op.Path, func(n *tree.Node) *tree.Node { return n.WithKids(nil) })
	}
}

// Copy copies a key with all below it. Where To exists, Overwrite is needed,
// and merges: the data of From replace those of To, what only To has stays.
type Copy struct {
	From, To  Path
	Overwrite bool
}

func (op Copy) Scope() Scope { return Scope{Path: op.To, From: op.From, Deep: true} }
func (op Copy) authorize(a *authorizer) {
	a.requireSource(op.From, true)
	a.require(op.To.Parent(), 0, Create)
}

func (op Copy) apply(e *edit) {
	source := e.at(op.From)
	if source == nil || !e.target(op.From, op.To, op.Overwrite) {
		return
	}
	if op.From.Equal(op.To) {
		e.bad(op.To, 0, key.Errorf(Invalid, "is copied to itself"))
		return
	}
	e.alter(op.To, func(old *tree.Node) *tree.Node { return e.merge(old, source, op.To.Base(), false) })
}

// Move is Copy, after which From is gone: renaming, too. What moves keeps the
// revisions that stored it.
type Move struct {
	From, To  Path
	Overwrite bool
}

func (op Move) Scope() Scope { return Scope{Path: op.To, From: op.From, Deep: true} }
func (op Move) authorize(a *authorizer) {
	a.requireSource(op.From, true)
	a.require(op.From, 0, Delete)
	a.require(op.To.Parent(), 0, Create)
}

func (op Move) apply(e *edit) {
	source := e.at(op.From)
	if source == nil {
		return
	}
	if op.From == Root {
		e.bad(op.From, 0, key.Errorf(Invalid, "the root cannot be moved"))
		return
	}
	if op.From.Equal(op.To) { // another spelling of the same name
		if e.canonical(op.To) {
			e.respell(op.To)
		}
		return
	}
	if op.To.Within(op.From) {
		e.bad(op.From, 0, key.Errorf(Invalid, "cannot be moved below itself, to %s", op.To))
		return
	}
	if !e.target(op.From, op.To, op.Overwrite) {
		return
	}
	if op.From.Within(op.To) {
		e.bad(op.From, 0, key.Errorf(Invalid, "cannot be moved onto the key %s that holds it", op.To))
		return
	}
	e.alter(op.From, func(*tree.Node) *tree.Node { return nil })
	e.alter(op.To, func(old *tree.Node) *tree.Node { return e.merge(old, source, op.To.Base(), true) })
	e.moves = append(e.moves, tree.Move{From: op.From, To: op.To})
}

// Touch sets the last-change time of a key.
type Touch struct {
	Path Path
	Time time.Time
}

func (op Touch) Scope() Scope            { return Scope{Path: op.Path} }
func (op Touch) authorize(a *authorizer) { a.require(op.Path, 0, Write) }

func (op Touch) apply(e *edit) {
	if e.at(op.Path) != nil {
		e.touched = append(e.touched, op.Path)
		e.alter(op.Path, func(n *tree.Node) *tree.Node {
			next := *n
			next.Modified = op.Time.UnixNano()
			return &next
		})
	}
}
