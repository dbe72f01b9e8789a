// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/record"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/item"
)

// big is a property of n octets.
func big(id ID, n int) Property {
	return Property{ID: id, UserType: 1, Value: Binary(make([]byte, n))}
}

// replaceBy makes a Replace of nodes, parents first.
func replaceBy(t *testing.T, s *Store, nodes map[Path]*tree.Node, order ...Path) *Replace {
	t.Helper()
	r, err := s.Replace(nil)
	for _, p := range order {
		if err == nil {
			nodes[p].Spelling = p.Base()
			err = r.Add(stored.AppendClear(record.AppendText(nil, string(p)), nodes[p]))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every limit holds for every writer, in a dry run, too, and what was refused leaves
// no trace.
func TestLimitsOfEveryWriter(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	long := strings.Repeat("\u017f", 127) // 254 octets, folded to 127
	wide := "/W"
	apply(t, s, AddKey{Path: "/W"}, AddKey{Path: "/N"}, AddKey{Path: "/N/old"}, AddKey{Path: "/A"}, AddKey{Path: "/B"}, AddKey{Path: "/C"}, AddKey{Path: "/S"})
	for range 7 {
		wide += "/" + long
		apply(t, s, AddKey{Path: Path(wide)})
	}
	deepest := Path("/S")
	for range 9 {
		deepest = deepest.Join(strings.Repeat("s", 200))
		apply(t, s, AddKey{Path: deepest})
	}
	deepest = deepest.Join(strings.Repeat("s", 60))
	apply(t, s, AddKey{Path: deepest})
	for id := range ID(4) {
		apply(t, s, Set{"/A", big(10+id, 200<<10)}, Set{"/B", big(20+id, 200<<10)})
	}
	full := &tree.Node{Items: item.ListOf([]Property{big(1, 250<<10), big(2, 250<<10), big(3, 250<<10), big(4, 250<<10), big(5, 250<<10)})}
	tests := []struct {
		limit, writer, err string
		ops                []Op
	}{
		{"value", "set", "more than 262144", []Op{Set{"/A", big(1, item.MaxValue+1)}}},
		{"value", "class", "more than 262144", []Op{AddKey{Path: "/A/x", Class: strings.Repeat("c", item.MaxValue+1)}}},
		{"text", "set", "UTF-8", []Op{Set{"/A", Property{ID: 1, Value: String("\xed\xa0\x80")}}}}, // a lone surrogate
		{"text", "list", "zero octet", []Op{Set{"/A", Property{ID: 1, Value: MultiSZ("a", "\x00")}}}},
		{"text", "class", "UTF-8", []Op{AddKey{Path: "/A/x", Class: "\xff"}}},

		{"key", "set", "more than 1048576", []Op{Set{"/A", big(1, 240<<10)}, Set{"/A", big(2, 10<<10)}}},
		{"key", "copy", "more than 1048576", []Op{Copy{From: "/A", To: "/B", Overwrite: true}}},
		{"key", "move", "more than 1048576", []Op{Move{From: "/A", To: "/B", Overwrite: true}}},
		{"key", "copy of data", "more than 1048576", []Op{CopyData{From: "/A", To: "/B"}}},
		{"key", "restore", "more than 1048576", []Op{replaceBy(t, s, map[Path]*tree.Node{"/": {}, "/A": full}, "/", "/A")}},

		{"path", "add", "at most 1900", []Op{AddKey{Path: Path(wide).Join(long)}}},
		{"path", "copy", "at most 1900", []Op{Copy{From: "/W", To: deepest.Join("x")}}},
		{"path", "move", "at most 1900", []Op{Move{From: "/W", To: deepest.Join("x")}}},
		{"path", "other spelling", "at most 1900", []Op{Move{From: Path("/S/" + strings.Repeat("s", 200)), To: Path("/S/" + strings.Repeat("s", 150) + strings.Repeat("\u017f", 50))}}},
	}
	for _, name := range []string{"\uffff", "a\ufffe", "\u202e", "a\u200b", "e\u0301", "\u212a", "\u2028", "\ufeffx", "\u00a0"} {
		below := Path("/N/" + name)
		for writer, op := range map[string]Op{"add": AddKey{Path: below}, "copy": Copy{From: "/C", To: below}, "move": Move{From: "/C", To: below}, "rename": Move{From: "/N/old", To: below}} {
			tests = append(tests, struct {
				limit, writer, err string
				ops                []Op
			}{"name " + fmt.Sprintf("%+q", name), writer, "a name ", []Op{op}})
		}
	}
	for _, tt := range tests {
		was := s.cur.Load().root
		_, err := s.Apply(t.Context(), Batch{Ops: tt.ops})
		if !errors.Is(err, Invalid) || !strings.Contains(fmt.Sprint(err), tt.err) {
			t.Errorf("%s, %s: %.1500v; want %q", tt.limit, tt.writer, err, tt.err)
		}
		if _, tried := s.Try(t.Context(), Batch{Ops: tt.ops}); fmt.Sprint(tried) != fmt.Sprint(err) {
			t.Errorf("%s, %s: the dry run says %.200v", tt.limit, tt.writer, tried)
		}
		if s.cur.Load().root != was {
			t.Fatalf("%s, %s: something was kept", tt.limit, tt.writer)
		}
	}
	sound(t, s)
}

// What an earlier version took is read, moved, copied, reverted and restored.
func TestNamesOfEarlierVersionsStay(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	bad := Path("/A/\u202e")
	apply(t, s, replaceBy(t, s, map[Path]*tree.Node{"/": {}, "/A": {}, bad: {}, bad.Join("\uffff"): {}}, "/", "/A", bad, bad.Join("\uffff")))
	apply(t, s, Move{From: "/A", To: "/B"})
	apply(t, s, Copy{From: "/B/\u202e", To: "/\u202e"})
	rev := apply(t, s, Remove{Path: "/B", Recursive: true})
	if _, err := s.Revert(t.Context(), rev, Root, Batch{}); err != nil {
		t.Fatal(err)
	}
	apply(t, s, Set{"/B/\u202e/\uffff", num(1, 1)}, Move{From: "/B/\u202e/\uffff", To: "/B/ok"})
	sound(t, s)
}

// A key that is larger than is taken now may get smaller, but no larger.
func TestALargeKeyShrinks(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	apply(t, s, AddKey{Path: "/A"})
	n := s.cur.Load().root.Lookup("/A")
	for id := range ID(5) {
		p := big(1+id, 250<<10)
		p.Rev = 1
		n = n.With(p, 0)
	}
	next := *s.cur.Load()
	next.root = next.root.Change("/A", func(*tree.Node) *tree.Node { return n })
	s.cur.Store(&next)
	if _, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/A", num(9, 1)}}}); !errors.Is(err, Invalid) {
		t.Errorf("it grows: %v", err)
	}
	apply(t, s, Set{"/A", big(1, 200<<10)})
	apply(t, s, Unset{"/A", 2}, Set{"/A", num(9, 1)})
}
