// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/internal/kv"
	"restante/metabase/key"
)

// TestUnconfirmed tries what others may do on top of a change that waits to be
// confirmed. Each step is a batch, its time to be confirmed (0: none), or another
// call; want is the tree after all deadlines, and kept what the records of what was
// taken back say is kept.
func TestUnconfirmed(t *testing.T) {
	type step struct {
		wait time.Duration // > 0: the batch is to be confirmed in this time
		ops  []Op
		call func(t *testing.T, s *Store) error
		bad  string // part of the error
	}
	pend := func(seconds int, ops ...Op) step { return step{wait: time.Duration(seconds) * time.Second, ops: ops} }
	plain := func(ops ...Op) step { return step{ops: ops} }
	refused := func(why string, s step) step { s.bad = why; return s }
	pass := func(seconds int) step {
		return step{call: func(*testing.T, *Store) error {
			time.Sleep(time.Duration(seconds)*time.Second + 2*keepPause)
			return nil
		}}
	}
	confirm := func(rev Rev) step {
		return step{call: func(t *testing.T, s *Store) error { _, err := s.Confirm(t.Context(), rev); return err }}
	}
	revert := func(rev Rev, below Path) step {
		return step{call: func(t *testing.T, s *Store) error {
			_, err := s.Revert(t.Context(), rev, below, Batch{})
			return err
		}}
	}
	has := func(path string, want bool) step {
		return step{call: func(t *testing.T, s *Store) error {
			if got := strings.Contains(dump(s.Snapshot()), path); got != want {
				return fmt.Errorf("%q is there: %v\n%s", path, got, dump(s.Snapshot()))
			}
			return nil
		}}
	}
	// Revision 1 makes this.
	begin := []Op{AddKey{"/A", "C"}, Set{"/A", num(1, 15)}, AddKey{"/A/Sub", ""}, Set{"/A/Sub", num(2, 2)}, AddKey{"/B", ""}}
	const was = "/:\n/A: 1=15/1 1002=C/0\n/A/Sub: 2=2/1\n/B:\n"
	domain := []Op{AddKey{"/B/dom", "Domain"}, Set{"/B/dom", num(7, 1)}, AddKey{"/B/dom/deep", ""}}
	tests := []struct {
		name  string
		steps []step
		want  string
		kept  []string
	}{
		{"two values, the lower ends first", []step{pend(4, Set{"/A", num(1, 20)}), pend(8, Set{"/A", num(1, 30)})}, was,
			[]string{"/A: property 1: revision 3, which waits to be confirmed, has set it since"}},
		{"the lower ends first, and the upper stays till its time", []step{
			pend(4, Set{"/A", num(1, 20)}), pend(8, Set{"/A", num(1, 30)}), pass(5), has("1=30", true), pass(5), has("1=15", true)}, was,
			[]string{"/A: property 1: revision 3, which waits to be confirmed, has set it since"}},
		{"the upper ends first, and uncovers the lower", []step{
			pend(8, Set{"/A", num(1, 20)}), pend(4, Set{"/A", num(1, 30)}), pass(5), has("1=20", true)}, was, nil},
		{"three values, the lowest ends first, the highest next", []step{
			pend(4, Set{"/A", num(1, 20)}), pend(12, Set{"/A", num(1, 30)}), pend(8, Set{"/A", num(1, 40)}),
			pass(5), has("1=40", true), pass(4), has("1=30", true), pass(4), has("1=15", true)}, was,
			[]string{"/A: property 1: revision 3, which waits to be confirmed, has set it since"}},
		{"the lower is confirmed", []step{pend(4, Set{"/A", num(1, 20)}), pend(8, Set{"/A", num(1, 30)}), confirm(2)},
			strings.Replace(was, "1=15", "1=20", 1), nil},
		{"the upper is confirmed", []step{pend(4, Set{"/A", num(1, 20)}), pend(8, Set{"/A", num(1, 30)}), confirm(3)},
			strings.Replace(was, "1=15", "1=30", 1), []string{"/A: property 1: revision 3 has set it since"}},
		{"the lower is confirmed after the upper has ended", []step{
			pend(9, Set{"/A", num(1, 20)}), pend(4, Set{"/A", num(1, 30)}), pass(5), confirm(2)}, strings.Replace(was, "1=15", "1=20", 1), nil},
		{"set again as it is", []step{pend(4, Set{"/A", num(1, 20)}), plain(Set{"/A", num(1, 20)})},
			strings.Replace(was, "1=15", "1=20", 1), []string{"/A: property 1: revision 3 has set it since"}},
		{"set again as it is, for a time", []step{pend(4, Set{"/A", num(1, 20)}), pend(8, Set{"/A", num(1, 20)}), pass(5), has("1=20", true)}, was,
			[]string{"/A: property 1: revision 3, which waits to be confirmed, has set it since"}},
		{"copied over as it is", []step{pend(4, Set{"/A", num(1, 20)}), plain(AddKey{"/C", ""}, Set{"/C", num(1, 20)}, Copy{"/C", "/A", true})},
			strings.Replace(was, "1=15", "1=20", 1) + "/C: 1=20/1\n", []string{"/A: property 1: revision 3 has set it since"}},
		{"locked", []step{pend(4, Set{"/A", num(1, 20)}), plain(Lock{"/A", 1, false})},
			strings.Replace(was, "1=15/1", "1=20/65537", 1), []string{"/A: property 1: revision 3 has set it since"}},
		{"locked again", []step{pend(4, Lock{"/A", 1, false}), plain(Lock{"/A", 1, false})},
			strings.Replace(was, "1=15/1", "1=15/65537", 1), []string{"/A: property 1: revision 3 has set it since"}},
		{"unset for a time, then set and unset", []step{
			pend(4, Unset{"/A", 1}), plain(Set{"/A", num(1, 1)}), plain(Unset{"/A", 1})},
			strings.Replace(was, " 1=15/1", "", 1), []string{"/A: property 1: revision 3 has set it since"}},

		{"a key with relay, and another property of it", []step{pend(4, domain...), plain(Set{"/B/dom", num(8, 1)})},
			was + "/B/dom: 8=1/1 1002=Domain/0\n", []string{"/B/dom: revision 3 has changed it or something in it since"}},
		{"the same, both for a time", []step{
			pend(4, domain...), pend(8, Set{"/B/dom", num(8, 1)}), pass(5), has("/B/dom: 8=1/1 1002=Domain/0", true), has("deep", false)}, was,
			[]string{"/B/dom: revision 3, which waits to be confirmed, has changed it or something in it since"}},
		{"the same, the upper confirmed", []step{pend(4, domain...), pend(8, Set{"/B/dom", num(8, 1)}), confirm(3)},
			was + "/B/dom: 8=1/1 1002=Domain/0\n", []string{"/B/dom: revision 3 has changed it or something in it since"}},
		{"the same, the lower confirmed", []step{pend(4, domain...), pend(8, Set{"/B/dom", num(8, 1)}), confirm(2)},
			was + "/B/dom: 7=1/1 1002=Domain/0\n/B/dom/deep:\n", nil},
		{"the lower reverted", []step{pend(4, domain...), pend(8, Set{"/B/dom", num(8, 1)}),
			refused("revision 3, which waits to be confirmed, has", step{call: revert(2, Root).call}), revert(3, Root), revert(2, Root)}, was, nil},
		{"a key below a key that is not confirmed", []step{pend(4, domain...), plain(AddKey{"/B/dom/deep/er", ""})},
			was + "/B/dom: 1002=Domain/0\n/B/dom/deep:\n/B/dom/deep/er:\n",
			[]string{"/B/dom: revision 3 has changed it or something in it since", "/B/dom/deep: revision 3 has changed it or something in it since"}},
		{"a key removed for a time, and made again", []step{pend(4, Remove{"/A", true}), plain(AddKey{"/A", "D"}, Set{"/A", num(3, 3)})},
			"/:\n/A: 1=15/1 3=3/1 1002=D/0\n/A/Sub: 2=2/1\n/B:\n",
			[]string{"/A: revision 3 has changed it or something in it since", "/A: property 1002: revision 3 has set it since"}},
		{"what is above removed for good", []step{pend(4, Remove{"/A/Sub", true}), plain(Remove{"/A", true})}, "/:\n/B:\n",
			[]string{"/A/Sub: revision 3 has changed it or something in it since", "/A/Sub: property 2: revision 3 has set it since"}},
		{"what is above removed for a time", []step{pend(4, Remove{"/A/Sub", true}), pend(8, Remove{"/A", true}), pass(5), has("/A", false)}, was,
			[]string{"/A/Sub: property 2: revision 3, which waits to be confirmed, has set it since",
				"/A/Sub: revision 3, which waits to be confirmed, has changed it or something in it since"}},
		{"a value below, then removed for a time, confirmed", []step{pend(8, Set{"/A", num(1, 20)}), pend(4, Remove{"/A", true}), confirm(3)}, "/:\n/B:\n",
			[]string{"/A: property 1: revision 3 has set it since"}},
		{"a value below, then removed for a time", []step{pend(8, Set{"/A", num(1, 20)}), pend(4, Remove{"/A", true}), pass(5), has("1=20", true)}, was, nil},

		{"a move", []step{pend(4, Move{"/A", "/B/M", false}), has("/B/M/Sub", true)}, was, nil},
		{"a move, with what others set and made in it", []step{
			pend(4, Move{"/A", "/B/M", false}), plain(Set{"/B/M", num(1, 99)}, AddKey{"/B/M/new", ""}), pend(8, Set{"/B/M/Sub", num(2, 7)}), pass(5), has("/A/Sub: 2=7", true)},
			"/:\n/A: 1=99/1 1002=C/0\n/A/new:\n/A/Sub: 2=2/1\n/B:\n", nil},
		{"a move that also changes", []step{pend(4, AddKey{"/N", ""}, Set{"/A", num(1, 1)}, Move{"/A", "/N/M", false}, Set{"/N/M", num(5, 5)}, AddKey{"/A", ""})}, was, nil},
		{"a move, confirmed", []step{pend(4, Move{"/A", "/B/M", false}), confirm(2)}, "/:\n/B:\n/B/M: 1=15/1 1002=C/0\n/B/M/Sub: 2=2/1\n", nil},
		{"what is needed to take a move back", []step{pend(4, Move{"/A", "/B/M", false}),
			refused("revert revision 2 first", plain(AddKey{"/A", ""})),
			refused("revert revision 2 first", plain(Remove{"/B", true})),
			refused("revert revision 2 first", plain(Move{"/B/M", "/C", false})),
			refused("revert revision 2 first", pend(9, Remove{"/B/M", true})),
		}, was, nil},
		{"a value goes with a move", []step{pend(4, Set{"/A", num(1, 20)}), plain(Move{"/A", "/B/M", false})},
			"/:\n/B:\n/B/M: 1=15/1 1002=C/0\n/B/M/Sub: 2=2/1\n", nil},
		{"a value goes with a move to a key that is not confirmed", []step{
			pend(4, domain...), pend(8, Set{"/A", num(1, 20)}), plain(Move{"/A", "/B/dom/M", false}), pass(5), has("/B/dom/M: 1=20", true)},
			"/:\n/B:\n/B/dom: 1002=Domain/0\n/B/dom/M: 1=15/1 1002=C/0\n/B/dom/M/Sub: 2=2/1\n",
			[]string{"/B/dom: revision 4 has changed it or something in it since"}},
		{"a key goes with a move", []step{pend(4, domain...), plain(Move{"/B/dom", "/C", false})}, was, nil},
		{"a key that is not confirmed is moved for a time", []step{pend(4, domain...),
			refused("is not confirmed", pend(9, Move{"/B/dom", "/C", false})), refused("is not confirmed", pend(9, Move{"/A", "/B/dom/A", false}))}, was, nil},
		{"a move to where something waits", []step{pend(4, Remove{"/B", false}), refused("wait to be confirmed", plain(Move{"/A", "/B", false}))}, was, nil},
		{"a move is reverted as a whole", []step{pend(4, Move{"/A", "/B/M", false}, Set{"/B", num(3, 3)}),
			refused("as a whole", step{call: revert(2, "/B").call}), confirm(2), revert(2, Root)}, was, nil},
		{"a part is reverted", []step{pend(8, Set{"/A", num(1, 20)}, Set{"/B", num(3, 3)}), revert(2, "/A"), has("1=15", true), has("3=3", true)}, was, nil},
		{"a time", []step{pend(4, Touch{"/A", time.Unix(1, 0)}), {call: func(t *testing.T, s *Store) error {
			if k, _ := s.Snapshot().Key("/A"); !k.Modified.Equal(time.Unix(1, 0)) {
				t.Errorf("changed %v", k.Modified)
			}
			return nil
		}}, pass(5), {call: func(t *testing.T, s *Store) error {
			if k, _ := s.Snapshot().Key("/A"); time.Since(k.Modified) > time.Hour {
				t.Errorf("changed %v", k.Modified)
			}
			return nil
		}}}, was, nil},
		{"a change on top is reverted in time", []step{pend(4, Set{"/A", num(1, 20)}), plain(Set{"/A", num(1, 30)}), revert(3, Root), has("1=15", true)}, was,
			[]string{"/A: property 1: revision 3 has set it since"}},
		{"a change on top is reverted later", []step{pend(4, Set{"/A", num(1, 20)}), plain(Set{"/A", num(1, 30)}), pass(5), revert(3, Root)}, was,
			[]string{"/A: property 1: revision 3 has set it since"}},
		{"two below, a change on top is reverted", []step{
			pend(8, Set{"/A", num(1, 20)}), pend(4, Set{"/A", num(1, 25)}), pass(5), plain(Set{"/A", num(1, 30)}), revert(5, Root)}, was,
			[]string{"/A: property 1: revision 5 has set it since"}},
		{"the lower is confirmed, a change on top is reverted", []step{
			pend(4, Set{"/A", num(1, 20)}), confirm(2), pend(4, Set{"/A", num(1, 25)}), plain(Set{"/A", num(1, 30)}), revert(4, Root)},
			strings.Replace(was, "1=15", "1=20", 1), []string{"/A: property 1: revision 4 has set it since"}},
		{"a value unset for a time, a change on top is reverted", []step{pend(4, Unset{"/A", 1}), plain(Set{"/A", num(1, 30)}), revert(3, Root)}, was,
			[]string{"/A: property 1: revision 3 has set it since"}},
		{"a new value, unset for good, which is reverted", []step{pend(4, Set{"/A", num(4, 20)}), plain(Unset{"/A", 4}), revert(3, Root)}, was,
			[]string{"/A: property 4: revision 3 has set it since"}},
		{"a key with what is not confirmed, removed, which is reverted", []step{pend(4, Set{"/A", num(1, 20)}), plain(Remove{"/A", true}), revert(3, Root)}, was,
			[]string{"/A: property 1: revision 3 has set it since"}},
		{"a key that is not confirmed, removed, which is reverted", []step{pend(4, domain...), plain(Remove{"/B/dom", true}),
			refused("revision 2, which was not confirmed, has made or removed it", revert(3, Root))}, was,
			[]string{"/B/dom: property 7: revision 3 has set it since", "/B/dom: revision 3 has changed it or something in it since", "/B/dom/deep: revision 3 has changed it or something in it since"}},
		{"a key that is not confirmed, moved, which is reverted", []step{pend(4, domain...), plain(Move{"/B/dom", "/C", false}),
			refused("revision 2, which was not confirmed, has made or removed it", revert(3, Root))}, was, nil},
		{"the taking back is reverted", []step{pend(4, Set{"/A", num(1, 20)}), pass(5), revert(3, Root)}, strings.Replace(was, "1=15", "1=20", 1), nil},
		{"the revert of a change on top is reverted", []step{
			pend(4, Set{"/A", num(1, 20)}), plain(Set{"/A", num(1, 30)}), revert(3, Root), revert(4, Root)}, strings.Replace(was, "1=15", "1=30", 1),
			[]string{"/A: property 1: revision 3 has set it since"}},
		{"a value made of one that is not confirmed", []step{pend(4, Set{"/A", num(1, 20)}),
			refused("hangs on revision 2, which is not confirmed", plain(Amend{"/A", num(1, 21)})),
			refused("hangs on revision 2, which is not confirmed", plain(SetBits{"/A", num(1, 1), 1})),
			pend(2, Amend{"/A", num(1, 21)}), has("1=21", true), plain(Amend{"/B", num(1, 3)})}, strings.Replace(was, "/B:", "/B: 1=3/1", 1), nil},
		{"a bit of what is inherited for a time", []step{plain(AddKey{"/A/Sub/In", ""}, Set{"/A/Sub/In", num(1, 3)}), pend(4, Unset{"/A/Sub/In", 1}),
			refused("hangs on revision 3, which is not confirmed", plain(SetBits{"/A/Sub/In", num(1, 1), 1})), pend(2, SetBits{"/A/Sub/In", num(1, 64), 64}), has("1=79", true)},
			"/:\n/A: 1=15/1 1002=C/0\n/A/Sub: 2=2/1\n/A/Sub/In: 1=3/1\n/B:\n", nil},
		{"a bit of what is inherited past a key between", []step{plain(AddKey{"/A/Sub/In", ""}, Set{"/A/Sub", num(1, 3)}), pend(4, Unset{"/A/Sub", 1}),
			refused("hangs on revision 3, which is not confirmed", plain(SetBits{"/A/Sub/In", num(1, 64), 64}))},
			"/:\n/A: 1=15/1 1002=C/0\n/A/Sub: 1=3/1 2=2/1\n/A/Sub/In:\n/B:\n", nil},
		{"a bit of what is not inherited for a time", []step{pend(4, Set{"/A", Property{ID: 1, Value: DWord(15)}}),
			refused("hangs on revision 2, which is not confirmed", plain(SetBits{"/A/Sub", num(1, 64), 64}))}, was, nil},
		{"a bit where a key between hides what is not confirmed", []step{plain(AddKey{"/A/Sub/In", ""}, Set{"/A/Sub", without(num(1, 3), Inherit)}), pend(4, Set{"/A", num(1, 20)}),
			plain(SetBits{"/A/Sub/In", num(1, 64), 64})},
			"/:\n/A: 1=15/1 1002=C/0\n/A/Sub: 1=3/0 2=2/1\n/A/Sub/In: 1=64/1\n/B:\n", nil},
		{"a bit of what is inherited after a move", []step{plain(Set{"/B", num(1, 1)}), pend(4, Move{"/A/Sub", "/B/M", false}),
			refused("hangs on revision 3, which is not confirmed", plain(SetBits{"/B/M", num(1, 64), 64})),
			plain(SetBits{"/B/M", num(2, 64), 64}), pend(2, SetBits{"/B/M", num(1, 64), 64}), has("1=65", true)},
			"/:\n/A: 1=15/1 1002=C/0\n/A/Sub: 2=66/1\n/B: 1=1/1\n", nil},
		{"moved, and set as it is in the same batch", []step{pend(4, Set{"/A", num(1, 20)}), plain(Move{"/A", "/B/M", false}, Set{"/B/M", num(1, 20)})},
			"/:\n/B:\n/B/M: 1=20/1 1002=C/0\n/B/M/Sub: 2=2/1\n", []string{"/B/M: property 1: revision 3 has set it since"}},
		{"moved, and locked in the same batch", []step{pend(4, Lock{"/A", 1, false}), plain(Move{"/A", "/B/M", false}, Lock{"/B/M", 1, false})},
			"/:\n/B:\n/B/M: 1=15/65537 1002=C/0\n/B/M/Sub: 2=2/1\n", []string{"/B/M: property 1: revision 3 has set it since"}},
		{"moved, and a bit set in the same batch", []step{pend(4, Set{"/A", num(1, 20)}),
			refused("hangs on revision 2, which is not confirmed", plain(Move{"/A", "/B/M", false}, SetBits{"/B/M", num(1, 1), 1})),
			refused("hangs on revision 2, which is not confirmed", plain(Move{"/A", "/B/M", false}, SetBits{"/B/M/Sub", num(1, 1), 1}))}, was, nil},
		{"restored as it is, and set and reverted since", []step{pend(4, Set{"/A", num(1, 20)}), {call: func(t *testing.T, s *Store) error {
			op, err := s.Replace(s.proof)
			_, _, records := s.Records(true)
			for r := range records {
				err = errors.Join(err, op.Add(r))
			}
			apply(t, s, op)
			return err
		}}, plain(Set{"/A", num(1, 30)}), revert(4, Root)}, strings.Replace(was, "1=15", "1=20", 1), []string{"/A: property 1: revision 3 has set it since"}},
		{"another spelling", []step{pend(4, Move{"/A", "/a", false}), has("/a:", true)}, was, nil},
	}
	for _, tt := range tests {
		for _, kill := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, kills %v", tt.name, kill), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					db := kv.NewMem()
					s := open(t, db, Options{})
					apply(t, s, begin...)
					for i, step := range tt.steps {
						var err error
						if step.call != nil {
							err = step.call(t, s)
						} else {
							_, err = s.Apply(t.Context(), Batch{Ops: step.ops, Confirm: step.wait})
						}
						if (err == nil) != (step.bad == "") || err != nil && !strings.Contains(err.Error(), step.bad) {
							t.Fatalf("step %d: %v", i, err)
						}
						sound(t, s)
						if kill {
							s.Close()
							s = open(t, db, Options{})
						}
					}
					time.Sleep(time.Minute)
					sound(t, s)
					if got := dump(s.Snapshot()); got != tt.want || len(s.Pending()) > 0 {
						t.Errorf("in the end there is\n%s\nwant\n%s", got, tt.want)
					}
					log, err := s.Log(t.Context(), Root, 0)
					if err != nil {
						t.Fatal(err)
					}
					var kept []string
					for _, r := range log {
						kept = append(kept, r.Kept...)
					}
					slices.Sort(kept)
					if slices.Sort(tt.kept); !slices.Equal(kept, tt.kept) {
						t.Errorf("kept:\n%s\nwant\n%s", strings.Join(kept, "\n"), strings.Join(tt.kept, "\n"))
					}
					s.Close()
				})
			})
		}
	}
}

