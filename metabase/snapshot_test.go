// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/kv"
	"restante/metabase/key"
)

func TestEffective(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	apply(t, s, AddKey{"/LM/SMTPSVC/1/Domain/a.test", "IIsSmtpDomain"},
		Set{"/", num(1, 10)},
		Set{"/LM", num(2, 20)}, Set{"/LM", num(3, 30)}, Set{"/LM", num(4, 40)},
		Set{"/LM/SMTPSVC", num(3, 33)}, Set{"/LM/SMTPSVC", without(num(4, 44), Inherit)},
		Set{"/LM/SMTPSVC/1/Domain/a.test", without(num(5, 50), Inherit)},
		Set{"/LM", Property{ID: KeyType, Attr: Inherit, Value: String("IIsTop")}})
	const leaf = "/lm/smtpsvc/1/domain/A.test"
	tests := []struct {
		p    Path
		id   ID
		want uint32
		from Path
		ok   bool
	}{
		{leaf, 1, 10, "/", true},
		{leaf, 2, 20, "/lm", true}, // spelled as asked
		{leaf, 3, 33, "/lm/smtpsvc", true},
		{leaf, 4, 0, "", false}, // the nearest is not inheritable, and hides the one above
		{"/LM/SMTPSVC", 4, 44, "/LM/SMTPSVC", true},
		{"/LM", 4, 40, "/LM", true},
		{leaf, 5, 50, leaf, true}, // on the key itself attributes don't matter
		{leaf, 6, 0, "", false},
		{"/", 1, 10, "/", true},
		{"/", 2, 0, "", false},
		{"/LM/nowhere", 1, 0, "", false}, // no such key
		{"/LM/SMTPSVC/1", KeyType, 0, "/LM/SMTPSVC/1", true},
		{"/LM/SMTPSVC/1/Domain", 7, 0, "", false},
	}
	snap := s.Snapshot()
	for _, tt := range tests {
		p, from, ok := snap.Effective(tt.p, tt.id)
		if p.Value.DWord() != tt.want || from != tt.from || ok != tt.ok {
			t.Errorf("Effective(%s, %d) = %v, %q, %v; want %d, %q, %v", tt.p, tt.id, p, from, ok, tt.want, tt.from, tt.ok)
		}
	}
	// A key without a class does not inherit one.
	apply(t, s, AddKey{"/LM/plain", ""})
	if p, _, ok := s.Snapshot().Effective("/LM/plain", KeyType); ok {
		t.Errorf("a class is inherited: %v", p)
	}
	if p, from, ok := snap.EffectivePartial("/LM/SMTPSVC/9/Domain/x", 3); p.Value.DWord() != 33 || from != "/LM/SMTPSVC" || !ok {
		t.Errorf("EffectivePartial = %v, %q, %v", p, from, ok)
	}
	// The deepest key that exists stands for the one asked: its own item counts whatever its attributes.
	if p, _, ok := snap.EffectivePartial("/LM/SMTPSVC/9", 4); p.Value.DWord() != 44 || !ok {
		t.Errorf("EffectivePartial of an item that is not inheritable = %v, %v", p, ok)
	}
	if _, ok := snap.Stored(leaf, 3); ok {
		t.Error("Stored gives what is inherited")
	}
	var none Snapshot
	if _, _, ok := none.Effective("/", 1); ok || none.Has("/") || none.Rev() != 0 || none.Properties("/") != nil {
		t.Error("the zero Snapshot holds something")
	}
}

