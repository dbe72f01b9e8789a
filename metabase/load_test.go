// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/record"
)

// deep gives a path of n octets below top.
func deep(top Path, n int) Path {
	p := top
	for len(p) < n {
		p = p.Join(strings.Repeat("x", min(200, n-len(p)-1)))
	}
	return p
}

// chain lists what makes all keys from below top to p.
func chain(top, p Path) (ops []Op) {
	for up := range p.parents() {
		if up.Equal(top) {
			break
		}
		ops = append(ops, AddKey{Path: up})
	}
	slices.Reverse(ops)
	return ops
}

// No writer makes a key that the map has no room for.
func TestLongPathsAreRefused(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	longest := deep("/LM", maxStored)
	apply(t, s, AddKey{Path: "/LM"}, AddKey{Path: "/LMx"})
	apply(t, s, chain("/LM", longest)...)
	apply(t, s, Set{longest, num(1, 1)})
	if n := len(nodeKey(longest)); n > kv.MaxKey {
		t.Fatalf("the longest path has a key of %d octets", n)
	}
	clear, _ := s.Replace(nil)
	deepest := slices.Collect(deep("/LM", maxStored+300).parents())
	for _, p := range slices.Backward(deepest) {
		if err := clear.Add(appendClear(record.AppendText(nil, string(p)), &node{name: p.Base()})); err != nil {
			t.Fatal(err)
		}
	}
	for name, ops := range map[string][]Op{
		"add":     {AddKey{Path: longest.Join("y")}},
		"import":  chain("/LM", deep("/LM", maxStored+300)),
		"copy":    {Copy{From: "/LM", To: "/LMxyz"}},
		"move":    {Move{From: "/LM", To: "/LMx/LM"}},
		"restore": {clear},
	} {
		was := exact(s.Snapshot())
		_, err := s.Apply(t.Context(), Batch{Ops: ops})
		if !errors.Is(err, Invalid) || !strings.Contains(fmt.Sprint(err), "octets, at most 1900 can be stored") {
			t.Errorf("%s: %.300v", name, err)
		}
		if _, err := s.Try(t.Context(), Batch{Ops: ops}); !errors.Is(err, Invalid) {
			t.Errorf("%s, tried: %.300v", name, err)
		}
		if exact(s.Snapshot()) != was {
			t.Errorf("%s: something was kept", name)
		}
	}
	// What is folded to fewer octets has room.
	kelvin := Path("/LMx/" + strings.Repeat("\u212A", 80))
	apply(t, s, AddKey{Path: kelvin})
	sound(t, s)
}