// Where the checks refuse the tree without a change, the parts that they name stay, and
// the rest goes back.
func TestTakenBackAsFarAsChecksAllow(t *testing.T) {
	folder := func(p Path, id ID, err error) Check { // a key of class Site has the property
		return func(c Change) (out []Problem) {
			for q := range c.New.Walk(Root) {
				if _, ok := c.New.Stored(q, 5); !ok && c.New.Class(q) == "Site" {
					out = append(out, Problem{Path: p, ID: id, Err: err})
				}
			}
			return out
		}
	}
	missing := key.Errorf(Invalid, "a site needs a folder")
	tests := []struct {
		name      string
		check     Check
		want      string
		kept, why string
	}{
		{"a property", folder("/S", 5, missing), "/:\n/A: 1=15/0\n/S: 5=5/0 6=7/0 1002=Site/0\n", "/S: property 5: a site needs a folder", "is taken back"},
		{"a key", folder("/S", 0, missing), "/:\n/A: 1=15/0\n/S: 2=2/0 5=5/0 6=7/0 1002=Site/0\n", "/S: a site needs a folder", "is taken back"},
		{"another key", folder("/A", 0, missing), "/:\n/A: 1=99/0\n/S: 2=2/0 5=5/0 6=7/0 1002=Site/0\n/S/in:\n", "/A: a site needs a folder", "cannot be taken back"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, kv.NewMem(), Options{Checks: []Check{tt.check}})
				defer s.Close()
				apply(t, s, AddKey{Path: "/A"}, Set{"/A", Property{ID: 1, Value: DWord(15)}})
				set := func(p Path, id ID, n uint32) Op { return Set{p, Property{ID: id, Value: DWord(n)}} }
				_, err := s.Apply(t.Context(), Batch{Confirm: time.Second, Ops: []Op{
					set("/A", 1, 99), AddKey{"/S", "Site"}, set("/S", 2, 2), set("/S", 5, 5), AddKey{Path: "/S/in"}}})
				if err != nil {
					t.Fatal(err)
				}
				apply(t, s, set("/S", 6, 7))
				time.Sleep(time.Minute)
				sound(t, s)
				if got := dump(s.Snapshot()); got != tt.want || len(s.Pending()) > 0 {
					t.Errorf("there is\n%s\nwant\n%s", got, tt.want)
				}
				log, err := s.Log(t.Context(), Root, 1)
				if err != nil || len(log) != 1 || !strings.Contains(log[0].Comment, tt.why) || !slices.Contains(log[0].Kept, tt.kept) {
					t.Errorf("%+v, %v", log, err)
				}
			})
		})
	}
}

