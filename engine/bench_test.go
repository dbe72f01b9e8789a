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

// BenchmarkChangeInForce is the time from the call of Apply to the return of
// Await, with 100,000 domains in the tree, and that of Apply alone.
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
	var took, commit []time.Duration
	limit := 2000
	for b.Loop() {
		limit++
		begun := time.Now()
		rev, err := h.store.Apply(b.Context(), metabase.Batch{
			Ops: []metabase.Op{h.set(settings.SitePath(1), "MaxMessageSize", fmt.Sprint(limit))}, Origin: metabase.FromSystem,
		})
		if err != nil {
			b.Fatal(err)
		}
		commit = append(commit, time.Since(begun))
		h.await(rev)
		took = append(took, time.Since(begun))
	}
	slices.Sort(commit)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(commit[len(commit)/2].Microseconds()), "commit-p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