func TestLists(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	apply(t, s, AddKey{"/LM/SMTPSVC/10", ""}, AddKey{"/LM/SMTPSVC/2", ""}, AddKey{"/LM/SMTPSVC/User", ""}, AddKey{"/LM/SMTPSVC/beta", ""},
		Set{"/LM", num(1, 1)}, Set{"/LM/SMTPSVC/2", num(1, 2)}, Set{"/LM/SMTPSVC", without(num(9, 1), Inherit)},
		Set{"/LM/SMTPSVC/2", num(3, 1)}, Set{"/LM/SMTPSVC/2", num(2, 1)})
	snap := s.Snapshot()
	if got := slices.Collect(snap.Children("/lm/smtpsvc")); !slices.Equal(got, []string{"1", "2", "10", "beta", "User"}) {
		t.Errorf("Children = %q", got)
	}
	if got := slices.Sorted(snap.Names("/LM/SMTPSVC")); !slices.Equal(got, []string{"1", "10", "2", "User", "beta"}) {
		t.Errorf("Names = %q", got)
	}
	if got := slices.Collect(snap.Walk("/lm/smtpsvc/1")); !slices.Equal(got, []Path{"/LM/SMTPSVC/1", "/LM/SMTPSVC/1/Domain"}) {
		t.Errorf("Walk = %q", got)
	}
	if got := snap.DataPaths("/", 1); !slices.Equal(got, []Path{"/LM", "/LM/SMTPSVC/2"}) {
		t.Errorf("DataPaths = %q", got)
	}
	var ids []ID
	for _, p := range snap.Properties("/LM/SMTPSVC/2") {
		ids = append(ids, p.ID)
	}
	if !slices.Equal(ids, []ID{1, 2, 3}) {
		t.Errorf("Properties = %v", ids)
	}
	var lines []string
	for _, l := range snap.AllProperties("/lm/smtpsvc/10") {
		lines = append(lines, string(l.From)+" "+l.Property.String())
	}
	if want := []string{"/LM 1 (DWORD, INHERIT | ISINHERITED) = 1"}; !slices.Equal(lines, want) {
		t.Errorf("AllProperties = %q, want %q", lines, want)
	}
	k, ok := snap.Key("/lm/smtpsvc/1")
	if !ok || k.Path != "/LM/SMTPSVC/1" || k.Class != "IIsSmtpServer" || k.Children != 1 || time.Since(k.Modified) > time.Hour {
		t.Errorf("Key = %+v, %v", k, ok)
	}
	if snap.DataSet("/LM/SMTPSVC/10") != snap.DataSet("/LM/SMTPSVC/beta") || snap.DataSet("/LM/SMTPSVC/10") == snap.DataSet("/LM/SMTPSVC/2") ||
		snap.DataSet("/nowhere") != 0 {
		t.Error("data set numbers do not follow the data")
	}
}

