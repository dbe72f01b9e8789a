// SPDX-License-Identifier: Apache-2.0

// Package importreport prints and writes what became of each part of an imported
// file.
package importreport

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"strings"

	"restante/cmd/restante/internal/words"
	"restante/metabase/mbxml"
)

// reportLines is how many remarks of a kind a report has on its page.
const reportLines = 10

var verdicts = []mbxml.Verdict{mbxml.Translated, mbxml.NoEffect, mbxml.Ignored, mbxml.Decision}

// remarkKind is what remarks have in common: those of 20,000 domains are few kinds.
func remarkKind(m mbxml.Remark) string {
	if m.Property != "" {
		return m.Property
	}
	first := strings.Fields(m.Text)
	return strings.Join(first[:min(3, len(first))], " ")
}

// Print prints the counts of a report, and of its remarks the first ones of each
// kind or all.
func Print(printf func(format string, args ...any), r *mbxml.Report, all bool) {
	for _, line := range countLines(r.Counts) {
		printf("%s\n", line)
	}
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

func countLines(n mbxml.Counts) []string {
	lines := []string{
		fmt.Sprintf("taken over: %s, %s", words.Plural(n.TakenOver.Keys, "key"), words.Properties(n.TakenOver.Properties)),
		fmt.Sprintf("others: %d translated, %d ignored, %d to be decided", n.Translated, n.Ignored, n.Decision),
	}
	if n.NoEffect > 0 {
		lines = append(lines, fmt.Sprintf("without effect: %s that nothing acts on", words.Properties(n.NoEffect)))
	}
	return lines
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

var reportPage = template.Must(template.New("").Funcs(template.FuncMap{"text": remarkText, "counts": countLines}).Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Import of {{.File}}</title>
<h1>Import of {{.File}}</h1>
{{range counts .Report.Counts}}<p>{{.}}</p>
{{end}}{{range .Verdicts}}{{$v := .}}<h2>{{$v}}</h2>
<ul>
{{range $.Report.Remarks}}{{if eq .Verdict $v}}<li>{{text .}}</li>
{{end}}{{end}}</ul>
{{end}}</html>
`))

// WritePage writes the report with all of its lines as a page.
func WritePage(w io.Writer, file string, r *mbxml.Report) error {
	var b bytes.Buffer
	if err := reportPage.Execute(&b, struct {
		File     string
		Report   *mbxml.Report
		Verdicts []mbxml.Verdict
	}{file, r, verdicts}); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
