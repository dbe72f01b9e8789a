// SPDX-License-Identifier: Apache-2.0

package metabase

import "time"

// Origin says by which way a batch came in.
type Origin string

// The ways in.
const (
	FromCLI    Origin = "cli"
	FromLua    Origin = "lua"
	FromImport Origin = "import"
	FromSystem Origin = "system" // setup, the engine, what is taken back by itself
)

// A Batch is a number of changes that are made together or not at all.
type Batch struct {
	IfRev   Rev // refuse with Conflict unless the store is at this revision; 0: any
	Ops     []Op
	Actor   Principal   // who; "" is the system itself, which may do everything
	Also    []Principal // what the actor is besides: its uid, its groups
	Origin  Origin
	Comment string
	Confirm time.Duration // > 0: taken back unless Confirm is called in time
}

// who lists the principals that the batch's rights come from.
func (b *Batch) who() []Principal { return append([]Principal{b.Actor}, b.Also...) }

// An Op is one change: Set, SetBits, Unset, Lock, AddKey, Remove,
// RemoveChildren, Copy, Move, Clear, CopyData or Touch. Later ops see what earlier ones did. Paths must be
// as ParsePath gives them.
type Op interface {
	apply(e *edit) // tells problems to e
	needs(n *needs)
}

// Set stores a property at a key that exists, in the place of what had its ID.
// An item that is SECURE can't be made plain by it: Unset it first. One that is
// LOCKED stays so: see Lock. VOLATILE ones go to memory only.
type Set struct {
	Path     Path
	Property Property
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

// Lock locks what is stored at a key, which must be inherited, against being
// overridden below it; with Off it may be overridden again.
type Lock struct {
	Path Path
	ID   ID
	Off  bool
}

// Unset removes what is stored at the key itself.
type Unset struct {
	Path Path
	ID   ID
}

// AddKey makes a key below one that exists. With a Class it gets its KeyType.
type AddKey struct {
	Path  Path
	Class string
}

// Remove takes a key away; with Recursive also one that has children.
type Remove struct {
	Path      Path
	Recursive bool
}

// RemoveChildren takes away everything below a key and leaves the key.
type RemoveChildren struct{ Path Path }

// Copy copies a key with all below it. Where To exists, Overwrite is needed,
// and merges: what comes from From wins, what only To has stays.
type Copy struct {
	From, To  Path
	Overwrite bool
}

// Move is Copy, after which From is gone: renaming, too. What moves keeps the
// revisions that stored it.
type Move struct {
	From, To  Path
	Overwrite bool
}

// Clear removes the key's own properties of a user type and a data type, 0 for
// any. The key's class stays.
type Clear struct {
	Path     Path
	UserType UserType
	Type     Type
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

// Touch sets the last-change time of a key.
type Touch struct {
	Path Path
	Time time.Time
}
