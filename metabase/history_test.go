// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/kv"
	"restante/internal/kv/kvtest"
	"restante/internal/seal"
	"restante/metabase/internal/history"
	"restante/metabase/internal/stored"
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

func TestRecord(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := open(t, kv.NewMem(), Options{Now: func() time.Time { return at }})
	site(t, s)
	rev, err := s.Apply(t.Context(), Batch{Actor: boss, Origin: FromLua, Comment: "why", Ops: []Op{
		Set{"/LM/SMTPSVC/1", secret(1, "hidden")}, Set{"/LM", num(2, 7)}, AddKey{"/LM/x", ""}, Remove{"/LM/SMTPSVC/1/Domain", false},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Record(t.Context(), rev)
	if err != nil || got.Rev != rev || !got.Time.Equal(at) || got.Actor != boss || got.Origin != FromLua || got.Comment != "why" {
		t.Errorf("Record = %+v, %v", got, err)
	}
	var lines []string
	for _, c := range got.Changes {
		lines = append(lines, fmt.Sprintf("%s %s %d %v %v", c.Path, c.Kind, c.ID, c.Old, c.New))
	}
	want := []string{
		"/LM property set 2 <nil> 2 (DWORD, INHERIT) = 7",
		"/LM/SMTPSVC/1 property set 1 <nil> 1 (STRING, SECURE) = **********",
		"/LM/SMTPSVC/1/Domain key removed 0 <nil> <nil>",
		"/LM/SMTPSVC/1/Domain property unset 1002 1002 (STRING, NO_ATTRIBUTES) = IIsSmtpDomains <nil>",
		"/LM/x key added 0 <nil> <nil>",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("changes\n%s", strings.Join(lines, "\n"))
	}
	if got.Changes[1].New.Value.Str() != "" {
		t.Error("the history gives a secret away")
	}
	log, err := s.Log(t.Context(), "/lm/smtpsvc", 0)
	if err != nil || len(log) != 2 || log[0].Rev != rev || len(log[0].Changes) != 3 || log[1].Rev != 1 {
		t.Errorf("Log = %+v, %v", log, err)
	}
	if log, _ := s.Log(t.Context(), Root, 1); len(log) != 1 || log[0].Rev != rev {
		t.Errorf("Log of one = %+v", log)
	}
	if diff, err := s.Diff(t.Context(), rev, rev-1); err != nil || len(diff) != 5 {
		t.Errorf("Diff backwards = %+v, %v", diff, err)
	}
	for _, rev := range []Rev{0, rev + 1} {
		if _, err := s.Record(t.Context(), rev); !errors.Is(err, NotFound) {
			t.Errorf("Record(%d): %v", rev, err)
		}
	}
	if _, err := s.At(t.Context(), rev+1); !errors.Is(err, NotFound) {
		t.Errorf("At(%d): %v", rev+1, err)
	}
	if p, _ := s.Snapshot().Stored("/LM", 2); p.Rev != rev {
		t.Errorf("the property says it is of revision %d, want %d", p.Rev, rev)
	}
}

// TestLargeRecord makes a revision whose record needs many parts.
func TestLargeRecord(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	ops := []Op{AddKey{"/D", ""}}
	for i := range 5000 {
		p := Path(fmt.Sprintf("/D/domain%d.test", i))
		ops = append(ops, AddKey{p, "IIsSmtpDomain"}, Set{p, text(36998, strings.Repeat("x", 50))})
	}
	rev := apply(t, s, ops...)
	got, err := s.Record(t.Context(), rev)
	if err != nil || len(got.Changes) != 1+3*5000 {
		t.Errorf("%d changes, %v", len(got.Changes), err)
	}
	sound(t, s)
}

// TestLargeRecordIsDropped checks that no part of one stays behind, nor its head
// longer than something that it stored.
func TestLargeRecordIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kv.NewMem()
		opts := Options{Keep: func(Snapshot) Retention { return Retention{Count: 1} }}
		s := open(t, db, opts)
		ops := []Op{AddKey{"/D", ""}}
		for i := range ID(200) {
			ops = append(ops, Set{"/D", text(i+1, strings.Repeat("x", 4000))})
		}
		large := apply(t, s, ops...)
		apply(t, s, RemoveChildren{"/"}, AddKey{"/E", ""}, Set{"/E", num(1, 1)})
		apply(t, s, Set{"/E", num(2, 1)})
		time.Sleep(2 * keepPause)
		sound(t, s)
		s.Close()
		s = open(t, db, opts)
		time.Sleep(2 * keepPause)
		left := 0
		for pair, err := range db.Scan(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			if bytes.HasPrefix(pair.Key, stored.RevKey(stored.PageKeys, large)) || bytes.HasPrefix(pair.Key, stored.RevKey(stored.PartKeys, large)) || bytes.HasPrefix(pair.Key, stored.RevKey(stored.HeadKeys, large)) {
				left++
			}
		}
		if left != 0 || s.Oldest() != large+1 {
			t.Errorf("%d parts of revision %d are left, the oldest is %d", left, large, s.Oldest())
		}
		if r, err := s.Record(t.Context(), large+1); err != nil || r.Rev != large+1 {
			t.Errorf("of the revision whose property is in place is left %v, %v", r, err)
		}
		s.Close()
	})
}

