// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"strconv"

	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

const servicePath = settings.Service

func sitePath(n int) metabase.Path { return settings.SitePath(n) }

func itoa(n int) string { return strconv.Itoa(n) }

// Setup gives the operations that make the default tree of an empty store, and
// the schema as keys.
func Setup(snap metabase.Snapshot, s *schema.Schema, site settings.NewSite) ([]metabase.Op, error) {
	ops, err := settings.Setup(snap, site)
	return append(ops, s.Sync(snap)...), err
}

// A writer collects operations whose values are given as text. The first thing
// that is wrong sticks.
type writer struct {
	schema *schema.Schema
	snap   metabase.Snapshot
	ops    []metabase.Op
	err    error
}

func (w *writer) add(p metabase.Path, class string) {
	w.ops = append(w.ops, metabase.AddKey{Path: p, Class: class})
}

func (w *writer) set(p metabase.Path, name string, values ...string) {
	prop, err := w.schema.Lookup(name)
	if err == nil {
		var v metabase.Value
		if v, err = prop.Parse(values); err == nil {
			item := prop.Item(v)
			if was, ok := w.snap.Stored(p, prop.ID); ok {
				item.Attr |= was.Attr & metabase.Locked // only unlock takes a lock away
			}
			w.ops = append(w.ops, metabase.Set{Path: p, Property: item})
			return
		}
	}
	if w.err == nil {
		w.err = refused(fmt.Sprintf("%s: %s", p, prop.Label()), err.Error())
	}
}

// unset removes a property that is stored; one that is not is let be.
func (w *writer) unset(p metabase.Path, name string) {
	prop, _ := w.schema.Property(name)
	if _, ok := w.snap.Stored(p, prop.ID); ok {
		w.ops = append(w.ops, metabase.Unset{Path: p, ID: prop.ID})
	}
}
