// SPDX-License-Identifier: Apache-2.0

package metabase

import "time"

// The ways in.
const (
	FromCLI    Origin = "cli"
	FromLua    Origin = "lua"
	FromImport Origin = "import"
	FromSystem Origin = "system" // setup, the engine, what is taken back by itself
)

// A Batch is a number of changes that are made together or not at all.
type Batch struct {
	IfRev   *Rev // refuse with Conflict unless the store is at this revision; nil: any
	Ops     []Op
	Actor   Principal   // who; "" is the system itself, which may do everything
	Also    []Principal // what the actor is besides: its uid, its groups
	Origin  Origin
	Comment string
	Confirm time.Duration // > 0: taken back unless Confirm is called in time
	Waiting string        // for the checks: what becomes of mail that it lets go; "": it is refused then
}

// who lists the principals that the batch's rights come from.
func (b *Batch) who() []Principal { return append([]Principal{b.Actor}, b.Also...) }

// An Op is one operation of a batch. Its methods are a row of the table of
// operations, and stand together in ops.go, keyops.go and replace.go; the words
// for it are in admin/tree. Later operations see what earlier ones did. Paths
// must be as ParsePath gives them.
type Op interface {
	Scope() Scope            // what it names
	authorize(a *authorizer) // requires of a the rights that it needs
	apply(e *edit)           // changes the tree, and reports problems to e
}

// A Scope is what an operation names.
type Scope struct {
	Path Path // the key that it changes
	From Path // the key that it copies or moves from; "" for none
	ID   ID   // the property that it changes; 0 for others
	Deep bool // it is about all keys below Path and From as well
}

// Paths lists the keys that are named.
func (s Scope) Paths() []Path {
	if s.From != "" {
		return []Path{s.From, s.Path}
	}
	return []Path{s.Path}
}

// paths lists the keys that the batch names.
func (b *Batch) paths() (out []Path) {
	for _, op := range b.Ops {
		if op != nil {
			out = append(out, op.Scope().Paths()...)
		}
	}
	return out
}
