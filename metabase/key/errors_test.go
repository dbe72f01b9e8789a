// SPDX-License-Identifier: Apache-2.0

package key

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

func TestError(t *testing.T) {
	tests := []struct {
		err  error
		text string
		kind Kind
	}{
		{&Error{Op: "get", Path: "/LM", Kind: NotFound}, "get: /LM: not found", NotFound},
		{&Error{Op: "get", Err: io.EOF}, "get: EOF", ""},
		{&Error{Op: "get", Kind: Damaged, Err: io.EOF}, "get: damaged: EOF", Damaged},
		{&Error{Op: "open", Err: Errorf(InUse, "by %d", 7)}, "open: by 7", InUse},
		{fmt.Errorf("line 1: %w", Errorf(Invalid, "bad")), "line 1: bad", Invalid},
		{Conflict, "conflict", Conflict},
		{io.EOF, "EOF", ""},
	}
	for _, tt := range tests {
		if tt.err.Error() != tt.text || KindOf(tt.err) != tt.kind {
			t.Errorf("%q of kind %q, want %q of kind %q", tt.err, KindOf(tt.err), tt.text, tt.kind)
		}
	}
	if err := (&Error{Op: "get", Kind: Damaged, Err: io.EOF}); !errors.Is(err, io.EOF) {
		t.Errorf("%v hides its cause", err)
	}
	for err, want := range map[error]bool{
		&Error{Op: "apply", Kind: Conflict}:                            true,
		fmt.Errorf("a: %w", &Error{Kind: Conflict, Err: io.EOF}):       true,
		Errorf(Conflict, "revision 2 stands in the way"):               false,
		&Error{Op: "apply", Err: Errorf(Conflict, "a later revision")}: false,
		&Error{Kind: Invalid}:                                          false,
	} {
		if IsStale(err) != want {
			t.Errorf("IsStale(%v) = %v", err, !want)
		}
	}
	if KindOf(nil) != "" {
		t.Error("no error has a kind")
	}
}

func TestPathAbove(t *testing.T) {
	if got := slices.Collect(Path("/LM/a").Parents()); !slices.Equal(got, []Path{"/LM/a", "/LM", "/"}) {
		t.Errorf("Parents: %q", got)
	}
	for _, tt := range []struct{ p, q, want Path }{
		{"/a/b", "/a/c", "/a"}, {"/a/b", "/A/B/c", "/a/b"}, {"/a", "/b", "/"}, {"/ab", "/a", "/"}, {"/", "/a", "/"},
	} {
		if got := Common(tt.p, tt.q); got != tt.want {
			t.Errorf("Common(%q, %q) = %q, want %q", tt.p, tt.q, got, tt.want)
		}
	}
	for end, want := range map[int]Path{0: "/", 3: "/LM", 5: "/LM/a"} {
		if got := Path("/LM/a").Prefix(end); got != want {
			t.Errorf("Prefix(%d) = %q, want %q", end, got, want)
		}
	}
	for _, p := range []Path{"", "LM", "/LM/", "//LM", `/a\b`} {
		if !errors.Is(p.Check(), Invalid) {
			t.Errorf("Check of %q: %v", p, p.Check())
		}
	}
}
