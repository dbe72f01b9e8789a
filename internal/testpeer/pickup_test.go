// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// TestKillDuringPickup ends the service with SIGKILL while it takes files, in many
// rounds. Afterwards each file is held once, none is damaged, and no file is left.
func TestKillDuringPickup(t *testing.T) {
	t.Parallel()
	rounds, each := testpeer.Rounds(2, 3, 100), testpeer.Rounds(100, 100, 300)
	seed := rand.Uint64()
	t.Logf("seed %d, %d rounds", seed, rounds)
	rnd := rand.New(rand.NewPCG(seed, 0))

	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	folder := filepath.Join(s.Data, "Mailroot", "Pickup")
	put := &messageSet{ids: map[string]bool{}}
	files := func() []string {
		list, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for range rounds {
		for range each {
			id, m := checksummed("someone@held.test", rnd)
			tmp := filepath.Join(folder, id+".tmp")
			if err := os.WriteFile(tmp, m, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(tmp, filepath.Join(folder, id+".eml")); err != nil {
				t.Fatal(err)
			}
			put.ids[id] = true
		}
		await(t, "files are taken", func() bool { return len(files()) < each })
		<-time.After(time.Duration(rnd.IntN(50)) * time.Millisecond) // the random moment
		s.Kill()
		if err := s.Start(t.Context()); err != nil {
			t.Fatalf("after a kill: %v", err)
		}
	}
	await(t, "all files are taken", func() bool { return len(files()) == 0 })
	found := &messageSet{ids: map[string]bool{}}
	collectHeld(t, s, found)
	if n := put.countMissing(found); n > 0 || found.repeated > 0 || found.damaged > 0 {
		t.Errorf("of %d files, %d are missing, %d came more than once and %d are damaged", len(put.ids), n, found.repeated, found.damaged)
	}
}
