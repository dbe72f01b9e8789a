// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"slices"

	"restante/metabase/key"
)

// A Move is recorded in the history as one line.
type Move struct{ From, To key.Path }

// Carry gives the new path of a key that lies within what moves. Names that are equal
// without case may differ in octets: it steps by element.
func (m Move) Carry(p key.Path) key.Path {
	rest := string(p)
	for range m.From.Elements() {
		_, rest = key.CutName(rest[1:])
	}
	return m.To + key.Path(rest)
}

// Follow gives the path of a key after the move.
func (m Move) Follow(p key.Path) key.Path {
	if p.Within(m.From) {
		return m.Carry(p)
	}
	return p
}

// Back gives the path that a key had before moves.
func Back(moves []Move, p key.Path) key.Path {
	for _, m := range slices.Backward(moves) {
		p = Move{m.To, m.From}.Follow(p)
	}
	return p
}
