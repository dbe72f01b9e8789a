// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func contents(k *kids) map[string]*node {
	out := map[string]*node{}
	k.each(func(n *node) bool {
		out[fold(n.name)] = n
		return true
	})
	return out
}

// TestKids races the map against Go's own, and looks at old versions of it to
// see that they stay as they were.
func TestKids(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var k *kids
	model := map[string]*node{}
	type version struct {
		k     *kids
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
			k = k.without(name)
			delete(model, fold(name))
		} else {
			n := &node{name: name}
			k = k.with(n)
			model[fold(name)] = n
		}
		if got := k.get(strings.ToUpper(name)); got != model[fold(name)] {
			t.Fatalf("step %d: %q is %v, want %v", step, name, got, model[fold(name)])
		}
		if k.len() != len(model) {
			t.Fatalf("step %d: %d names, want %d", step, k.len(), len(model))
		}
		for _, p := range diffKids(prev, k) {
			if !equalFold(p.name(), name) {
				t.Fatalf("step %d: a change of %q shows as one of %q", step, name, p.name())
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
		bulk := newKids(v.k.sorted())
		if !maps.Equal(contents(bulk), v.model) || len(diffKids(bulk, v.k)) != 0 {
			t.Fatalf("version %d made at once differs", i)
		}
		for _, w := range old[:i] {
			checkDiff(t, w.k, v.k, w.model, v.model)
		}
	}
}

func checkDiff(t *testing.T, a, b *kids, ma, mb map[string]*node) {
	t.Helper()
	seen := map[string]bool{}
	for _, p := range diffKids(a, b) {
		name := fold(p.name())
		if seen[name] || p.old != ma[name] || p.new != mb[name] || p.old == p.new {
			t.Fatalf("diff says %q: %v, %v; want %v, %v", name, p.old, p.new, ma[name], mb[name])
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

// TestTrieBottom does by hand what two names with the same hash would do.
func TestTrieBottom(t *testing.T) {
	a, b, c := &node{name: "a"}, &node{name: "b"}, &node{name: "A"}
	tr, added := (&trie{}).with(a, 0, bottom)
	if !added {
		t.Error("the first name is not added")
	}
	tr, added = tr.with(b, 0, bottom)
	if !added || tr.get(0, "B", bottom) != b || tr.get(0, "a", bottom) != a {
		t.Error("the second name hides the first")
	}
	if next, added := tr.with(c, 0, bottom); added || next.get(0, "a", bottom) != c || tr.get(0, "a", bottom) != a {
		t.Error("the same name is not replaced")
	}
	less := tr.without("a", 0, bottom)
	if less.get(0, "a", bottom) != nil || less.get(0, "b", bottom) != b || len(tr.leaf) != 2 {
		t.Error("without takes the wrong one")
	}
	var got []pair
	diffTrie(tr, less, bottom, func(p pair) { got = append(got, p) })
	if !slices.Equal(got, []pair{{a, nil}}) {
		t.Errorf("diff at the bottom: %v", got)
	}
	bulk := newTrie([]hashed{{7, a}, {7, b}}, 0)
	if bulk.get(7, "a", 0) != a || bulk.get(7, "b", 0) != b || bulk.get(7, "c", 0) != nil {
		t.Error("two names of one hash are lost when made at once")
	}
}

func BenchmarkKids(b *testing.B) {
	var nodes []*node
	for i := range 100_000 {
		nodes = append(nodes, &node{name: fmt.Sprintf("domain%d.example", i)})
	}
	k := newKids(nodes)
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if k.get(nodes[i%len(nodes)].name) == nil {
				b.Fatal("lost")
			}
		}
	})
	b.Run("with", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			k.with(&node{name: nodes[i%len(nodes)].name})
		}
	})
}
