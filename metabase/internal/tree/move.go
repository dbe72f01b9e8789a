// SPDX-License-Identifier: Apache-2.0

package tree

import "restante/metabase/key"

// A Move is recorded in the history as one line.
type Move struct{ From, To key.Path }

// Carry gives the new path of a key that lies within what moves.
func (m Move) Carry(p key.Path) key.Path { return m.To + p[len(m.From):] }

// Follow gives the path of a key after the move.
func (m Move) Follow(p key.Path) key.Path {
	if p.Within(m.From) {
		return m.Carry(p)
	}
	return p
}
