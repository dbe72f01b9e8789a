// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// Setup gives the operations that make the default tree of an empty store, and
// the schema as keys.
func Setup(snap metabase.Snapshot, s *schema.Schema, site settings.NewSite) ([]metabase.Op, error) {
	ops, err := settings.Setup(snap, site)
	return append(ops, s.Sync(snap)...), err
}
