// SPDX-License-Identifier: Apache-2.0

// Package importreport prints and writes what became of each part of an imported
// file.
package importreport

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"

	"restante/cmd/restante/internal/words"
	"restante/internal/disk"
	"restante/metabase/mbxml"
)

// reportLines is how many remarks of a kind a report has on its page.
const reportLines = 10

var verdicts = []mbxml.Verdict{mbxml.Translated, mbxml.Ignored, mbxml.Decision}

// remarkKind is what remarks have in common: those of 20,000 domains are few kinds.
func remarkKind(m mbxml.Remark) string {
	if m.Property != "" {
		return m.Property
	}
	words := strings.Fields(m.Text)
	return strings.Join(words[:min(3, len(words))], " ")
}

// Print prints the count of items that were imported unchanged, the counts of
// the others, and of these the first ones of each kind or all.
func Print(printf func(format string, args ...any), r *mbxml.Report, all bool) {
	printf("taken over: %s, %s\n", words.Plural(r.Keys, "key"), words.Properties(r.Properties))
	for _, v := range verdicts {
		counts := map[string]int{}
		var kinds []string
		for _, m := range r.Remarks {
			if m.Verdict != v {
				continue
			}
			kind := remarkKind(m)
			if counts[kind]++; counts[kind] == 1 {
				kinds = append(kinds, kind)
			}
			if all || counts[kind] <= reportLines {
				printf("%s: %s\n", v, remarkText(m))
			}
		}
		for _, kind := range kinds {
			if more := counts[kind] - reportLines; more > 0 && !all {
				printf("%s: %s: %d more of %d, see --all\n", v, kind, more, counts[kind])
			}
		}
	}
}

func remarkText(m mbxml.Remark) string {
	var b strings.Builder
	if m.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", m.Line)
	}
	for _, part := range []string{string(m.Path), m.Property} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	return b.String() + m.Text
}

var reportPage = template.Must(template.New("").Funcs(template.FuncMap{"text": remarkText}).Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Import of {{.File}}</title>
<h1>Import of {{.File}}</h1>
<p>Taken over: {{.Report.Keys}} keys, {{.Report.Properties}} properties.</p>
{{range .Verdicts}}{{$v := .}}<h2>{{$v}}</h2>
<ul>
{{range $.Report.Remarks}}{{if eq .Verdict $v}}<li>{{text .}}</li>
{{end}}{{end}}</ul>
{{end}}</html>
`))

// WritePage writes the report with all of its lines as a page.
func WritePage(name, file string, r *mbxml.Report) error {
	var b bytes.Buffer
	if err := reportPage.Execute(&b, struct {
		File     string
		Report   *mbxml.Report
		Verdicts []mbxml.Verdict
	}{file, r, verdicts}); err != nil {
		return err
	}
	return disk.WriteFile(nil, name, 0o600, disk.Bytes(b.Bytes()))
}
