// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"fmt"

	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

// applyPlan applies the batch that plan makes of the current state. It plans
// again when another change came first.
func (h handlers) applyPlan(ctx context.Context, who api.Caller, plan func(metabase.Snapshot) ([]metabase.Op, error)) (metabase.Rev, error) {
	for {
		snap := h.Tree.Snapshot()
		if err := h.checkRev(ctx, who, snap); err != nil {
			return 0, err
		}
		ops, err := plan(snap)
		if err != nil {
			return 0, err
		}
		b := who.Batch(ops...)
		b.IfRev = new(snap.Rev())
		rev, err := h.As(who).Apply(ctx, b)
		if !metabase.IsStale(err) || ctx.Err() != nil {
			return rev, err
		}
	}
}

// checkRev refuses a state that is not of the revision that the caller asks for.
func (h handlers) checkRev(ctx context.Context, who api.Caller, snap metabase.Snapshot) error {
	if who.IfRev == nil || *who.IfRev == snap.Rev() {
		return nil
	}
	_, err := h.As(who).Apply(ctx, who.Batch()) // which refuses it
	return err
}

// An opBuilder collects operations with values given as text. It keeps the first
// error.
type opBuilder struct {
	schema *schema.Schema
	snap   metabase.Snapshot
	ops    []metabase.Op
	err    error
}

func (w *opBuilder) add(p metabase.Path, class string) {
	w.ops = append(w.ops, metabase.AddKey{Path: p, Class: class})
}

func (w *opBuilder) set(p metabase.Path, name string, values ...string) {
	prop, err := w.schema.Lookup(name)
	if err == nil {
		var v metabase.Value
		if v, err = prop.Parse(values); err == nil {
			w.ops = append(w.ops, metabase.Set{Path: p, Property: prop.Item(v)})
			return
		}
	}
	if w.err == nil {
		w.err = api.Refused(fmt.Sprintf("%s: %s", p, prop.Label()), err.Error())
	}
}

// amend is set of values that were made of those that hold.
func (w *opBuilder) amend(p metabase.Path, name string, values ...string) {
	n := len(w.ops)
	w.set(p, name, values...)
	for i, op := range w.ops[n:] {
		w.ops[n+i] = metabase.Amend(op.(metabase.Set))
	}
}

// unset removes a property if it is stored.
func (w *opBuilder) unset(p metabase.Path, name string) {
	prop, _ := w.schema.Property(name)
	if _, ok := w.snap.Stored(p, prop.ID); ok {
		w.ops = append(w.ops, metabase.Unset{Path: p, ID: prop.ID})
	}
}
