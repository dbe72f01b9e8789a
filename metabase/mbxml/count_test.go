// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"testing"

	"restante/metabase"
)

// Each item counts once, whatever its remarks name it by, and also if it is left out
// after all; a remark about a key is about no property.
func TestCounts(t *testing.T) {
	r := &Report{imported: map[importedItem]bool{}, names: map[propertyName]bool{}}
	for _, path := range []string{"/LM/A", "/LM/B"} {
		r.imports(metabase.Path(path), 0, "")
		r.imports(metabase.Path(path), 7, "", "Seven", "7")
		r.imports(metabase.Path(path), 8, "Eight", "8")
	}
	r.Keys, r.Properties = 2, 4
	r.Drop("/lm/a", 8)
	for _, name := range []string{"SEVEN", "7", "seven"} {
		r.Remarks = append(r.Remarks, Remark{Path: "/LM/a", Property: name, Verdict: Translated})
	}
	for _, name := range []string{"Eight", "8"} {
		r.Remarks = append(r.Remarks, Remark{Path: "/LM/A", Property: name, Verdict: Ignored})
	}
	r.Remarks = append(r.Remarks, Remark{Path: "/LM/B", Verdict: Translated}, Remark{Path: "/LM/B", Property: "Nine", Verdict: Decision})
	r.count()
	want := Counts{TakenOver: Imported{Keys: 1, Properties: 2}, Translated: 2, Ignored: 1, Decision: 1}
	if r.Counts != want {
		t.Errorf("%+v, want %+v", r.Counts, want)
	}
}