func TestVolatile(t *testing.T) {
	db := kv.NewMem()
	s := open(t, db, Options{})
	site(t, s)
	rev := s.Snapshot().Rev()
	w := s.Watch("/LM/SMTPSVC/1")
	if err := s.SetVolatile("/lm/smtpsvc/1", num(1016, 2), num(5, 7)); err != nil {
		t.Fatal(err)
	}
	noted(t, w, true)
	snap := s.Snapshot()
	p, ok := snap.Stored("/LM/SMTPSVC/1", 1016)
	if !ok || p.Value.DWord() != 2 || p.Attr&Volatile == 0 || snap.Rev() != rev {
		t.Errorf("volatile: %v, %v at %d", p, ok, snap.Rev())
	}
	if p, from, ok := snap.Effective("/LM/SMTPSVC/1/Domain", 5); !ok || p.Value.DWord() != 7 || from != "/LM/SMTPSVC/1" {
		t.Errorf("a volatile property is not inherited: %v, %q, %v", p, from, ok)
	}
	if n := len(snap.Properties("/LM/SMTPSVC/1")); n != 3 {
		t.Errorf("%d properties, want the class and the two", n)
	}
	if got := apply(t, s, Set{"/LM/SMTPSVC/1", num(9, 9)}); got != rev+1 {
		t.Errorf("revision %d", got)
	}
	if p, _ := s.Snapshot().Stored("/LM/SMTPSVC/1", 1016); p.Value.DWord() != 2 {
		t.Errorf("after a commit the volatile property is %v", p)
	}
	if err := s.SetVolatile("/LM/SMTPSVC/1", Property{ID: 5}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Snapshot().Stored("/LM/SMTPSVC/1", 5); ok {
		t.Error("a volatile property that was dropped is there")
	}
	if err := s.SetVolatile("/LM/nowhere", num(1, 1)); key.KindOf(err) != NotFound {
		t.Errorf("volatile at no key: %v", err)
	}
	// A key that comes again does not bring the old one's back.
	s.SetVolatile("/LM/SMTPSVC/1/Domain", num(5, 1))
	apply(t, s, Remove{"/LM/SMTPSVC/1/Domain", false})
	apply(t, s, AddKey{"/LM/SMTPSVC/1/Domain", ""})
	if _, ok := s.Snapshot().Stored("/LM/SMTPSVC/1/Domain", 5); ok {
		t.Error("a volatile property outlives its key")
	}
	s.SetVolatile("/LM/SMTPSVC/1", num(5, 1))
	sound(t, s)
	s.Close()
	again := open(t, db, Options{})
	if _, ok := again.Snapshot().Stored("/LM/SMTPSVC/1", 5); ok {
		t.Error("a volatile property is on the disk")
	}
}

// No batch sets or removes a volatile property, not even the system's: it would have no
// checks of the change, no lock and no history.
func TestVolatileInABatch(t *testing.T) {
	const at = Path("/LM/SMTPSVC/1")
	acted := false
	s := open(t, kv.NewMem(), Options{Admins: []Principal{"user:root"}, Acts: map[ID]Act{8: func(context.Context, Path, Value) error { acted = true; return nil }}})
	site(t, s)
	apply(t, s, Set{at, num(5, 1)})
	if err := s.SetVolatile(at, num(1016, 2)); err != nil {
		t.Fatal(err)
	}
	for _, op := range []Op{
		Set{at, with(num(7, 7), Volatile)},
		Set{at, with(num(5, 7), Volatile)},            // stored
		Set{at, with(num(1016, 4), Volatile)},         // volatile already
		Set{at, with(num(8, 1), Volatile)},            // acts
		Set{at, with(text(7, "x"), Volatile|Inherit)}, // of another type
		SetBits{at, with(num(7, 7), Volatile), 1},     // and by bits
		Unset{at, 1016},
	} {
		for _, who := range []Principal{"", "user:root"} {
			_, err := s.Apply(t.Context(), Batch{Ops: []Op{op}, Actor: who})
			if key.KindOf(err) != Invalid || !strings.Contains(err.Error(), "is VOLATILE, and so is set by the service alone") {
				t.Errorf("%T of %q: %v", op, who, err)
			}
		}
	}
	snap := s.Snapshot()
	if _, ok := snap.Stored(at, 7); ok || acted {
		t.Errorf("set: %v, acted: %v", ok, acted)
	}
	if p, _ := snap.Stored(at, 1016); p.Value.DWord() != 2 {
		t.Errorf("the service's own is %v", p)
	}
	if p, _ := snap.Stored(at, 5); p.Value.DWord() != 1 || p.Attr&Volatile != 0 {
		t.Errorf("the stored one is %v", p)
	}
}

// Of what is stored and what is volatile the nearer one holds; at the same key
// the volatile one.
func TestVolatileNearest(t *testing.T) {
	keys := []Path{Root, "/a", "/a/b"}
	for i, stored := range keys {
		for j, volatile := range keys {
			s := open(t, kv.NewMem(), Options{})
			apply(t, s, AddKey{"/a", ""}, AddKey{"/a/b", ""}, Set{stored, num(5, 1)})
			if err := s.SetVolatile(volatile, num(5, 2)); err != nil {
				t.Fatal(err)
			}
			want, at := uint32(2), volatile
			if i > j {
				want, at = 1, stored
			}
			for _, read := range []func() (Property, Path, bool){
				func() (Property, Path, bool) { return s.Snapshot().Effective("/a/b", 5) },
				func() (Property, Path, bool) { return s.Snapshot().EffectivePartial("/a/b/c", 5) },
			} {
				if p, from, ok := read(); !ok || p.Value.DWord() != want || from != at {
					t.Errorf("stored at %s, volatile at %s: %d from %q, %v", stored, volatile, p.Value.DWord(), from, ok)
				}
			}
		}
	}
}

func noted(t *testing.T, w *Watch, want bool) {
	t.Helper()
	select {
	case <-w.C():
		if !want {
			t.Error("a note that was not due")
		}
	default:
		if want {
			t.Error("a note is missing")
		}
	}
}

func TestWatch(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	one, two, gone := s.Watch("/LM/SMTPSVC/1"), s.Watch("/LM/SMTPSVC/2"), s.Watch("/")
	gone.Close()
	gone.Close()
	for range 3 { // one note, however much happens
		apply(t, s, Set{"/lm/smtpsvc/1/domain", num(1, uint32(s.Snapshot().Rev()))})
	}
	noted(t, one, true)
	noted(t, one, false)
	noted(t, two, false)
	noted(t, gone, false)
	apply(t, s, Set{"/LM", num(1, 1)}) // both inherit it
	noted(t, one, true)
	noted(t, two, true)
	if _, err := s.Apply(t.Context(), Batch{Ops: []Op{Unset{"/LM/SMTPSVC/1", 77}}}); err == nil {
		t.Error("unset of nothing")
	}
	apply(t, s, Set{"/LM", num(1, 1)})
	noted(t, one, false) // nothing changed
	apply(t, s, Remove{"/LM/SMTPSVC", true})
	noted(t, one, true)
}
