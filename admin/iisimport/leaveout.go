// SPDX-License-Identifier: Apache-2.0

package iisimport

import (
	"errors"
	"fmt"
	"slices"

	"restante/metabase"
	"restante/metabase/mbxml"
)

// LeaveOut removes the values and added keys that the problems are about, with all
// keys below them, and reports whether there were any. A missing right cannot be
// left out.
func (b *Batch) LeaveOut(problems []metabase.Problem) (some bool) {
	w := b.culprits(problems)
	some = b.keepShadows(w)
	b.dropRemarks(w)
	kept := b.Ops[:0:0]
	for _, op := range b.Ops {
		if w.leaves(b, op) {
			some = true
		} else {
			kept = append(kept, op)
		}
	}
	b.Ops = kept
	b.dropBare()
	return some
}

// dropBare removes the keys that were added above others which are left out now:
// a site must not be created for a domain that is not.
func (b *Batch) dropBare() {
	needed := map[item]bool{}
	for _, op := range b.Ops {
		key := keyOf(op)
		if _, ofFile := b.report.Line(key, 0); !ofFile {
			continue
		}
		for at := key; at != metabase.Root; at = at.Parent() {
			needed[itemAt(at, 0)] = true
		}
	}
	bare := func(key metabase.Path) bool {
		line, ofFile := b.report.Line(key, 0)
		return line > 0 && !ofFile && !needed[itemAt(key, 0)]
	}
	b.Ops = slices.DeleteFunc(b.Ops, func(op metabase.Op) bool { return bare(keyOf(op)) })
	b.report.Remarks = slices.DeleteFunc(b.report.Remarks, func(r mbxml.Remark) bool { return bare(r.Path) })
}

// keyOf is the key of an operation of a merge.
func keyOf(op metabase.Op) metabase.Path {
	switch op := op.(type) {
	case metabase.AddKey:
		return op.Path
	case metabase.Set:
		return op.Path
	}
	return metabase.Root
}

// An item is a property of a key, or with id 0 the key itself; the path is in
// lower case.
type item struct {
	path string
	id   metabase.ID
}

func itemAt(p metabase.Path, id metabase.ID) item {
	return item{p.Fold(), id}
}

// culprits are the values and new keys that a check refuses, with the reason.
type culprits map[item]error

func (b *Batch) culprits(problems []metabase.Problem) culprits {
	added := map[item]bool{}
	for _, op := range b.Ops {
		if add, ok := op.(metabase.AddKey); ok {
			added[itemAt(add.Path, 0)] = true
		}
	}
	w := culprits{}
	for _, p := range problems {
		at := itemAt(p.Path, p.ID)
		switch {
		case errors.Is(p.Err, metabase.Denied):
			continue
		case p.ID != 0 && p.ID != metabase.KeyType:
		case added[itemAt(p.Path, 0)]:
			at = itemAt(p.Path, 0)
		case p.ID != metabase.KeyType:
			continue
		}
		if _, had := w[at]; !had { // the first is the reason: others follow from it
			w[at] = p.Err
		}
	}
	return w
}

// above finds the topmost culprit at or over path.
func (w culprits) above(path metabase.Path) (top metabase.Path, found bool) {
	for at := path; at != metabase.Root; at = at.Parent() {
		if _, bad := w[itemAt(at, 0)]; bad {
			top, found = at, true
		}
	}
	return top, found
}

// leaves reports whether an operation is left out, and adds the remark.
func (w culprits) leaves(b *Batch, op metabase.Op) bool {
	switch op := op.(type) {
	case metabase.AddKey:
		top, out := w.above(op.Path)
		if !out {
			return false
		}
		b.report.Drop(op.Path, 0)
		if top == op.Path {
			b.remark(mbxml.Decision, op.Path, 0, fmt.Sprintf("does not belong here, and is left out with all below it: %v", w[itemAt(top, 0)]))
		}
		return true
	case metabase.Set:
		_, out := w.above(op.Path)
		why, bad := w[itemAt(op.Path, op.Property.ID)]
		if bad && !out {
			b.remark(mbxml.Decision, op.Path, op.Property.ID, fmt.Sprintf("does not fit here and is left out: %v", why))
		}
		if out || bad {
			b.report.Drop(op.Path, op.Property.ID)
		}
		return out || bad
	}
	return false
}

// dropRemarks removes the remarks about keys that are left out.
func (b *Batch) dropRemarks(w culprits) {
	b.report.Remarks = slices.DeleteFunc(b.report.Remarks, func(r mbxml.Remark) bool {
		_, out := w.above(r.Path)
		return out
	})
}