func TestRevert(t *testing.T) {
	tests := []struct {
		name  string
		first []Op // the revision that is taken back
		then  []Op // what happens after it
		below Path
		want  string   // "" for what there was at the start, and "same" for no change
		said  []string // each conflict
	}{
		{"a set", []Op{Set{"/A", num(1, 2)}}, nil, "/", "", nil},
		{"a set that was put back since", []Op{Set{"/A", num(1, 2)}}, []Op{Set{"/A", num(1, 1)}}, "/", "same", nil},
		{"a set with another on top", []Op{Set{"/A", num(1, 2)}}, []Op{Set{"/A", num(1, 3)}}, "/", "same",
			[]string{"/A: property 1: revision 3 has set it since"}},
		{"a set that was set again after another", []Op{Set{"/A", num(1, 2)}}, []Op{Set{"/A", num(1, 3)}, Set{"/A", num(1, 2)}}, "/", "same",
			[]string{"/A: property 1: revision 4 has set it since"}},
		{"a set that was unset", []Op{Set{"/A", num(1, 2)}}, []Op{Unset{"/A", 1}}, "/", "same",
			[]string{"/A: property 1: was removed since"}},
		{"a set in a key that is gone", []Op{Set{"/A", num(1, 2)}}, []Op{Remove{"/A", true}}, "/", "same", []string{"/A: was removed since"}},
		{"another attribute on top", []Op{Set{"/A", num(1, 2)}}, []Op{Set{"/A", with(num(1, 2), LocalMachineOnly)}}, "/", "same",
			[]string{"/A: property 1: revision 3 has set it since"}},
		{"what others did stays", []Op{Set{"/A", num(1, 2)}}, []Op{Set{"/A", num(9, 9)}, AddKey{"/B", ""}}, "/", "/:\n/A: 1=1/1 9=9/1\n/A/k:\n/B:\n", nil},
		{"an added key", []Op{AddKey{"/N", "K"}, AddKey{"/N/m", ""}}, nil, "/", "", nil},
		{"an added key that is used", []Op{AddKey{"/N", "K"}}, []Op{Set{"/N", num(1, 1)}, AddKey{"/N/m", ""}}, "/", "same",
			[]string{"/N: property 1: revision 3 has set it since", "/N: cannot be removed again: the key m in it is newer or has been changed"}},
		{"an added key that is gone", []Op{AddKey{"/N", "K"}}, []Op{Remove{"/N", false}}, "/", "same", nil},
		{"a removed key", []Op{Remove{"/A", true}}, nil, "/", "", nil},
		{"a removed key that is back", []Op{Remove{"/A", true}}, []Op{AddKey{"/A", ""}}, "/", "same",
			[]string{"/A: was added again since", ""}},
		{"a removed key whose parent is gone", []Op{Remove{"/A/k", true}}, []Op{Remove{"/A", true}}, "/", "same",
			[]string{"/A/k: cannot be put back: there is no key /A any longer", ""}},
		{"a move", []Op{Move{"/A", "/Z", false}}, nil, "/", "", nil},
		{"another spelling", []Op{Move{"/A", "/a", false}}, nil, "/", "", nil},
		{"one part of it", []Op{Set{"/A", num(1, 2)}, Set{"/A/k", num(1, 2)}}, []Op{Set{"/A", num(1, 3)}}, "/a/K", "/:\n/A: 1=3/1\n/A/k:\n", nil},
		{"made secure", []Op{Set{"/A", with(num(1, 2), Secure)}}, nil, "/", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, kv.NewMem(), Options{})
			apply(t, s, AddKey{"/A", ""}, AddKey{"/A/k", ""}, Set{"/A", num(1, 1)})
			want := dump(s.Snapshot())
			rev := apply(t, s, tt.first...)
			for _, op := range tt.then {
				apply(t, s, op)
			}
			if tt.want == "same" {
				want = dump(s.Snapshot())
			} else if tt.want != "" {
				want = tt.want
			}
			made, err := s.Revert(t.Context(), rev, tt.below, Batch{Actor: boss, Origin: FromCLI})
			if (err != nil) != (tt.said != nil) || tt.said != nil && !errors.Is(err, Conflict) {
				t.Fatalf("Revert = %v", err)
			}
			for _, line := range tt.said {
				if !strings.Contains(err.Error(), line) {
					t.Errorf("the conflict %q is not in\n%v", line, err)
				}
			}
			if got := dump(s.Snapshot()); got != want {
				t.Errorf("there is\n%swant\n%s", got, want)
			}
			if h, herr := s.Record(t.Context(), made); err == nil && tt.want != "same" && (herr != nil || h.Reverts != rev || h.Actor != boss) {
				t.Errorf("the record says %+v, %v", h, herr)
			}
			sound(t, s)
		})
	}
}

func TestConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, kv.NewMem(), Options{})
		apply(t, s, AddKey{"/A", ""}, Set{"/A", num(1, 1)}, Set{"/A", num(2, 1)})
		try := func(d time.Duration, ops ...Op) Rev {
			t.Helper()
			rev, err := s.Apply(t.Context(), Batch{Actor: boss, Ops: ops, Confirm: d})
			if err != nil {
				t.Fatal(err)
			}
			return rev
		}
		value := func(id ID) uint32 {
			p, _ := s.Snapshot().Stored("/A", id)
			return p.Value.DWord()
		}

		// Confirmed in time it stays.
		rev := try(5*time.Minute, Set{"/A", num(1, 2)})
		time.Sleep(4 * time.Minute)
		if p := s.Pending(); len(p) != 1 || p[0].Rev != rev || time.Until(p[0].Until) != time.Minute {
			t.Errorf("Pending = %v", p)
		}
		if got, err := s.Confirm(t.Context(), 0); got != rev || err != nil {
			t.Errorf("Confirm = %d, %v", got, err)
		}
		if _, err := s.Confirm(t.Context(), rev); !errors.Is(err, NotFound) {
			t.Errorf("the second Confirm = %v", err)
		}
		time.Sleep(time.Hour)
		if value(1) != 2 || s.Snapshot().Rev() != rev {
			t.Errorf("what was confirmed is taken back: %d at %d", value(1), s.Snapshot().Rev())
		}

		// Not confirmed it goes, in one revision, and what was made on top stays.
		rev = try(5*time.Minute, Set{"/A", num(1, 3)}, Set{"/A", num(2, 3)}, AddKey{"/B", ""})
		apply(t, s, Set{"/A", num(2, 4)}, Set{"/A", num(3, 9)})
		time.Sleep(5*time.Minute - 1)
		if value(1) != 3 {
			t.Error("taken back too early")
		}
		time.Sleep(2 * time.Nanosecond)
		time.Sleep(2 * keepPause)
		if value(1) != 2 || value(2) != 4 || value(3) != 9 || s.Snapshot().Has("/B") || s.Snapshot().Rev() != rev+2 {
			t.Errorf("taken back: %d %d %d at %d\n%s", value(1), value(2), value(3), s.Snapshot().Rev(), dump(s.Snapshot()))
		}
		h, err := s.Record(t.Context(), rev+2)
		want := fmt.Sprintf("revision %d was not confirmed in time and is taken back", rev)
		if err != nil || h.Reverts != rev || h.Comment != want || h.Origin != FromSystem || h.Actor != "" ||
			!slices.Equal(h.Kept, []string{fmt.Sprintf("/A: property 2: revision %d has set it since", rev+1)}) {
			t.Errorf("the record says %+v, %v", h, err)
		}
		if h, _ := s.Record(t.Context(), rev); h.Until.IsZero() || h.Until.Sub(h.Time) != 5*time.Minute {
			t.Errorf("the record of the batch says %+v", h)
		}

		// With nothing left to take back there still is a revision that says so.
		rev = try(time.Minute, Set{"/A", num(1, 5)})
		apply(t, s, Set{"/A", num(1, 6)})
		time.Sleep(2 * time.Minute)
		time.Sleep(2 * keepPause)
		if h, err := s.Record(t.Context(), rev+2); err != nil || len(h.Kept) != 1 || len(h.Changes) != 0 || value(1) != 6 {
			t.Errorf("the record says %+v, %v", h, err)
		}

		// A revision that was reverted needs no confirmation.
		rev = try(time.Minute, Set{"/A", num(1, 7)})
		if _, err := s.Revert(t.Context(), rev, Root, Batch{}); err != nil {
			t.Fatal(err)
		}
		if p := s.Pending(); len(p) != 0 {
			t.Errorf("Pending = %v", p)
		}

		// Two at once are taken back the newest first.
		try(time.Minute, Set{"/A", num(1, 10)})
		try(time.Minute, Set{"/A", num(1, 11)})
		time.Sleep(2 * time.Minute)
		time.Sleep(2 * keepPause)
		if value(1) != 6 {
			t.Errorf("after two: %d", value(1))
		}

		// A batch that changes nothing has nothing to confirm.
		try(time.Minute, Set{"/A", num(1, 6)})
		if p := s.Pending(); len(p) != 0 {
			t.Errorf("Pending = %v", p)
		}
		sound(t, s)
		s.Close()
	})
}

