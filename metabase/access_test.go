// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"restante/internal/kv"
	"restante/metabase/internal/tree"
	"restante/metabase/key"
)

// offices is a tree of two sites, each with an operator of its own.
func offices(t *testing.T, audit func(context.Context, Refusal)) *Store {
	s := open(t, kv.NewMem(), Options{Audit: audit})
	site(t, s)
	apply(t, s, AddKey{"/LM/SMTPSVC/2", "IIsSmtpServer"},
		Set{"/", Property{ID: AccessList, Value: MultiSZ()}},
		Set{"/LM/SMTPSVC/1", Property{ID: AccessList, Value: MultiSZ("user:one read,write,create,delete", "group:watch read")}},
		Set{"/LM/SMTPSVC/1", secret(5, "pw")}, Set{"/LM/SMTPSVC/1", num(6, 6)},
		Set{"/LM/SMTPSVC/2", Property{ID: AccessList, Value: MultiSZ("user:two all")}},
		Set{"/LM/SMTPSVC/2", secret(5, "other")}, Set{"/LM/SMTPSVC/2", num(6, 66)})
	return s
}

func TestRights(t *testing.T) {
	s := offices(t, nil).Snapshot()
	tests := []struct {
		who  []Principal
		p    Path
		want Right
	}{
		{[]Principal{""}, "/", AllRights},
		{[]Principal{boss}, "/LM/SMTPSVC/2", AllRights}, // an administrator needs no line
		{[]Principal{"uid:7", "USER:BOSS"}, "/", AllRights},
		{nil, "/", 0}, // nobody
		{[]Principal{"user:one"}, "/", 0},
		{[]Principal{"user:one"}, "/LM/SMTPSVC", 0},
		{[]Principal{"user:one"}, "/lm/smtpsvc/1/Domain", Read | Write | Create | Delete},
		{[]Principal{"User:One"}, "/LM/SMTPSVC/1/Domain/not/there", Read | Write | Create | Delete},
		{[]Principal{"user:one"}, "/LM/SMTPSVC/2", 0},
		{[]Principal{"user:x", "group:watch"}, "/LM/SMTPSVC/1", Read},
		{[]Principal{"user:x", "user:one", "group:watch"}, "/LM/SMTPSVC/2", 0},
	}
	for _, tt := range tests {
		if got := s.Rights(tt.who, tt.p); got != tt.want {
			t.Errorf("Rights(%v, %s) = %s, want %s", tt.who, tt.p, got, tt.want)
		}
	}
	plain := open(t, kv.NewMem(), Options{}).Snapshot()
	if got := plain.Rights([]Principal{"user:x"}, "/LM"); got != Read {
		t.Errorf("without a list: %s", got)
	}
	if got := plain.Rights(nil, "/LM"); got != 0 {
		t.Errorf("nobody has %s", got)
	}
}

