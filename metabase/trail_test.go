// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"strings"
	"testing"

	"restante/internal/kv"
)

// TestTrail compares what a check sees, which goes by the trail to what the
// batch altered, with what there is to see on the way from the root.
func TestTrail(t *testing.T) {
	var looked int
	compare := func(s Snapshot, paths []Path) {
		plain := *s.img
		plain.trail = nil
		from := Snapshot{&plain}
		for _, p := range paths {
			looked++
			if s.node(p) != from.node(p) {
				t.Errorf("%s: another key by the trail", p)
			}
			for id := range ID(4) {
				a, at, ok := s.Effective(p, id)
				b, bt, bok := from.Effective(p, id)
				if !a.Value.Equal(b.Value) || a.Rev != b.Rev || at != bt || ok != bok {
					t.Errorf("%s: property %d is %v from %q by the trail, %v from %q without", p, id, a.Value, at, b.Value, bt)
				}
				a, at, ok = s.EffectivePartial(p, id)
				if b, bt, bok = from.EffectivePartial(p, id); !a.Value.Equal(b.Value) || at != bt || ok != bok {
					t.Errorf("%s: partial property %d differs", p, id)
				}
			}
			by, locked := lockAbove(s.img, p, 3)
			if by2, locked2 := lockAbove(&plain, p, 3); by != by2 || locked != locked2 {
				t.Errorf("%s: locked at %q by the trail, at %q without", p, by, by2)
			}
		}
	}
	check := func(c Change) []Problem {
		var paths []Path
		for _, s := range []Snapshot{c.Old, c.New} {
			for p := range s.Walk(Root) {
				paths = append(paths, p, Path(strings.ToUpper(string(p))), p.Join("none"), p.Join("none/deeper"), p+"x")
			}
		}
		compare(c.Old, paths)
		compare(c.New, paths)
		return nil
	}
	s := open(t, kv.NewMem(), Options{Checks: []Check{check}})
	for _, ops := range [][]Op{
		{AddKey{"/Lm", "A"}, AddKey{"/Lm/x", "B"}, AddKey{"/Lm/x/y", "C"}, AddKey{"/Lm/xx", ""}},
		{Set{"/", num(1, 1)}},
		{Set{"/Lm", with(num(3, 1), Locked)}},
		{Set{"/Lm/x", num(1, 2)}},
		{Set{"/LM/X", num(1, 3)}}, // spelled otherwise
		{Set{"/Lm/x/y", num(2, 2)}, Set{"/Lm/x/y", num(1, 4)}},
		{Set{"/Lm/x/y", num(2, 3)}, Set{"/Lm/xx", num(2, 3)}},
		{Set{"/Lm/x/y", num(2, 4)}, Set{"/Lm/x", num(2, 4)}, Set{"/Lm/x/y", num(1, 5)}},
		{AddKey{"/Lm/x/z", ""}, Set{"/Lm/x/z", num(1, 6)}},
		{Copy{"/Lm/x", "/Lm/copy", false}},
		{Move{"/Lm/copy", "/Lm/Moved", false}, Set{"/Lm/Moved/y", num(1, 7)}},
		{Move{"/Lm/Moved", "/Lm/MOVED", false}}, // another spelling
		{Set{"/Lm/MOVED/y", num(1, 8)}, Remove{"/Lm/MOVED", true}},
		{Remove{"/Lm/x/y", false}},
		{Remove{"/Lm/x/z", false}, AddKey{"/Lm/x/z", ""}},
		{RemoveChildren{"/"}},
	} {
		apply(t, s, ops...)
		sound(t, s)
	}
	if looked < 500 {
		t.Errorf("no more than %d paths were looked at", looked)
	}
}
