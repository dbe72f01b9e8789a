// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/item"
	"restante/metabase/key"
)

// The limits of a value and a property are those of [item.Property.Check], which
// each of them passed when it came in, from a batch or a file. The limits of what a
// batch puts together are here.

// maxKey bounds the octets of all values of one key: larger things belong into
// files.
const maxKey = 1 << 20

// checkLimits refuses keys that are larger, or lie deeper, than what reads the
// store, its history, backups and exports takes. One that is too large already may
// get smaller.
func checkLimits(list []tree.KeyDelta) (out []Problem) {
	for _, d := range list {
		if d.Removed {
			continue
		}
		if err := checkPath(d.Path); err != nil {
			out = append(out, Problem{Path: d.Path, Err: err})
		}
		grown, last := 0, ID(0)
		for _, p := range d.Props {
			grown += sizeOf(p.New) - sizeOf(p.Old)
			if p.New != nil {
				last = p.ID
			}
		}
		if grown <= 0 {
			continue
		}
		size := 0
		for _, p := range d.Node.Items.All() {
			size += sizeOf(&p)
		}
		if size > maxKey {
			out = append(out, Problem{Path: d.Path, ID: last, Err: key.Errorf(Invalid, "the key would hold %d octets, more than %d", size, maxKey)})
		}
	}
	return out
}

// checkPath refuses the path of a key that the map has no room for. Folding makes no
// name longer.
func checkPath(p Path) error {
	if len(p) > stored.MaxPath {
		return key.Errorf(Invalid, "the path has %d octets, at most %d can be stored: use shorter names or fewer levels", len(p), stored.MaxPath)
	}
	return nil
}

// sizeOf is what p counts for in a key, 0 for nil.
func sizeOf(p *item.Property) int {
	if p == nil {
		return 0
	}
	return p.Value.Size() + 16
}