func TestApplyAccess(t *testing.T) {
	tests := []struct {
		ops  []Op
		need string // the right that is missing, "" for none
		at   Path
	}{
		{[]Op{Set{"/LM/SMTPSVC/1", num(1, 1)}, AddKey{"/LM/SMTPSVC/1/Domain/x", "D"}, Set{"/LM/SMTPSVC/1/Domain/x", num(1, 1)}}, "", ""},
		{[]Op{Remove{"/LM/SMTPSVC/1/Domain", true}}, "", ""},
		{[]Op{Copy{"/LM/SMTPSVC/1/Domain", "/LM/SMTPSVC/1/Other", false}}, "", ""},
		{[]Op{Move{"/LM/SMTPSVC/1/Domain", "/LM/SMTPSVC/1/Other", false}}, "", ""},
		{[]Op{Set{"/LM/SMTPSVC", num(1, 1)}}, "write", "/LM/SMTPSVC"},
		{[]Op{Set{"/LM/SMTPSVC/2", num(1, 1)}}, "write", "/LM/SMTPSVC/2"},
		{[]Op{Set{"/LM/SMTPSVC/nowhere", num(1, 1)}}, "write", "/LM/SMTPSVC/nowhere"}, // not told that there is none
		{[]Op{Set{"/LM/SMTPSVC/1", secret(5, "new")}}, "write_secret", "/LM/SMTPSVC/1"},
		{[]Op{Set{"/LM/SMTPSVC/1", secret(5, "pw")}}, "write_secret", "/LM/SMTPSVC/1"}, // no guessing by what changes nothing
		{[]Op{Unset{"/LM/SMTPSVC/1", 5}}, "write_secret", "/LM/SMTPSVC/1"},
		{[]Op{Clear{Path: "/LM/SMTPSVC/1"}}, "write_secret", "/LM/SMTPSVC/1"},
		{[]Op{Set{"/LM/SMTPSVC/1", Property{ID: AccessList, Value: MultiSZ("user:one all")}}}, "control", "/LM/SMTPSVC/1"},
		{[]Op{Unset{"/LM/SMTPSVC/1", AccessList}}, "control", "/LM/SMTPSVC/1"},
		{[]Op{Set{"/LM/SMTPSVC/1", with(num(6, 6), Locked)}}, "control", "/LM/SMTPSVC/1"},
		{[]Op{AddKey{"/LM/SMTPSVC/3", ""}}, "create", "/LM/SMTPSVC"},
		{[]Op{Copy{"/LM/SMTPSVC/2", "/LM/SMTPSVC/1/Mine", false}}, "read", "/LM/SMTPSVC/2"},
		{[]Op{Copy{"/LM/SMTPSVC/1", "/LM/SMTPSVC/1/Mine", false}}, "write_secret", "/LM/SMTPSVC/1"}, // a secret is carried
		{[]Op{CopyData{From: "/LM/SMTPSVC/2", To: "/LM/SMTPSVC/1"}}, "read", "/LM/SMTPSVC/2"},
		{[]Op{Move{"/LM/SMTPSVC/1/Domain", "/LM/SMTPSVC/2/Domain2", false}}, "create", "/LM/SMTPSVC/2"},
		{[]Op{Remove{"/LM/SMTPSVC/2", true}}, "delete", "/LM/SMTPSVC/2"},
		{[]Op{Touch{"/LM/SMTPSVC/2", time.Unix(1, 1)}}, "write", "/LM/SMTPSVC/2"},
		{[]Op{SetBits{"/LM/SMTPSVC/1", num(6, 1), 1}, RemoveChildren{"/LM/SMTPSVC/1"}}, "", ""},
		{[]Op{SetBits{"/LM/SMTPSVC/2", num(6, 1), 1}}, "write", "/LM/SMTPSVC/2"},
		{[]Op{Lock{"/LM/SMTPSVC/1", 6, false}}, "control", "/LM/SMTPSVC/1"},
		{[]Op{RemoveChildren{"/LM/SMTPSVC"}}, "delete", "/LM/SMTPSVC"},
		{[]Op{&Replace{root: &tree.Node{}}}, AllRights.String(), Root},
	}
	for _, tt := range tests {
		var told []Refusal
		s := offices(t, func(_ context.Context, r Refusal) { told = append(told, r) })
		was := exact(s.Snapshot())
		_, err := s.Apply(t.Context(), Batch{Actor: "user:one", Origin: FromCLI, Ops: tt.ops})
		if tt.need == "" {
			if err != nil || len(told) != 0 {
				t.Errorf("%T: %v", tt.ops[0], err)
			}
			continue
		}
		if !errors.Is(err, Denied) || errors.Is(err, NotFound) || exact(s.Snapshot()) != was {
			t.Errorf("%T: %v", tt.ops[0], err)
			continue
		}
		if !slices.ContainsFunc(told, func(r Refusal) bool {
			return r.Need.String() == tt.need && r.Path.Equal(tt.at) && r.Actor == "user:one" && r.Origin == FromCLI && !r.Time.IsZero()
		}) {
			t.Errorf("%T: audited %+v, want %s at %s", tt.ops[0], told, tt.need, tt.at)
		}
	}
}

// TestRevertAccess checks that a revert needs the rights of the change that it makes.
func TestRevertAccess(t *testing.T) {
	s := offices(t, nil)
	rev := apply(t, s, Set{"/LM/SMTPSVC/1", num(6, 7)}, Set{"/LM/SMTPSVC/2", num(6, 7)})
	if _, err := s.Revert(t.Context(), rev, Root, Batch{Actor: "user:one"}); !errors.Is(err, Denied) {
		t.Errorf("Revert of all: %v", err)
	}
	if _, err := s.Revert(t.Context(), rev, "/LM/SMTPSVC/1", Batch{Actor: "user:one"}); err != nil {
		t.Errorf("Revert of one's own: %v", err)
	}
}

func TestRemoveHiddenChild(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	site(t, s)
	apply(t, s, Set{"/LM/SMTPSVC", Property{ID: AccessList, Value: MultiSZ("user:one all")}},
		Set{"/LM/SMTPSVC/1", Property{ID: AccessList, Value: MultiSZ("user:two all")}})
	if _, err := s.Apply(t.Context(), Batch{Actor: "user:one", Ops: []Op{Remove{"/LM/SMTPSVC", true}}}); !errors.Is(err, Denied) {
		t.Errorf("a key is removed with one in it that is another's: %v", err)
	}
}