// TestNothingLeftToConfirm has later revisions take over all, or a part, of what a
// pending one changed: with nothing left it is told as pending and confirmed no more,
// and its record at its deadline is as ever.
func TestNothingLeftToConfirm(t *testing.T) {
	set := func(id ID, n uint32) Op { return Set{"/A", Property{ID: id, Value: DWord(n)}} }
	batch := func(s *Store, ops ...Op) error { _, err := s.Apply(t.Context(), Batch{Ops: ops}); return err }
	tests := []struct {
		name string
		then func(s *Store) error
		bad  string // why revision 2 cannot be confirmed, or ""
	}{
		{"a part is left", func(s *Store) error { return batch(s, set(1, 30)) }, ""},
		{"set anew", func(s *Store) error { return batch(s, set(1, 30), set(2, 30)) }, "that it changed: 3"},
		{"set anew by two", func(s *Store) error { return errors.Join(batch(s, set(2, 30)), batch(s, set(1, 30))) }, "that it changed: 3, 4"},
		{"the key removed", func(s *Store) error { return batch(s, Remove{Path: "/A"}) }, "that it changed: 3"},
		{"the second reverted", func(s *Store) error {
			err := batch(s, set(1, 30), set(2, 30))
			_, rerr := s.Revert(t.Context(), 3, Root, Batch{})
			return errors.Join(err, rerr)
		}, "that it changed: 3"},
		{"a later one confirmed", func(s *Store) error {
			_, err := s.Apply(t.Context(), Batch{Ops: []Op{set(1, 30), set(2, 30)}, Confirm: time.Hour})
			_, cerr := s.Confirm(t.Context(), 3)
			return errors.Join(err, cerr)
		}, "that it changed: 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, kv.NewMem(), Options{})
				defer s.Close()
				apply(t, s, AddKey{Path: "/A"})
				if _, err := s.Apply(t.Context(), Batch{Ops: []Op{set(1, 20), set(2, 20)}, Confirm: time.Minute}); err != nil {
					t.Fatal(err)
				}
				if err := tt.then(s); err != nil {
					t.Fatal(err)
				}
				if told := len(s.Pending()) == 1; told != (tt.bad == "") {
					t.Errorf("pending: %v", s.Pending())
				}
				for _, rev := range []Rev{0, 2} {
					if _, err := s.Confirm(t.Context(), rev); tt.bad != "" && (!errors.Is(err, NotFound) || rev == 2 && !strings.HasSuffix(err.Error(), tt.bad)) {
						t.Errorf("confirm %d: %v", rev, err)
					}
				}
				time.Sleep(time.Hour)
				r, err := s.Record(t.Context(), s.Snapshot().Rev())
				if err != nil || (tt.bad != "") != (r.Reverts == 2 && len(r.Kept) > 0) {
					t.Errorf("the record at the deadline: %+v, %v", r, err)
				}
				sound(t, s)
			})
		})
	}
}
