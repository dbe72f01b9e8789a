// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// Set stores a property at a key that exists, in the place of what had its ID.
// An item that is SECURE can't be made plain by it: Unset it first. One that is
// LOCKED stays so: see Lock. One that is VOLATILE is refused: see
// [Store.SetVolatile].
type Set struct {
	Path     Path
	Property Property
}

func (op Set) Scope() Scope            { return Scope{Path: op.Path, ID: op.Property.ID} }
func (op Set) authorize(a *authorizer) { a.requireSet(op.Path, op.Property) }

func (op Set) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	p := op.Property
	if err := p.Check(); err != nil {
		e.bad(op.Path, p.ID, err)
		return
	}
	if p.Attr&Volatile != 0 {
		e.bad(op.Path, p.ID, errVolatile)
		return
	}
	if e.acts[p.ID] != nil {
		e.acting = append(e.acting, op)
		return
	}
	e.set(op.Path, n, p)
}

// SetBits is Set for some bits of a DWORD: those of Mask are taken from
// Property, and the others from what holds for the key when the batch is
// applied, so that two who set different bits at the same time both succeed.
// Where nothing holds, all are taken from Property.
type SetBits struct {
	Path     Path
	Property Property
	Mask     uint32
}

func (op SetBits) Scope() Scope            { return Scope{Path: op.Path, ID: op.Property.ID} }
func (op SetBits) authorize(a *authorizer) { a.requireSet(op.Path, op.Property) }

func (op SetBits) apply(e *edit) {
	p := op.Property
	if p.Value.Type() != DWordType {
		e.bad(op.Path, p.ID, key.Errorf(Invalid, "only a DWORD has bits to set"))
		return
	}
	now := Snapshot{&image{root: e.root}}
	if was, _, ok := now.Effective(op.Path, p.ID); ok && was.Value.Type() == DWordType {
		p.Value = DWord(was.Value.DWord()&^op.Mask | p.Value.DWord()&op.Mask)
	}
	Amend{op.Path, p}.apply(e)
}

// Amend is Set of a value that was made of what holds for the key, such as a list
// with one member more. Where that is not confirmed, it is refused, unless the batch
// is to be confirmed itself: it would keep for good what nobody confirmed.
type Amend struct {
	Path     Path
	Property Property
}

func (op Amend) Scope() Scope            { return Scope{Path: op.Path, ID: op.Property.ID} }
func (op Amend) authorize(a *authorizer) { a.requireSet(op.Path, op.Property) }

func (op Amend) apply(e *edit) {
	if rev, pending := e.old.unconfirmed.Decides(e.root, e.moves, op.Path, op.Property.ID); pending && !e.timed {
		e.bad(op.Path, op.Property.ID, key.Errorf(Conflict, "what holds there hangs on revision %d, which is not confirmed: confirm or revert that first, or set the whole value", rev))
		return
	}
	Set(op).apply(e)
}

// Lock locks what is stored at a key, which must be inherited, against being
// overridden below it; with Off it may be overridden again.
type Lock struct {
	Path Path
	ID   ID
	Off  bool
}

func (op Lock) Scope() Scope            { return Scope{Path: op.Path, ID: op.ID, Deep: true} }
func (op Lock) authorize(a *authorizer) { a.require(op.Path, op.ID, Control) }

func (op Lock) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	p, stored := n.Get(op.ID)
	switch {
	case !stored:
		e.bad(op.Path, op.ID, key.Errorf(NotFound, "not stored there, so there is nothing to lock or unlock"))
		return
	case p.Attr&Inherit == 0:
		e.bad(op.Path, op.ID, key.Errorf(Invalid, "is not inherited, so nothing below can override it"))
		return
	case op.Off && p.Attr&Locked == 0:
		e.bad(op.Path, op.ID, key.Errorf(Invalid, "is not locked there"))
		return
	}
	was := p.Attr
	if p.Attr |= Locked; op.Off {
		p.Attr &^= Locked
	}
	if p.Attr != was || e.rewrites(op.Path, op.ID) {
		e.put(op.Path, n, p)
	}
}

// Unset removes what is stored at the key itself.
type Unset struct {
	Path Path
	ID   ID
}

func (op Unset) Scope() Scope            { return Scope{Path: op.Path, ID: op.ID} }
func (op Unset) authorize(a *authorizer) { a.requireSet(op.Path, Property{ID: op.ID}) }

func (op Unset) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	if _, ok := n.Get(op.ID); ok {
		e.writes(op.Path, op.ID)
		e.alter(op.Path, func(n *tree.Node) *tree.Node { return n.Without(op.ID, e.now) })
		return
	}
	if _, ok := e.old.vol.Get(op.Path, op.ID); ok {
		e.bad(op.Path, op.ID, errVolatile)
		return
	}
	e.bad(op.Path, op.ID, key.Errorf(NotFound, "not stored here"))
}

// errVolatile refuses a volatile property in a batch: a batch is checked, dry-run,
// recorded and reverted as a change of what is stored.
var errVolatile = key.Errorf(Invalid, "is VOLATILE, and so is set by the service alone")

// Clear removes the key's own properties of a user type and a data type, 0 for
// any. The key's class stays.
type Clear struct {
	Path     Path
	UserType UserType
	Type     Type
}

func (op Clear) Scope() Scope            { return Scope{Path: op.Path} }
func (op Clear) authorize(a *authorizer) { a.require(op.Path, 0, Write) }

func (op Clear) apply(e *edit) {
	n := e.at(op.Path)
	if n == nil {
		return
	}
	for _, p := range n.Items.All() {
		if p.ID != KeyType && fits(p, 0, op.UserType, op.Type) {
			e.writes(op.Path, p.ID)
			e.alter(op.Path, func(n *tree.Node) *tree.Node { return n.Without(p.ID, e.now) })
		}
	}
}

// CopyData copies the properties of one key to another that exists, or with
// Move moves them. Only those with all bits of Attr, of UserType and of Type
// go, 0 for any. With Inherit in Attr, what From inherits is copied, too. The
// class stays where it is.
type CopyData struct {
	From, To Path
	Attr     Attr
	UserType UserType
	Type     Type
	Move     bool
}

func (op CopyData) Scope() Scope { return Scope{Path: op.To, From: op.From} }
func (op CopyData) authorize(a *authorizer) {
	a.requireSource(op.From, false)
	a.require(op.To, 0, Write)
}

func (op CopyData) apply(e *edit) {
	from, to := e.at(op.From), e.at(op.To)
	if from == nil || to == nil {
		return
	}
	if op.From.Equal(op.To) {
		e.bad(op.To, 0, key.Errorf(Invalid, "is copied to itself"))
		return
	}
	for _, p := range e.dataOf(op.From, from.Items.All(), op.Attr) {
		if p.ID == KeyType || !fits(p, op.Attr, op.UserType, op.Type) {
			continue
		}
		e.set(op.To, e.root.Lookup(op.To), p)
		if from.Items.Find(p.ID) != nil && op.Move {
			e.alter(op.From, func(n *tree.Node) *tree.Node { return n.Without(p.ID, e.now) })
		}
	}
}