func TestAllow(t *testing.T) {
	var told []Refusal
	s := offices(t, func(_ context.Context, r Refusal) { told = append(told, r) })
	if err := s.Allow(t.Context(), []Principal{"user:one"}, FromCLI, "/LM/SMTPSVC/1", Read); err != nil || len(told) != 0 {
		t.Error(err)
	}
	err := s.Allow(t.Context(), []Principal{"user:one"}, FromCLI, "/LM/SMTPSVC/2", Read)
	if !errors.Is(err, Denied) || err.Error() != "read: /LM/SMTPSVC/2: denied" || len(told) != 1 {
		t.Errorf("%v, told %v", err, told)
	}
}

func TestBadACL(t *testing.T) {
	s := open(t, kv.NewMem(), Options{})
	_, err := s.Apply(t.Context(), Batch{Ops: []Op{Set{"/", Property{ID: AccessList, Value: MultiSZ("joe")}}}})
	if !errors.Is(err, Invalid) || !strings.HasPrefix(err.Error(), "/: AccessList: line 1: ") {
		t.Errorf("Apply = %v", err)
	}
}

func TestLocks(t *testing.T) {
	lock := with(num(1, 1), Locked)
	tests := []struct {
		name string
		ops  [][]Op
		text string // of the last batch's error
	}{
		{"a set below", [][]Op{{Set{"/LM", lock}}, {Set{"/LM/SMTPSVC/1", num(1, 2)}}}, "/LM/SMTPSVC/1: property 1: is locked at /LM and cannot be overridden below it"},
		{"a set of the same below", [][]Op{{Set{"/LM", lock}}, {Set{"/LM/SMTPSVC/1", num(1, 1)}}}, "is locked at /LM"},
		{"a change of the locked one", [][]Op{{Set{"/LM", lock}}, {Set{"/LM", with(num(1, 5), Locked)}}}, ""},
		{"another id", [][]Op{{Set{"/LM", lock}}, {Set{"/LM/SMTPSVC/1", num(2, 2)}}}, ""},
		{"above", [][]Op{{Set{"/LM", lock}}, {Set{"/", num(1, 2)}}}, ""},
		{"overrides exist", [][]Op{{Set{"/LM/SMTPSVC", num(1, 2)}, Set{"/LM/SMTPSVC/1", num(1, 3)}}, {Set{"/LM", lock}}},
			"/LM: property 1: cannot be locked: /LM/SMTPSVC overrides it\n/LM: property 1: cannot be locked: /LM/SMTPSVC/1 overrides it"},
		{"overrides go in the same batch", [][]Op{{Set{"/LM/SMTPSVC", num(1, 2)}}, {Set{"/LM", lock}, Unset{"/LM/SMTPSVC", 1}}}, ""},
		{"copied below", [][]Op{{AddKey{"/X", ""}, Set{"/X", num(1, 2)}, Set{"/LM", lock}}, {Copy{"/X", "/LM/X", false}}}, "/LM/X: property 1: is locked at /LM"},
		{"moved below", [][]Op{{AddKey{"/X", ""}, AddKey{"/X/y", ""}, Set{"/X/y", num(1, 2)}, Set{"/LM", lock}}, {Move{"/X", "/LM/X", false}}}, "/LM/X/y: property 1: is locked at /LM"},
		{"a set keeps the lock", [][]Op{{Set{"/LM", lock}}, {Set{"/LM", num(1, 5)}}, {Set{"/LM/SMTPSVC/1", num(1, 2)}}}, "is locked at /LM"},
		{"unlocked first", [][]Op{{Set{"/LM", lock}}, {Lock{"/LM", 1, true}}, {Set{"/LM/SMTPSVC/1", num(1, 2)}}}, ""},
		{"locked by itself", [][]Op{{Set{"/LM", with(num(1, 1), Inherit)}}, {Lock{"/LM", 1, false}}, {Set{"/LM/SMTPSVC/1", num(1, 2)}}}, "is locked at /LM"},
		{"locking is taken back", [][]Op{{Set{"/LM", with(num(1, 1), Inherit)}}, {Lock{"/LM", 1, false}}, nil, {Set{"/LM/SMTPSVC/1", num(1, 2)}}}, ""},
		{"nothing to lock", [][]Op{{Lock{"/LM", 1, false}}}, "not stored there"},
		{"nothing to unlock", [][]Op{{Set{"/LM", with(num(1, 1), Inherit)}}, {Lock{"/LM", 1, true}}}, "is not locked"},
		{"a lock on what nobody inherits", [][]Op{{Set{"/LM", without(num(1, 1), Inherit)}}, {Lock{"/LM", 1, false}}}, "is not inherited"},
		{"a lock on a key that is not there", [][]Op{{Lock{"/LN", 1, false}}}, "/LN: not found"},
		{"locked at the root", [][]Op{{Set{"/", lock}}, {Set{"/LM", num(1, 2)}}}, "is locked at /"},
		{"reverted below", [][]Op{{Set{"/LM/SMTPSVC/1", num(1, 2)}}, {Unset{"/LM/SMTPSVC/1", 1}}, {Set{"/LM", lock}}, nil}, "/LM/SMTPSVC/1: property 1: is locked at /LM"},
	}
	for _, tt := range tests {
		s := open(t, kv.NewMem(), Options{})
		site(t, s)
		var err error
		for _, ops := range tt.ops {
			if err != nil {
				t.Fatalf("%s: too early: %v", tt.name, err)
			}
			if ops == nil {
				_, err = s.Revert(t.Context(), 3, Root, Batch{})
			} else {
				_, err = s.Apply(t.Context(), Batch{Ops: ops})
			}
		}
		if tt.text == "" && err != nil || tt.text != "" && (key.KindOf(err) == "" || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: %v", tt.name, err)
		}
		sound(t, s)
	}
}