// TestConfirmAcrossRestart lets the service die before the time is up.
func TestConfirmAcrossRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kv.NewMem()
		s := open(t, db, Options{})
		apply(t, s, AddKey{"/A", ""}, Set{"/A", secret(1, "old")})
		rev, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/A", secret(1, "new")}}, Confirm: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()

		// Back before the time is up: it goes on waiting.
		time.Sleep(30 * time.Minute)
		s = open(t, db, Options{})
		if p := s.Pending(); len(p) != 1 || p[0].Rev != rev || s.Snapshot().Rev() != rev {
			t.Errorf("Pending = %v at %d", p, s.Snapshot().Rev())
		}
		s.Close()

		// Back after it: it is taken back before Open returns.
		time.Sleep(2 * time.Hour)
		s = open(t, db, Options{})
		if p, _ := s.Snapshot().Stored("/A", 1); p.Value.Str() != "old" || s.Snapshot().Rev() != rev+1 || len(s.Pending()) != 0 {
			t.Errorf("after the time: revision %d", s.Snapshot().Rev())
		}
		sound(t, s)
		s.Close()
	})
}

// TestTakeBackFails lets the disk refuse when the time is up, and later not.
func TestTakeBackFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := kvtest.NewFault(kv.NewMem())
		s := open(t, f, Options{})
		apply(t, s, AddKey{"/A", ""})
		if _, err := s.Apply(t.Context(), Batch{Ops: []Op{AddKey{"/B", ""}}, Confirm: time.Minute}); err != nil {
			t.Fatal(err)
		}
		f.FailFrom(1)
		time.Sleep(time.Minute + time.Second)
		time.Sleep(2 * keepPause)
		if !s.Snapshot().Has("/B") {
			t.Error("taken back without the disk")
		}
		f.Heal()
		time.Sleep(time.Minute)
		time.Sleep(2 * keepPause)
		if s.Snapshot().Has("/B") || len(s.Pending()) != 0 {
			t.Error("not taken back when the disk was there again")
		}
		sound(t, s)
		s.Close()
	})
}

