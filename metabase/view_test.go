// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/metabase/key"
)

// protected is a tree in which user:one may read /LM/a and /LM/b/open alone.
func protected(t *testing.T, opts Options) *Store {
	t.Helper()
	s := open(t, kv.NewMem(), opts)
	list := func(p Path, lines ...string) Op { return Set{p, Property{ID: AccessList, Value: MultiSZ(lines...)}} }
	apply(t, s, AddKey{"/LM", ""}, list("/", "user:x all"), AddKey{"/LM/a", ""}, list("/LM/a", "user:one all"), AddKey{"/LM/a/x", ""}, AddKey{"/LM/a/hidden", ""},
		list("/LM/a/hidden", "user:x all"), AddKey{"/LM/b", ""}, AddKey{"/LM/b/open", ""}, list("/LM/b/open", "user:one read"), AddKey{"/LM/b/c", ""})
	return s
}

func TestView(t *testing.T) {
	s := protected(t, Options{})
	v := s.Snapshot().View([]Principal{"user:one"})
	for p, want := range map[Path][2]bool{ // seen, leading to what is seen
		"/": {false, true}, "/lm/A/X": {true, true}, "/LM/a/hidden": {false, false}, "/LM/a/hidden/none": {false, false},
		"/LM/b": {false, true}, "/LM/b/open": {true, true}, "/LM/b/c": {false, false}, "/LM/a/none": {true, true},
	} {
		if got := [2]bool{v.Sees(p), v.Leads(p)}; got != want {
			t.Errorf("%s: seen and leading %v, want %v", p, got, want)
		}
	}
	if got := slices.Collect(v.Walk("/")); !slices.Equal(got, []Path{"/", "/LM", "/LM/a", "/LM/a/x", "/LM/b", "/LM/b/open"}) {
		t.Errorf("Walk: %v", got)
	}
	if got := slices.Collect(v.Children("/LM/a")); !slices.Equal(got, []string{"x"}) || v.Count("/LM/A") != 1 || v.Count("/LM/b") != 1 || v.Count("/LM") != 2 {
		t.Errorf("Children: %v; counts %d, %d, %d", got, v.Count("/LM/A"), v.Count("/LM/b"), v.Count("/LM"))
	}
	for _, p := range []Path{"/", "/lm", "/LM/A", "/LM/b", "/LM/none"} {
		var want, got []Key
		for name := range v.Children(p) {
			if key, ok := v.Key(p.Join(name)); ok && v.Sees(key.Path) {
				want = append(want, key)
			}
		}
		for key, props := range v.ChildKeys(p) {
			if got = append(got, key); len(props) != len(v.Properties(key.Path)) {
				t.Errorf("ChildKeys of %s: %s has %v", p, key.Path, props)
			}
		}
		if !slices.Equal(got, want) || p == "/LM/A" && len(got) == 0 {
			t.Errorf("ChildKeys of %s: %v, want %v", p, got, want)
		}
	}
	if got := v.DataPaths("/", AccessList); !slices.Equal(got, []Path{"/LM/a", "/LM/b/open"}) {
		t.Errorf("DataPaths: %v", got)
	}
	if p, hidden := v.Hidden("/LM/a"); !hidden || p != "/LM/a/hidden" {
		t.Errorf("Hidden: %s", p)
	}
	// The index of lists follows the tree.
	apply(t, s, Unset{"/LM/a/hidden", AccessList})
	if p, hidden := s.Snapshot().View([]Principal{"user:one"}).Hidden("/LM/a"); hidden {
		t.Errorf("%s is hidden still", p)
	}
}