// What may not be changed because of a move names no key that the caller may not read.
func TestMoveFromAHiddenKey(t *testing.T) {
	s := open(t, kv.NewMem(), Options{Admins: []Principal{boss}})
	list := func(lines ...string) Property { return Property{ID: AccessList, Value: MultiSZ(lines...)} }
	apply(t, s, AddKey{Path: "/A"}, AddKey{Path: "/hidden"}, AddKey{Path: "/hidden/secret"}, Set{Root, list("user:bob none")}, Set{"/A", list("user:bob all")})
	if _, err := s.Apply(t.Context(), Batch{Actor: boss, Ops: []Op{Move{From: "/hidden/secret", To: "/A/seen"}}, Confirm: time.Hour}); err != nil {
		t.Fatal(err)
	}
	b := Batch{Actor: "user:bob", Ops: []Op{Remove{Path: "/A/seen"}}}
	_, err := s.Apply(t.Context(), b)
	if err = s.Snapshot().View(b.who()).Redact(err, "/A/seen"); err == nil || !strings.Contains(err.Error(), "revert revision 2 first") || strings.Contains(err.Error(), "hidden") {
		t.Errorf("bob is told: %v", err)
	}
}

// Whoever has rights by a list that is not confirmed cannot make that list last, nor
// another one in its place; who had them before can.
func TestListThatIsNotConfirmed(t *testing.T) {
	list := func(lines ...string) Op { return Set{"/A", Property{ID: AccessList, Value: MultiSZ(lines...)}} }
	for _, was := range [][]string{nil, {"user:ann all"}} {
		s := open(t, kv.NewMem(), Options{Admins: []Principal{boss}})
		apply(t, s, AddKey{Path: "/A"})
		if was != nil {
			apply(t, s, list(was...))
		}
		pending := list("user:ann all", "user:bob all")
		if _, err := s.Apply(t.Context(), Batch{Actor: boss, Ops: []Op{pending}, Confirm: time.Hour}); err != nil {
			t.Fatal(err)
		}
		apply(t, s, AddKey{Path: "/W"}, Set{"/W", Property{ID: AccessList, Value: MultiSZ("user:bob all")}},
			Set{Root, Property{ID: AccessList, Value: MultiSZ("user:ann read", "user:bob read,create")}})
		for name, ops := range map[string][]Op{
			"set":             {pending},
			"another":         {list("user:bob all")},
			"unset":           {Unset{"/A", AccessList}},
			"cleared":         {Clear{Path: "/A"}},
			"copied over":     {Copy{"/W", "/A", true}},
			"its data copied": {CopyData{From: "/W", To: "/A"}},
		} {
			if _, err := s.Apply(t.Context(), Batch{Actor: "user:bob", Ops: ops}); !errors.Is(err, Denied) || !strings.Contains(err.Error(), "control is that of revision") {
				t.Errorf("after %q: %s: %v", was, name, err)
			}
		}
		if _, err := s.Apply(t.Context(), Batch{Actor: "user:bob", Ops: []Op{Set{"/A", num(1, 1)}}}); err != nil {
			t.Errorf("after %q: another property: %v", was, err)
		}
		if _, err := s.Apply(t.Context(), Batch{Actor: "user:ann", Ops: []Op{pending}}); (err == nil) != (was != nil) {
			t.Errorf("after %q: ann: %v", was, err)
		}
	}
}
