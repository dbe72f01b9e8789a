// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"errors"
	"strings"
	"testing"
	"time"

	"restante/internal/kv"
	"restante/metabase/item"
	"restante/metabase/key"
)

func TestOps(t *testing.T) {
	// Each starts from this tree.
	start := []Op{
		AddKey{"/A", "Top"}, AddKey{"/A/x", ""}, AddKey{"/A/x/deep", ""}, AddKey{"/B", ""},
		Set{"/A/x", num(1, 1)}, Set{"/A/x", Property{ID: 2, UserType: UTFile, Value: String("s")}}, Set{"/A/x/deep", num(3, 3)},
		Set{"/B", num(1, 9)}, Set{"/B", secret(7, "pw")}, Set{"/A", text(8, "up")},
	}
	const before = "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n"
	tests := []struct {
		name string
		ops  []Op
		want string // "" for no change
		kind Kind
		text string // in the error
	}{
		{"set replaces whatever the type", []Op{Set{"/a/X", text(1, "t")}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=t/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"set of the same", []Op{Set{"/A/x", num(1, 1)}}, "", "", ""},
		{"set at no key", []Op{Set{"/A/y", num(1, 1)}}, "", NotFound, "/A/y: not found"},
		{"set of nonsense", []Op{Set{"/A", Property{ID: 1}}}, "", Invalid, "/A: property 1: the value has no type"},
		{"a secure item stays secure", []Op{Set{"/B", text(7, "x")}}, "", Invalid, "/B: property 7: is secure and cannot be made plain"},
		{"but not for ever", []Op{Unset{"/B", 7}, Set{"/B", text(7, "x")}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=x/1\n", "", ""},
		{"unset", []Op{Unset{"/A/x", 1}, Unset{"/A/x", 2}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x:\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"unset of what is inherited", []Op{Unset{"/A/x", 8}}, "", NotFound, "/A/x: property 8: not stored here"},
		{"add", []Op{AddKey{"/a/New", "K"}, AddKey{"/A/new/er", ""}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/New: 1002=K/0\n/A/New/er:\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"add twice", []Op{AddKey{"/A/X", ""}}, "", Exists, "/A/X: already exists"},
		{"add without parent", []Op{AddKey{"/A/y/z", ""}}, "", NotFound, "no key /A/y"},
		{"add the root", []Op{AddKey{"/", ""}}, "", Exists, ""},
		{"remove", []Op{Remove{"/A/x/deep", false}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"remove with children", []Op{Remove{"/A/x", false}}, "", InUse, "has keys below it"},
		{"remove all", []Op{Remove{"/A", true}}, "/:\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"remove the root", []Op{Remove{"/", true}}, "", Invalid, "root"},
		{"remove nothing", []Op{Remove{"/C", true}}, "", NotFound, ""},
		{"remove the children", []Op{RemoveChildren{"/A"}}, "/:\n/A: 8=up/1 1002=Top/0\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"remove no children", []Op{RemoveChildren{"/B"}}, "", "", ""},
		{"copy", []Op{Copy{"/A/x", "/B/y", false}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n/B/y: 1=1/1 2=s/0\n/B/y/deep: 3=3/1\n", "", ""},
		{"copy into itself", []Op{Copy{"/A", "/A/copy", false}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/copy: 8=up/1 1002=Top/0\n/A/copy/x: 1=1/1 2=s/0\n/A/copy/x/deep: 3=3/1\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"copy onto", []Op{Copy{"/A/x", "/B", false}}, "", Exists, ""},
		{"copy merges", []Op{Copy{"/A/x", "/B", true}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=1/1 2=s/0 7=pw/4\n/B/deep: 3=3/1\n", "", ""},
		{"copy from nowhere", []Op{Copy{"/C", "/D", false}}, "", NotFound, ""},
		{"copy to nowhere", []Op{Copy{"/A", "/C/D", false}}, "", NotFound, ""},
		{"copy to itself", []Op{Copy{"/A", "/a", true}}, "", Invalid, ""},
		{"move", []Op{Move{"/A/x", "/B/z", false}}, "/:\n/A: 8=up/1 1002=Top/0\n/B: 1=9/1 7=pw/4\n/B/z: 1=1/1 2=s/0\n/B/z/deep: 3=3/1\n", "", ""},
		{"rename", []Op{Move{"/B", "/C", false}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/C: 1=9/1 7=pw/4\n", "", ""},
		{"rename in case only", []Op{Move{"/B", "/b", false}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/b: 1=9/1 7=pw/4\n", "", ""},
		{"rename to the same", []Op{Move{"/B", "/B", false}}, "", "", ""},
		{"rename onto another", []Op{Move{"/A/x/deep", "/B", false}}, "", Exists, ""},
		{"move merges", []Op{Move{"/A/x", "/B", true}}, "/:\n/A: 8=up/1 1002=Top/0\n/B: 1=1/1 2=s/0 7=pw/4\n/B/deep: 3=3/1\n", "", ""},
		{"move below itself", []Op{Move{"/A", "/A/x/a", false}}, "", Invalid, "below itself"},
		{"move onto its parent", []Op{Move{"/A/x", "/A", true}}, "", Invalid, "that holds it"},
		{"move the root", []Op{Move{"/", "/C", false}}, "", Invalid, ""},
		{"clear all", []Op{Clear{Path: "/A"}}, "/:\n/A: 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"clear by user type", []Op{Clear{Path: "/A/x", UserType: UTFile}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"clear by type", []Op{Clear{Path: "/A/x", Type: DWordType}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=9/1 7=pw/4\n", "", ""},
		{"clear what is not there", []Op{Clear{Path: "/A/x", Type: BinaryType}}, "", "", ""},
		{"copy data", []Op{CopyData{From: "/A/x", To: "/B"}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=1/1 2=s/0 7=pw/4\n", "", ""},
		{"copy inherited data", []Op{CopyData{From: "/A/x", To: "/B", Attr: Inherit}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1 2=s/0\n/A/x/deep: 3=3/1\n/B: 1=1/1 7=pw/4 8=up/1\n", "", ""},
		{"move data", []Op{CopyData{From: "/A/x", To: "/B", UserType: UTFile, Move: true}}, "/:\n/A: 8=up/1 1002=Top/0\n/A/x: 1=1/1\n/A/x/deep: 3=3/1\n/B: 1=9/1 2=s/0 7=pw/4\n", "", ""},
		{"copy data to itself", []Op{CopyData{From: "/A", To: "/a"}}, "", Invalid, ""},
		{"not canonical", []Op{Set{"A/x", num(1, 1)}}, "", Invalid, "does not begin with a slash"},
		{"not canonical either", []Op{AddKey{"/A//y", ""}}, "", Invalid, "canonical"},
		{"one bad op spoils all", []Op{Set{"/A", num(1, 1)}, Unset{"/B", 99}, AddKey{"/A/x", ""}}, "", Exists, "/B: property 99: not stored here\n/A/x: already exists"},
		{"too much for one key", []Op{
			Set{"/A", Property{ID: 50, Value: Binary(make([]byte, item.MaxValue))}}, Set{"/A", Property{ID: 51, Value: Binary(make([]byte, item.MaxValue))}},
			Set{"/A", Property{ID: 52, Value: Binary(make([]byte, item.MaxValue))}}, Set{"/A", Property{ID: 53, Value: Binary(make([]byte, item.MaxValue))}},
		}, "", Invalid, "the key would hold"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := kv.NewMem()
			s := open(t, db, Options{})
			rev := apply(t, s, start...)
			if got := dump(s.Snapshot()); got != before {
				t.Fatalf("the start is\n%s", got)
			}
			was := exact(s.Snapshot())
			got, err := s.Apply(t.Context(), Batch{Ops: tt.ops})
			if key.KindOf(err) == "" && tt.kind != "" || tt.kind != "" && !errors.Is(err, tt.kind) || tt.kind == "" && err != nil || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("Apply = %d, %v; want kind %q with %q", got, err, tt.kind, tt.text)
			}
			if tt.want == "" {
				if now := exact(s.Snapshot()); now != was || s.Snapshot().Rev() != rev {
					t.Errorf("at revision %d there is\n%s", s.Snapshot().Rev(), now)
				}
				sound(t, s)
				return
			}
			if now := dump(s.Snapshot()); now != tt.want || got != rev+1 {
				t.Errorf("revision %d is\n%s", got, now)
			}
			sound(t, s)
			now := exact(s.Snapshot())
			// The history leads back to exactly what was.
			if back, err := s.At(t.Context(), rev); err != nil || exact(back) != was {
				t.Errorf("At(%d) = %v\n%s", rev, err, exact(back))
			}
			if zero, err := s.At(t.Context(), 0); err != nil || dump(zero) != "/:\n" {
				t.Errorf("At(0) = %v\n%s", err, dump(zero))
			}
			if _, err := s.Revert(t.Context(), got, Root, Batch{}); err != nil || dump(s.Snapshot()) != before {
				t.Errorf("Revert: %v\n%s", err, dump(s.Snapshot()))
			}
			sound(t, s)
			if again, err := s.At(t.Context(), got); err != nil || exact(again) != now {
				t.Errorf("At(%d) = %v\n%s", got, err, exact(again))
			}
			last := exact(s.Snapshot())
			s.Close()
			if after := exact(open(t, db, Options{}).Snapshot()); after != last {
				t.Errorf("opened again\n%s", after)
			}
		})
	}
}

func TestTouch(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	at := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	rev := s.Snapshot().Rev()
	if got := apply(t, s, Touch{"/LM/SMTPSVC", at}); got != rev+1 {
		t.Errorf("revision %d", got)
	}
	if k, _ := s.Snapshot().Key("/LM/SMTPSVC"); !k.Modified.Equal(at) {
		t.Errorf("last change: %v", k.Modified)
	}
	// A change shows at the key itself, not at the one above.
	apply(t, s, Set{"/LM/SMTPSVC/1", num(1, 1)})
	if k, _ := s.Snapshot().Key("/LM/SMTPSVC"); !k.Modified.Equal(at) {
		t.Errorf("a child's change is told as one of the key's: %v", k.Modified)
	}
	sound(t, s)
}

func TestMoveKeepsRevisions(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	first := apply(t, s, AddKey{"/A", ""}, Set{"/A", num(1, 1)})
	apply(t, s, Move{"/A", "/B", false})
	second := apply(t, s, Copy{"/B", "/C", false})
	b, _ := s.Snapshot().Stored("/B", 1)
	c, _ := s.Snapshot().Stored("/C", 1)
	if b.Rev != first || c.Rev != second {
		t.Errorf("moved: revision %d, want %d; copied: revision %d, want %d", b.Rev, first, c.Rev, second)
	}
	log, err := s.Log(t.Context(), "/A", 0)
	if err != nil || len(log) != 2 || log[0].Changes[0].Kind != KeyMoved || log[0].Changes[0].To != "/B" {
		t.Errorf("Log = %+v, %v", log, err)
	}
}
