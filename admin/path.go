// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"

	"restante/admin/api"
	"restante/metabase"
)

// Env of the machine in the tree: the part of a path that may be left out.
const machine metabase.Path = "/LM"

// ParsePath reads a path as people write it: SMTPSVC/1 is /LM/SMTPSVC/1, and
// nothing at all is the whole tree.
func ParsePath(s string) (metabase.Path, error) {
	p, err := metabase.ParsePath("/" + s)
	if err != nil {
		var e *metabase.Error
		if errors.As(err, &e) && e.Err != nil {
			err = e.Err
		}
		return "", api.Usage(s+": "+err.Error(), "")
	}
	if p == metabase.Root || p.Within(machine) || p.Within("/Schema") {
		return p, nil
	}
	return metabase.ParsePath(string(machine) + string(p))
}

// Canonical is p as the tree spells it, or as it is where there is no such key.
func Canonical(snap metabase.Snapshot, p metabase.Path) metabase.Path {
	if key, ok := snap.Key(p); ok {
		return key.Path
	}
	return p
}
