// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"math/rand/v2"
	"testing"

	"restante/internal/kv"
)

// TestUndoEachStep checks that the history leads back over each of many random
// batches to exactly what was, and that what is undone is found again.
func TestUndoEachStep(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := open(t, kv.NewMem(), Options{})
	apply(t, s, AddKey{"/W", ""})
	w := &player{s, "/W", rand.New(rand.NewPCG(seed, 1)), plain{"/W": {}}}
	for step := range modelSteps() / 4 {
		was, rev := exact(s.Snapshot()), s.Snapshot().Rev()
		if err := w.turn(step); err != nil {
			t.Fatal(err)
		}
		if s.Snapshot().Rev() == rev {
			continue
		}
		back, err := s.At(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		if got := exact(back); got != was {
			h, _ := s.Record(t.Context(), rev+1)
			t.Fatalf("step %d: back at revision %d there is\n%s\nand there was\n%s\nafter %+v", step, rev, got, was, h)
		}
	}
}
