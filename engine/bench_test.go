// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// BenchmarkChangeInForce is the time from the call of Apply to the moment from
// which a caller lives under the new limit, with 100,000 domains in the tree.
func BenchmarkChangeInForce(b *testing.B) {
	h := newHarness(b)
	action, _ := schema.IIS().ByID(settings.RouteAction)
	turn, _ := schema.IIS().ByID(settings.AuthTurnList)
	var ops []metabase.Op
	for i := range 100_000 {
		p := settings.DomainPath(1, fmt.Sprintf("host%06d.example", i))
		ops = append(ops, metabase.AddKey{Path: p, Class: schema.Domain},
			metabase.Set{Path: p, Property: action.Item(metabase.DWord(514))},
			metabase.Set{Path: p, Property: turn.Item(metabase.MultiSZ(fmt.Sprintf("account%d", i)))})
	}
	h.apply(ops...)
	h.run()
	s := h.Engine.site(1)
	var took []time.Duration
	limit := 2000
	for b.Loop() {
		limit++
		begun := time.Now()
		h.apply(h.set(settings.SitePath(1), "MaxMessageSize", fmt.Sprint(limit)))
		want := uint64(h.store.Snapshot().Rev())
		for s.Running() != want { // a caller would take what it finds
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
