// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"restante/":  "a pattern is found in a text",
		"gopher-lua": "only luahost knows the values of Lua",
	})
}

// find gives the match, its captures and what was raised.
func find(ctx context.Context, src, pat string) (whole string, captures []string, raised string) {
	m := &Matcher{Src: src, Pat: pat, Context: ctx, Fail: func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }}
	defer func() {
		if r := recover(); r != nil {
			raised = r.(string)
		}
	}()
	start, end, ok := m.Find(0)
	if !ok {
		return "none", nil, ""
	}
	for _, c := range m.Captures {
		if c.Size == Place {
			captures = append(captures, fmt.Sprint("at ", c.Start))
			continue
		}
		captures = append(captures, src[c.Start:c.Start+c.Size])
	}
	return src[start:end], captures, ""
}

func TestFind(t *testing.T) {
	tests := []struct{ src, pat, whole, captures, raised string }{
		{"key = value", "(%w+)%s*=%s*(%w+)", "key = value", "key,value", ""},
		{"a(b(c)d)e", "%b()", "(b(c)d)", "", ""},
		{"the cat", "%f[%a]c()", "c", "at 5", ""},
		{"<a><b>", "<(.-)>", "<a>", "a", ""},
		{"abcabc", "(abc)%1", "abcabc", "abc", ""},
		{"xyz", "^y", "none", "", ""},
		{"x]", "[]]", "]", "", ""},
		{"x", "%", "", "", "the pattern ends with %"},
		{"x", "[a", "", "", "the pattern lacks a ]"},
		{"x", "%1", "", "", "the pattern names a capture that it has not"},
	}
	for _, tt := range tests {
		whole, captures, raised := find(t.Context(), tt.src, tt.pat)
		if got := strings.Join(captures, ","); whole != tt.whole || got != tt.captures || raised != tt.raised {
			t.Errorf("%q in %q: %q, captures %q, raised %q; want %q, %q, %q", tt.pat, tt.src, whole, got, raised, tt.whole, tt.captures, tt.raised)
		}
	}
}

// A pattern that takes years ends with the context.
func TestFindEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped"))
	if _, _, raised := find(ctx, strings.Repeat("a", 200), strings.Repeat("a*", 30)+"b"); raised != "stopped" {
		t.Errorf("raised %q", raised)
	}
}
