// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"restante/metabase/item"
	"restante/metabase/key"
)

// dump prints a tree, a key a line.
func dump(root *Node) string {
	var b strings.Builder
	root.Walk(key.Root, func(p key.Path, n *Node) bool {
		fmt.Fprintln(&b, p, n.Modified, n.Items.All())
		return true
	})
	return b.String()
}

func prop(id item.ID, n uint32, rev item.Rev) item.Property {
	return item.Property{ID: id, Value: item.DWord(n), Rev: rev}
}

// grow changes the tree at random: a key is added, removed with what is below it,
// respelled, or has a property set or removed. It returns a path to look at.
func grow(rnd *rand.Rand, root *Node, now int64) (*Node, key.Path) {
	at := key.Root
	for range 1 + rnd.IntN(3) {
		name := string(rune('a' + rnd.IntN(3)))
		if rnd.IntN(4) == 0 {
			name = strings.ToUpper(name)
		}
		if root.Lookup(at) == nil {
			break
		}
		at = at.Join(name)
	}
	if root.Lookup(at.Parent()) == nil {
		return root, at
	}
	id := item.ID(1 + rnd.IntN(3))
	return root.Change(at, func(n *Node) *Node {
		switch {
		case n == nil:
			return &Node{Spelling: at.Base(), Modified: now}
		case rnd.IntN(6) == 0:
			return nil
		case rnd.IntN(6) == 0:
			next := *n
			next.Spelling, next.Modified = at.Base(), now
			return &next
		}
		if _, ok := n.Get(id); ok && rnd.IntN(2) == 0 {
			return n.Without(id, now)
		}
		return n.With(prop(id, rnd.Uint32N(3), item.Rev(now)), now)
	}), at
}

// TestUndoOfDiff checks that the difference of two trees leads back from one to the
// other, and that neither was changed by it.
func TestUndoOfDiff(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	root := &Node{}
	for round := range 300 {
		old, was := root, dump(root)
		for range 1 + rnd.IntN(5) {
			root, _ = grow(rnd, root, int64(round+1))
		}
		is := dump(root)
		list := Diff(old, root)
		if (len(list) == 0) != (was == is) {
			t.Fatalf("round %d: %d differences of\n%sand\n%s", round, len(list), was, is)
		}
		if got := dump(Undo(root, list)); got != was {
			t.Fatalf("round %d: undone there is\n%swant\n%s", round, got, was)
		}
		if dump(old) != was || dump(root) != is {
			t.Fatalf("round %d: a tree was changed in place", round)
		}
	}
}

// TestTrail checks that a Trail leads where Lookup does, and that what is changed by
// it is what Change changes.
func TestTrail(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	root, there := &Node{}, 0
	for round := range 500 {
		var p key.Path
		root, p = grow(rnd, root, int64(round+1))
		trail, n := root.Trail(p), root.Lookup(p)
		if trail.Last() != n || root.Spell(p) != "" && !root.Spell(p).Equal(p) {
			t.Fatalf("%s: the trail leads to %v, spelled %q; want %v", p, trail.Last(), root.Spell(p), n)
		}
		if n == nil {
			continue
		}
		there++
		next := n.With(prop(9, uint32(round), 1), 1)
		want := root.Change(p, func(*Node) *Node { return next })
		got, now := trail.Change(next)
		if dump(got) != dump(want) || now.Last() != next || got.Lookup(p) != next {
			t.Fatalf("%s: by the trail there is\n%swant\n%s", p, dump(got), dump(want))
		}
		if same, _ := trail.Change(n); same != root {
			t.Errorf("%s: a change to the same node made another tree", p)
		}
		if d := DiffAt(trail, now); len(d) != 1 || !d[0].Path.Equal(p) || d[0].Quiet() {
			t.Errorf("%s: the difference is %v", p, d)
		}
		if steps := trail.To(p.Join("x")); p != key.Root && (len(steps) == 0 || steps[len(steps)-1].Node != n) {
			t.Errorf("%s: no way to a key below it", p)
		}
		if p != key.Root && trail.To(p+"x") != nil {
			t.Errorf("%s: a way to %sx, which is beside it", p, p)
		}
	}
	if there < 100 {
		t.Errorf("no more than %d keys were there", there)
	}
}

// Names that are equal without case have different lengths: K and the Kelvin sign.
func TestMoveOfAnotherSpelling(t *testing.T) {
	for p, want := range map[key.Path]key.Path{"/A/K": "/B", "/a/k/x": "/B/x", "/A/\u212a": "/B", "/a/\u212a/k/x": "/B/k/x", "/A/Kx": "/A/Kx"} {
		if got := (Move{From: "/A/K", To: "/B"}).Follow(p); got != want {
			t.Errorf("%q is now at %q, want %q", p, got, want)
		}
	}
}

func TestQuiet(t *testing.T) {
	was, again, other := prop(1, 1, 1), prop(1, 1, 2), prop(1, 2, 2)
	tests := []struct {
		d    PropertyDelta
		want bool
	}{
		{PropertyDelta{ID: 1, Old: &was, New: &again}, true}, // set again to the same
		{PropertyDelta{ID: 1, Old: &was, New: &other}, false},
		{PropertyDelta{ID: 1, New: &was}, false},
		{PropertyDelta{ID: 1, Old: &was}, false},
	}
	for _, tt := range tests {
		d := KeyDelta{OldName: "a", NewName: "a", Props: []PropertyDelta{tt.d}}
		if tt.d.Quiet() != tt.want || d.Quiet() != tt.want {
			t.Errorf("%v: %v and %v, want %v", tt.d, tt.d.Quiet(), d.Quiet(), tt.want)
		}
	}
	if (KeyDelta{OldName: "a", NewName: "A"}).Quiet() {
		t.Error("another spelling is quiet")
	}
}

func TestVolatiles(t *testing.T) {
	var none *Volatiles
	if _, ok := none.Get("/a", 1); ok || none.At("/a") != nil || none.Holding(1) != nil || none.Without("/a", 1) != nil {
		t.Error("the nil Volatiles hold something")
	}
	one := none.With("/a", prop(1, 1, 0)).With("/", prop(1, 0, 0))
	two := one.With("/a", prop(2, 2, 0)).With("/A/b", prop(1, 3, 0))
	if _, ok := one.Get("/a", 2); ok || len(one.At("/a")) != 1 {
		t.Error("With changed what it was called on")
	}
	stored := prop(1, 7, 0)
	for _, tt := range []struct {
		p    key.Path
		at   int // of stored
		want uint32
		end  int
	}{
		{"/a/b/c", 6, 7, 6}, // the stored one is nearer
		{"/a/b/c", 0, 3, 4},
		{"/a/x", 0, 1, 2},
		{"/x", 0, 0, 0},
	} {
		if got, end := two.Nearer(tt.p, len(tt.p), 1, &stored, tt.at); got.Value.DWord() != tt.want || end != tt.end {
			t.Errorf("%s: %v at %d, want %d at %d", tt.p, got, end, tt.want, tt.end)
		}
	}
	less := two.Without("/a", 1)
	if _, ok := less.Get("/a", 1); ok || len(less.At("/a")) != 1 || len(less.Without("/a", 0).At("/a")) != 0 {
		t.Errorf("there is left %v", less.At("/a"))
	}
	if got, ok := two.Get("/A", 1); !ok || got.Value.DWord() != 1 {
		t.Errorf("Get(/A, 1) = %v, %v", got, ok)
	}
}
