// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strings"
	"testing"

	"restante/metabase"
)

// Whatever makes a site or suggests a folder means the same folder.
func TestSiteFoldersAreTheSameFromEverySource(t *testing.T) {
	tr := newTwoSites(t)
	snap := tr.store.Snapshot()
	for n, dir := range map[int]string{1: "Mailroot", 2: "Mailroot-2", 10: "Mailroot-10"} {
		if got := Mailroot(n); got != dir {
			t.Errorf("Mailroot(%d) = %s, want %s", n, got, dir)
		}
		ops, err := SiteParts(snap, SitePath(n))
		if err != nil {
			t.Fatal(err)
		}
		folders := map[metabase.ID]string{}
		for _, op := range ops {
			if set, ok := op.(metabase.Set); ok {
				folders[set.Property.ID] = set.Property.Value.Str()
			}
		}
		for id, name := range map[metabase.ID]string{QueueDirectory: "Queue", DropDirectory: "Drop", PickupDirectory: "Pickup", BadMailDirectory: "Badmail"} {
			if want := dir + "/" + name; folders[id] != want {
				t.Errorf("SiteParts of site %d: property %d is %q, want %q", n, id, folders[id], want)
			}
		}
	}
	if _, ops, err := CreateSite(metabase.Snapshot{}, NewSite{}); err != nil || !sets(ops, QueueDirectory, "Mailroot/Queue") {
		t.Errorf("CreateSite of site 1: %v, %v", ops, err)
	}
	tr.must(set(t, SitePath(2), "QueueDirectory", "apart"), set(t, SitePath(1), "QueueDirectory", "mine"))
	got := tr.problems("user:root", set(t, SitePath(1), "QueueDirectory", "apart"))
	if len(got) != 1 || !strings.HasSuffix(got[0], "give site 1 a folder of its own, such as Mailroot/Queue") {
		t.Errorf("the suggestion is %q", got)
	}
}

func sets(ops []metabase.Op, id metabase.ID, text string) bool {
	for _, op := range ops {
		if set, ok := op.(metabase.Set); ok && set.Property.ID == id {
			return set.Property.Value.Str() == text
		}
	}
	return false
}
