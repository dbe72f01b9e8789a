// SPDX-License-Identifier: Apache-2.0

package importreport

import (
	"fmt"
	"strings"
	"testing"

	"restante/internal/deptest"
	"restante/metabase"
	"restante/metabase/mbxml"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"/admin": "a report is printed whoever made it", "/engine": "a report is about a file"})
}

// A report has the first ten of each kind, or all; a page has all, escaped.
func TestReport(t *testing.T) {
	r := &mbxml.Report{Keys: 3, Properties: 9, Counts: mbxml.Counts{TakenOver: mbxml.Imported{Keys: 1, Properties: 2}, Translated: 13, Ignored: 4, Decision: 5}}
	for i := range 13 {
		r.Remarks = append(r.Remarks, mbxml.Remark{
			Verdict: mbxml.Translated, Path: metabase.Path(fmt.Sprintf("/LM/SMTPSVC/%d", i)), Property: "QueueDirectory", Text: "is <Queue>", Line: i,
		})
	}
	print := func(all bool) string {
		var b strings.Builder
		Print(func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }, r, all)
		return b.String()
	}
	if got := print(false); !strings.HasPrefix(got, "taken over: 1 key, 2 properties\nothers: 13 translated, 4 ignored, 5 to be decided\n") || strings.Count(got, "is <Queue>") != 10 ||
		!strings.HasSuffix(got, "QueueDirectory: 3 more of 13, see --all\n") {
		t.Errorf("the report:\n%s", got)
	}
	if got := print(true); strings.Count(got, "is <Queue>") != 13 || strings.Contains(got, "--all") {
		t.Errorf("with all:\n%s", got)
	}
	var page strings.Builder
	err := WritePage(&page, "a&b.xml", r)
	if got := page.String(); err != nil || strings.Count(got, "is &lt;Queue&gt;") != 13 || !strings.Contains(got, "Import of a&amp;b.xml") ||
		!strings.Contains(got, "<p>taken over: 1 key, 2 properties</p>\n<p>others: 13 translated, 4 ignored, 5 to be decided</p>") {
		t.Errorf("the page: %v\n%s", err, got)
	}
}
