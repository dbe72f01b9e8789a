// SPDX-License-Identifier: Apache-2.0

package stored

import (
	"encoding/binary"

	"restante/internal/kv"
	"restante/metabase/internal/casefold"
	"restante/metabase/item"
	"restante/metabase/key"
)

// The records of the ordered map, by the first octet of their keys.
const (
	NodeKeys    = 'k' // then each name of the path, folded, after a zero: the key's own data
	MetaKey     = 'm' // the revision and the machine key's proof
	PageKeys    = 'r' // then the first revision of a page: the history
	PartKeys    = 'p' // then that, and the part: the rest of a page that is too large for one value
	HeadKeys    = 'h' // then the revision: actor, time and comment of a revision whose page was dropped
	ConfirmKeys = 'c' // then the revision: the deadline of its confirmation
)

// NodeKey is the key of the map for the key at p. No name holds a zero, and it
// sorts first: each key is followed by its children, before its siblings.
func NodeKey(p key.Path) []byte {
	b := append(make([]byte, 0, 1+len(p)), NodeKeys)
	for name := range p.Elements() {
		b = casefold.AppendFold(append(b, 0), name)
	}
	return b
}

// MaxPath bounds a path, so that its key has room in the map, below the prefix
// of a database that several processes share.
const MaxPath = kv.MaxKey - 100

// RevKey is the key of the map for the record of a revision.
func RevKey(kind byte, rev item.Rev) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, uint64(rev))
}

// KeyRev is the inverse of RevKey.
func KeyRev(raw []byte) (item.Rev, error) {
	if len(raw) != 9 {
		return 0, key.Errorf(key.Damaged, "a record of a revision has a key of %d octets", len(raw))
	}
	return item.Rev(binary.BigEndian.Uint64(raw[1:])), nil
}
