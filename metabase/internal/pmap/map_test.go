// SPDX-License-Identifier: Apache-2.0

package pmap

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"restante/metabase/internal/casefold"
)

// A node is a value with a name.
type node struct{ name string }

func (n *node) Name() string { return n.name }

func contents(m *Map[*node]) map[string]*node {
	out := map[string]*node{}
	for n := range m.All {
		out[casefold.Fold(n.name)] = n
	}
	return out
}

// TestMap races the map against Go's own, and looks at old versions of it to
// see that they stay as they were.
func TestMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var k *Map[*node]
	model := map[string]*node{}
	type version struct {
		k     *Map[*node]
		model map[string]*node
	}
	var old []version
	for step := range 20_000 {
		name := fmt.Sprintf("Name%d", rnd.IntN(700))
		if rnd.IntN(2) == 0 {
			name = strings.ToLower(name)
		}
		prev := k
		if rnd.IntN(3) == 0 {
			k = k.Without(name)
			delete(model, casefold.Fold(name))
		} else {
			n := &node{name: name}
			k = k.With(n)
			model[casefold.Fold(name)] = n
		}
		if got := k.Get(strings.ToUpper(name)); got != model[casefold.Fold(name)] {
			t.Fatalf("step %d: %q is %v, want %v", step, name, got, model[casefold.Fold(name)])
		}
		if k.Len() != len(model) {
			t.Fatalf("step %d: %d names, want %d", step, k.Len(), len(model))
		}
		for _, p := range Diff(prev, k) {
			if !casefold.Equal(p.Name, name) {
				t.Fatalf("step %d: a change of %q shows as one of %q", step, name, p.Name)
			}
		}
		if step%1000 == 0 {
			old = append(old, version{k, maps.Clone(model)})
		}
	}
	old = append(old, version{k, model})
	for i, v := range old {
		if !maps.Equal(contents(v.k), v.model) {
			t.Fatalf("version %d is no longer what it was", i)
		}
		bulk := Make(v.k.Sorted())
		if !maps.Equal(contents(bulk), v.model) || len(Diff(bulk, v.k)) != 0 {
			t.Fatalf("version %d made at once differs", i)
		}
		for _, w := range old[:i] {
			checkDiff(t, w.k, v.k, w.model, v.model)
		}
	}
}

func checkDiff(t *testing.T, a, b *Map[*node], ma, mb map[string]*node) {
	t.Helper()
	seen := map[string]bool{}
	for _, p := range Diff(a, b) {
		name := casefold.Fold(p.Name)
		if seen[name] || p.Old != ma[name] || p.New != mb[name] || p.Old == p.New {
			t.Fatalf("diff says %q: %v, %v; want %v, %v", name, p.Old, p.New, ma[name], mb[name])
		}
		seen[name] = true
	}
	for name := range ma {
		if ma[name] != mb[name] && !seen[name] {
			t.Fatalf("diff misses %q", name)
		}
	}
	for name := range mb {
		if ma[name] != mb[name] && !seen[name] {
			t.Fatalf("diff misses %q", name)
		}
	}
}

// TestFew checks that few values come all, and many not at all.
func TestFew(t *testing.T) {
	var m *Map[*node]
	if m.Few() != nil {
		t.Error("an empty map has values")
	}
	for i := range 100 {
		m = m.With(&node{fmt.Sprint("n", i)})
		if got := m.Few(); got != nil && len(got) != m.Len() {
			t.Errorf("%d of %d values", len(got), m.Len())
		} else if got == nil && i == 0 || got != nil && i >= few {
			t.Errorf("%d values of %d", len(got), i+1)
		}
	}
}

// TestTrieBottom stores two names as if they had the same hash.
func TestTrieBottom(t *testing.T) {
	a, b, c := &node{"a"}, &node{"b"}, &node{"A"}
	get := (*trie[*node]).find
	with := func(tr *trie[*node], n *node) (next *trie[*node], added bool) {
		own := *tr
		return &own, own.put(n, 0, bottom)
	}
	tr, added := with(&trie[*node]{}, a)
	if !added {
		t.Error("the first name is not added")
	}
	tr, added = with(tr, b)
	if !added || get(tr, 0, "B", bottom) != b || get(tr, 0, "a", bottom) != a {
		t.Error("the second name hides the first")
	}
	if next, added := with(tr, c); added || get(next, 0, "a", bottom) != c || get(tr, 0, "a", bottom) != a {
		t.Error("the same name is not replaced")
	}
	less := tr.without("a", 0, bottom)
	if get(less, 0, "a", bottom) != nil || get(less, 0, "b", bottom) != b || len(tr.leaf) != 2 {
		t.Error("without takes the wrong one")
	}
	var got []Pair[*node]
	diffTrie(tr, less, bottom, func(p Pair[*node]) { got = append(got, p) })
	if !slices.Equal(got, []Pair[*node]{{"a", a, nil}}) {
		t.Errorf("diff at the bottom: %v", got)
	}
	bulk := newTrie([]hashed[*node]{{7, a}, {7, b}}, 0)
	if get(bulk, 7, "a", 0) != a || get(bulk, 7, "b", 0) != b || get(bulk, 7, "c", 0) != nil {
		t.Error("two names of one hash are lost when made at once")
	}
}

func BenchmarkMap(b *testing.B) {
	var nodes []*node
	for i := range 100_000 {
		nodes = append(nodes, &node{name: fmt.Sprintf("domain%d.example", i)})
	}
	k := Make(nodes)
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if k.Get(nodes[i%len(nodes)].name) == nil {
				b.Fatal("lost")
			}
		}
	})
	b.Run("with", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			k.With(&node{nodes[i%len(nodes)].name})
		}
	})
}
