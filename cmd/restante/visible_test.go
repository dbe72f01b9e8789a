// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"restante/admin/api"
	adsi "restante/adsi-compat"
	"restante/adsi-compat/adsutil"
	"restante/adsi-compat/luahost"
	"restante/cmd/restante/internal/visible"
	"restante/metabase"
	"restante/metabase/schema"
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

// TestProblemIsOneLine reports errors with a name of others that has line breaks: each
// problem is a line, and no name makes another one.
func TestProblemIsOneLine(t *testing.T) {
	const name = "a\nrestante: all is well\r\n."
	onLua := func(err error) error {
		var s luahost.Script
		s.Functions = []luahost.Function{{Module: "m", Name: "f", Call: func(context.Context, []byte) (json.RawMessage, error) { return nil, err }}}
		s.Source, s.Name = "m.f{}", "s.lua"
		return luahost.Run(t.Context(), adsi.New(nil, schema.IIS()), s)
	}
	two := &api.Error{Kind: api.KindRefused, Problems: []api.Problem{{Path: name, Why: name}, {Property: name, Why: name}}}
	refused := &metabase.Refused{Problems: []metabase.Problem{{Path: name, Err: errors.New(name)}, {Property: name, Err: errors.New(name)}}}
	for what, tt := range map[string]struct {
		err   error
		lines int
	}{
		"a text":           {&api.Error{Text: name}, 1},
		"problems":         {two, 2},
		"a hint":           {&api.Error{Text: name, Hint: name}, 2},
		"a file":           {&fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}, 1},
		"two files":        {errors.Join(&fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}, errors.New(name)), 2},
		"two within":       {fmt.Errorf("%s: %w", name, errors.Join(errors.New(name), errors.New(name))), 2},
		"a refused batch":  {refused, 2},
		"an object":        {&adsi.Error{Op: "GetObject", On: name, Err: metabase.NotFound}, 1},
		"a refused object": {onLua(&adsi.Error{Op: "SetInfo", On: name, Err: refused}), 2},
		"a script's call":  {onLua(two), 2},
		"adsutil":          {adsutilError(&adsutil.Error{Doing: name, Err: &adsi.Error{On: name, Err: refused}}), 3},
		"adsutil, usage":   {adsutilError(&adsutil.Usage{Text: name}), 2},
	} {
		var problems strings.Builder
		c := &cli{err: &problems, path: "mb show"}
		c.report(tt.err)
		if got := strings.Count(problems.String(), "\n"); got != tt.lines || strings.Contains(problems.String(), "\r") {
			t.Errorf("%s: %d lines, want %d:\n%s", what, got, tt.lines, problems.String())
		}
	}
}