// TestTakeBackRefused lets a check refuse what would be left.
func TestTakeBackRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		need := func(c Change) []Problem {
			if c.New.Has("/B") && !c.New.Has("/A") {
				return []Problem{{Path: "/B", Err: key.Errorf(Invalid, "needs /A")}}
			}
			return nil
		}
		s := open(t, kv.NewMem(), Options{Checks: []Check{need}})
		rev, err := s.Apply(t.Context(), Batch{Ops: []Op{AddKey{"/A", ""}}, Confirm: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, AddKey{"/B", ""})
		time.Sleep(2 * time.Minute)
		time.Sleep(2 * keepPause)
		h, err := s.Record(t.Context(), rev+2)
		if err != nil || !slices.Equal(h.Kept, []string{"/B: needs /A"}) || !s.Snapshot().Has("/A") || len(s.Pending()) != 0 {
			t.Errorf("the record says %+v, %v", h, err)
		}
		sound(t, s)
		s.Close()
	})
}

// TestTakenBackInTime checks that a short time is kept, although the janitor makes
// a pause before it sees to commits.
func TestTakenBackInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, kv.NewMem(), Options{})
		defer s.Close()
		apply(t, s, AddKey{"/A", ""})
		time.Sleep(time.Second)
		rev, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/A", num(1, 1)}}, Confirm: keepPause / 5})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepPause / 4)
		if _, stored := s.Snapshot().Stored("/A", 1); stored || s.Snapshot().Rev() != rev+1 {
			t.Errorf("at revision %d, not taken back", s.Snapshot().Rev())
		}
	})
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keep atomic.Pointer[Retention]
		keep.Store(&Retention{Count: 10})
		s := open(t, kv.NewMem(), Options{Keep: func(Snapshot) Retention { return *keep.Load() }})
		apply(t, s, AddKey{"/A", ""})
		for i := range 50 {
			apply(t, s, Set{"/A", num(1, uint32(i))})
		}
		time.Sleep(2 * keepPause)
		log, err := s.Log(t.Context(), Root, 0)
		if err != nil || len(log) != 10 || s.Oldest() != 41 {
			t.Errorf("%d records from %d, %v", len(log), s.Oldest(), err)
		}
		if _, err := s.At(t.Context(), 40); !errors.Is(err, NotFound) || !strings.Contains(fmt.Sprint(err), "no longer kept") {
			t.Errorf("At(40) = %v", err)
		}
		if back, err := s.At(t.Context(), 41); err != nil {
			t.Error(err)
		} else if p, _ := back.Stored("/A", 1); p.Value.DWord() != 39 {
			t.Errorf("At(41) has %v", p)
		}
		// What waits to be confirmed is kept, and what is newer with it.
		rev, _ := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/A", num(2, 1)}}, Confirm: 48 * time.Hour})
		for i := range 50 {
			apply(t, s, Set{"/A", num(1, uint32(i))})
		}
		time.Sleep(2 * keepPause)
		if s.Oldest() != rev-1 {
			t.Errorf("the oldest is %d, want %d", s.Oldest(), rev-1)
		}
		// By age, without a commit.
		if _, err := s.Confirm(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
		keep.Store(&Retention{Age: time.Hour})
		time.Sleep(3 * time.Hour)
		time.Sleep(2 * keepPause)
		if log, _ := s.Log(t.Context(), Root, 0); len(log) != 0 {
			t.Errorf("%d records after an hour", len(log))
		}
		sound(t, s)
		s.Close()
	})
}

