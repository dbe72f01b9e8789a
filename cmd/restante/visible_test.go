// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"restante/admin/api"
	"restante/cmd/restante/internal/visible"
)

// TestAnswersAreVisible prints a hostile value by each verb, and errors.
func TestAnswersAreVisible(t *testing.T) {
	const hostile = "x\x1b[2J\tforged\nrestante: forged\u202e\u009b\xff"
	var out, problems strings.Builder
	c := &cli{out: &out, err: &problems, path: "mb " + hostile}
	err := c.answerOwn(nil, func(w table) {
		fields(w)(hostile, []string{hostile})
		w.printf("%s\t%v\t%q\t%-5s\t%d\n", hostile, struct{ s string }{hostile}, hostile, &api.Error{Text: hostile}, 7)
	})
	if err != nil {
		t.Fatal(err)
	}
	c.report(&api.Error{Kind: api.KindFailed, Text: hostile, Hint: hostile})
	c.warn(hostile, hostile)
	c.warnUnknownAccounts(api.Domain{Name: hostile, Unknown: []string{hostile}})
	for _, text := range []string{out.String(), problems.String()} {
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if visible.Line(line) != line {
				t.Errorf("%q shows as it is", line)
			}
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("two rows are printed as %d lines: %q", n, out.String())
	}
}
