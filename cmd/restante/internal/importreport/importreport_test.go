// SPDX-License-Identifier: Apache-2.0

package importreport

import (
	"fmt"
	"os"
	"path/filepath"
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
	r := &mbxml.Report{Keys: 1, Properties: 2}
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
	if got := print(false); !strings.HasPrefix(got, "taken over: 1 key, 2 properties\n") || strings.Count(got, "is <Queue>") != 10 ||
		!strings.HasSuffix(got, "QueueDirectory: 3 more of 13, see --all\n") {
		t.Errorf("the report:\n%s", got)
	}
	if got := print(true); strings.Count(got, "is <Queue>") != 13 || strings.Contains(got, "--all") {
		t.Errorf("with all:\n%s", got)
	}
	page := filepath.Join(t.TempDir(), "report.html")
	if err := WritePage(page, "a&b.xml", r); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(page)
	if err != nil || strings.Count(string(b), "is &lt;Queue&gt;") != 13 || !strings.Contains(string(b), "Import of a&amp;b.xml") {
		t.Errorf("the page: %v\n%s", err, b)
	}
}