// TestProvenance checks that who stored a value can be told when the history has
// forgotten what else happened then.
func TestProvenance(t *testing.T) {
	db := kv.NewMem()
	opts := Options{Keep: func(Snapshot) Retention { return Retention{Count: 2} }}
	s := open(t, db, opts)
	rev, err := s.Apply(t.Context(), Batch{Actor: boss, Comment: "long ago", Ops: []Op{AddKey{"/A", ""}, Set{"/A", num(1, 1)}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		apply(t, s, Set{"/A", num(2, uint32(i))})
	}
	s.janitor.stop() // from here on it is us
	if err := s.compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, _ := s.Snapshot().Stored("/A", 1)
	if h, err := s.Record(t.Context(), p.Rev); err != nil || p.Rev != rev || h.Rev != rev || h.Actor != boss || h.Comment != "long ago" || h.Changes != nil {
		t.Errorf("Record(%d) = %+v, %v", p.Rev, h, err)
	}
	if _, err := s.Record(t.Context(), rev+1); !errors.Is(err, NotFound) {
		t.Errorf("a revision of which nothing is left: %v", err)
	}
	apply(t, s, Unset{"/A", 1})
	sound(t, s)
	s.Close()
	again := open(t, db, opts)
	if _, err := again.Record(t.Context(), rev); !errors.Is(err, NotFound) {
		t.Errorf("a head that nobody needs is kept: %v", err)
	}
	sound(t, again)
}

// TestCompactionFails breaks the disk at each step of it.
func TestCompactionFails(t *testing.T) {
	for n := 1; ; n++ {
		mem := kv.NewMem()
		f := kvtest.NewFault(mem)
		s := open(t, f, Options{})
		for i := range 5 {
			apply(t, s, Set{Root, num(ID(1+i%4), uint32(i))})
		}
		s.janitor.stop() // from here on it is us
		s.opts.Keep = func(Snapshot) Retention { return Retention{Count: 2} }
		f.FailOnce(n)
		err := s.compact(context.Background())
		f.Heal()
		sound(t, s)
		if err == nil {
			if n < 3 || s.Oldest() != 3 {
				t.Errorf("%d steps, the oldest is %d", n, s.Oldest())
			}
			return
		}
		if !errors.Is(err, kvtest.ErrFault) {
			t.Error(err)
		}
		if err := s.compact(context.Background()); err != nil || s.Oldest() != 3 {
			t.Errorf("step %d: again: %v, the oldest is %d", n, err, s.Oldest())
		}
		s.Close()
		again := open(t, mem, Options{})
		if again.Oldest() != 3 {
			t.Errorf("step %d: opened again, the oldest is %d", n, again.Oldest())
		}
		sound(t, again)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	machine := seal.New()
	p := secret(7, "pw").Marked()
	q := num(1, 2)
	h := &history.Entry{
		Record: Record{Rev: 3, Time: time.Unix(1, 2), Actor: boss, Origin: FromCLI, Comment: "c", Kept: []string{"k"}, Until: time.Unix(9, 9)},
		Moves:  []tree.Move{{From: "/A", To: "/B"}},
		Deltas: []tree.KeyDelta{{Path: "/A/b", OldName: "b", NewName: "b", OldModified: 1, NewModified: 2, Props: []tree.PropertyDelta{{ID: 7, New: &p}, {ID: 1, Old: &q}}}},
	}
	raw := h.Encode(machine)
	f.Add(raw)
	f.Add(raw[:len(raw)-3])
	f.Add([]byte{stored.EntryForm, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := history.Decode(raw, machine)
		if err != nil {
			if key.KindOf(err) != Damaged {
				t.Errorf("%v is not of kind Damaged", err)
			}
			return
		}
		again, err := history.Decode(h.Encode(machine), machine)
		if err != nil {
			t.Fatalf("what was read does not read again: %v", err)
		}
		if a, b := fmt.Sprint(h.Below(Root)), fmt.Sprint(again.Below(Root)); a != b {
			t.Errorf("%s reads again as %s", a, b)
		}
		tree.Undo(&tree.Node{}, h.Deltas) // whatever it says, it ends
	})
}
