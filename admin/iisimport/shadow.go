// SPDX-License-Identifier: Apache-2.0

package iisimport

import (
	"fmt"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/mbxml"
	"restante/metabase/schema"
)

// All returns the operations: Ops and, of a merge, those that remove what hides
// a value of the file. What hides one and stays is for TellShadows to report.
func (b *Batch) All() []metabase.Op {
	if b.chosen == nil {
		return b.Ops
	}
	b.shadows = b.report.Shadows(b.snap, b.Ops)
	ops := slices.Clip(b.Ops)
	for _, s := range b.shadows {
		at := itemAt(s.Path, s.Stored.ID)
		b.stays[at] = b.stays[at] || b.chosen(s.Path, s.Stored) || b.ownFolder(s.Path, s.Stored.ID)
		if !b.stays[at] {
			ops = append(ops, metabase.Unset{Path: s.Path, ID: s.Stored.ID})
		}
	}
	return ops
}

// ownFolder reports whether a property is a folder of a site: no two sites may
// share one, and so none is inherited.
func (b *Batch) ownFolder(p metabase.Path, id metabase.ID) bool {
	prop, _ := b.schema.ByID(id)
	return prop.Syntax == schema.FilePath && strings.EqualFold(b.snap.Class(p), schema.Server)
}

// keepShadows keeps the values whose removal a check refuses, and reports
// whether there was one.
func (b *Batch) keepShadows(w culprits) (some bool) {
	for _, s := range b.shadows {
		at := itemAt(s.Path, s.Stored.ID)
		if _, refused := w[at]; refused && !b.stays[at] {
			b.stays[at], some = true, true
		}
	}
	return some
}

// TellShadows reports each value that hid what the file says by inheritance,
// whether it was removed or stays. It leaves out keys that the caller may not
// read.
func (b *Batch) TellShadows(sees func(metabase.Path) bool) {
	for _, s := range b.shadows {
		if !sees(s.Path) || !sees(s.From) {
			continue
		}
		prop, _ := b.schema.ByID(s.Stored.ID)
		prop = prop.As(s.Stored.Value.Type())
		here, there := text(prop, s.Stored.Value), text(prop, s.Says)
		r := mbxml.Remark{Verdict: mbxml.Decision, Path: s.Path, Property: prop.Label()}
		r.Line, _ = b.report.Line(s.From, s.Stored.ID)
		switch {
		case !b.stays[itemAt(s.Path, s.Stored.ID)]:
			r.Verdict = mbxml.Translated
			r.Text = fmt.Sprintf("%s was the value of setup, and is removed: the file has %s at %s", here, there, s.From)
		case b.ownFolder(s.Path, s.Stored.ID):
			r.Verdict = mbxml.Translated
			r.Text = fmt.Sprintf("stays %s: a site has folders of its own; the file has %s at %s", here, there, s.From)
		default:
			r.Text = fmt.Sprintf("stays %s, which is set here; the file has %s at %s: restante mb unset %s %s", here, there, s.From, s.Path, prop.Label())
		}
		b.report.Remarks = append(b.report.Remarks, r)
	}
}

func text(p schema.Prop, v metabase.Value) string {
	return fmt.Sprintf("%.200q", strings.Join(p.Format(v), " "))
}