func TestRedact(t *testing.T) {
	v := protected(t, Options{}).Snapshot().View([]Principal{"user:one"})
	why := key.Errorf(InUse, "names /LM/a/hidden")
	tests := []struct {
		problem Problem
		named   Path
		want    string
	}{
		{Problem{Path: "/LM/a", Err: why}, "/LM/a", "/LM/a: names /LM/a/hidden"}, // a check that sets no Other
		{Problem{Path: "/LM/a", Other: "/LM/a/x", Err: why}, "/LM/a", "/LM/a: names /LM/a/hidden"},
		{Problem{Path: "/LM/a", Other: "/LM/a/hidden", Err: why}, "/LM/a", "/LM/a: " + redactedOther},
		{Problem{Path: "/LM/a", Other: "/LM/a/hidden", Err: why}, "/LM/a/hidden/x", "/LM/a: names /LM/a/hidden"}, // the caller named it
		{Problem{Path: "/LM/a/hidden", ID: 5, Err: why}, "/LM/a", "/LM/a: " + redactedBelow},
		{Problem{Path: "/LM/a/hidden", Err: why}, "/LM/b", redactedOther},
		{Problem{Path: "/LM", Err: why}, "/LM/b/c", "/LM: names /LM/a/hidden"},
	}
	for _, tt := range tests {
		if got := v.Redact(&Refused{Problems: []Problem{tt.problem}}, tt.named); got.Error() != tt.want {
			t.Errorf("%v of %s: %q, want %q", tt.problem, tt.named, got, tt.want)
		}
	}
	if err := v.Redact(&Refused{Problems: []Problem{{Path: "/LM/a", Other: "/LM/b/c", Err: why}}}, "/LM/a"); !errors.Is(err, InUse) {
		t.Errorf("the kind is lost: %v", err)
	}
}

// TestStoreRedacts checks each way in which a batch is refused.
func TestStoreRedacts(t *testing.T) {
	s := protected(t, Options{})
	one := Batch{Actor: "user:one", Ops: []Op{Lock{"/LM/a", 7, false}}}
	apply(t, s, Set{"/LM/a", with(num(7, 1), Locked)})
	unlocked := apply(t, s, Lock{"/LM/a", 7, true})
	apply(t, s, Set{"/LM/a/hidden", num(7, 2)})
	for name, f := range map[string]func() error{
		"Apply":  func() error { _, err := s.Apply(t.Context(), one); return err },
		"Try":    func() error { _, err := s.Try(t.Context(), one); return err },
		"Revert": func() error { _, err := s.Revert(t.Context(), unlocked, "/LM/a", Batch{Actor: "user:one"}); return err },
		"TryRevert": func() error {
			_, err := s.TryRevert(t.Context(), unlocked, "/LM/a", Batch{Actor: "user:one"})
			return err
		},
	} {
		if err := f(); !errors.Is(err, InUse) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Revert(t.Context(), unlocked, "/LM/a", Batch{Actor: "user:x", Also: []Principal{"user:one"}}); err == nil || !strings.Contains(err.Error(), "/LM/a/hidden overrides it") {
		t.Errorf("a caller who may read it: %v", err)
	}
}

func TestKeptLines(t *testing.T) {
	snap := protected(t, Options{}).Snapshot()
	v := ChangeView{[]Principal{"user:one"}, snap, snap, snap}
	got := v.Kept(lines([]Problem{
		{Path: "/LM/a", ID: 5, Err: Conflict}, {Path: "/LM/a/hidden", Err: Conflict},
		{Path: "/LM/a", Other: "/LM/a/hidden", Err: Conflict}, {Path: "/LM/a", ID: 6, Other: "/LM/a/x", Err: Conflict},
	}))
	want := []string{"/LM/a: property 5: " + Conflict.Error(), "/LM/a: property 6: " + Conflict.Error()}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestRightsAreAskedOnce counts what a batch asks of the access lists.
func TestRightsAreAskedOnce(t *testing.T) {
	asked := map[grant]int{}
	s := protected(t, Options{OnAsk: func(p Path, r Right) { asked[grant{p, r}]++ }})
	clear(asked)
	if _, err := s.Apply(t.Context(), Batch{Actor: "user:one", Ops: []Op{Set{"/LM/a", num(7, 1)}, Set{"/LM/a", num(8, 1)}}}); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 1 || asked[grant{"/LM/a", Write}] != 1 {
		t.Errorf("asked %v", asked)
	}
}
