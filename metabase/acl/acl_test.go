// SPDX-License-Identifier: Apache-2.0

package acl

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/metabase/item"
	"restante/metabase/key"
)

func TestParse(t *testing.T) {
	tests := []struct {
		v    item.Value
		want string
		text string // of the error
	}{
		{item.MultiSZ(), "[]", ""},
		{item.MultiSZ("user:joe read,write", "GROUP:Staff ALL", "* none"), "[{user:joe read,write} {GROUP:Staff read,write,write_secret,create,delete,control} {* none}]", ""},
		{item.String("user:joe read"), "", "is a MULTISZ"},
		{item.MultiSZ("user:joe"), "", "line 1: must be a principal"},
		{item.MultiSZ("* read", "joe read"), "", `line 2: "joe" is no principal`},
		{item.MultiSZ("user: read"), "", "no principal"},
		{item.MultiSZ("user:joe fly"), "", `"fly" is no right`},
		{item.MultiSZ("user:joe read,"), "", "is no right"},
	}
	for _, tt := range tests {
		got, err := Parse(tt.v)
		if tt.text == "" && (err != nil || fmt.Sprint(got) != tt.want) || tt.text != "" && (!errors.Is(err, key.Invalid) || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("Parse(%q) = %v, %v", tt.v, got, err)
		}
	}
}

func TestRightsString(t *testing.T) {
	for _, r := range []Right{0, Read, Write | Control, AllRights} {
		if got, err := ParseRights(r.String()); err != nil || got != r {
			t.Errorf("%s reads back as %s, %v", r, got, err)
		}
	}
}

func TestListRights(t *testing.T) {
	list, err := Parse(item.MultiSZ("user:joe read", "GROUP:Staff write", "* create", "uid:7 none"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		who  []Principal
		want Right
	}{
		{nil, Create},
		{[]Principal{"user:jane"}, Create},
		{[]Principal{"USER:Joe"}, Read | Create},
		{[]Principal{"user:joe", "group:staff"}, Read | Write | Create}, // the lines add up
		{[]Principal{"uid:7"}, Create},
		{[]Principal{"joe"}, Create}, // a name is not a principal
	}
	for _, tt := range tests {
		if got := list.Rights(tt.who); got != tt.want {
			t.Errorf("the rights of %q are %s, want %s", tt.who, got, tt.want)
		}
	}
	if got := List(nil).Rights([]Principal{"user:joe"}); got != 0 {
		t.Errorf("an empty list allows %s", got)
	}
}

func TestOwners(t *testing.T) {
	got := Owners()
	if len(got) < 2 || got[0] != "user:root" || got[1] != "uid:0" {
		t.Errorf("Owners() = %q", got)
	}
	for _, p := range got {
		if !isPrincipal(string(p)) {
			t.Errorf("%q cannot stand in a list", p)
		}
	}
}

// FuzzParse reads a list back as it writes it, and gives nobody in particular
// what is not given to everybody.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"user:joe read,write", "* none", "GROUP:Staff ALL", "uid:4294967296 read", "uid:-1 all", "user:\u212a read", "gid:0 read,read"} {
		f.Add(s, "* read")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		list, err := Parse(item.MultiSZ(one, two))
		if err != nil {
			if !errors.Is(err, key.Invalid) || list != nil {
				t.Errorf("%q, %q: %v, %v", one, two, list, err)
			}
			return
		}
		var lines []string
		var everybody Right
		for _, e := range list {
			lines = append(lines, string(e.Who)+" "+e.Rights.String())
			if e.Who == "*" {
				everybody |= e.Rights
			}
		}
		again, err := Parse(item.MultiSZ(lines...))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(list) {
			t.Errorf("%q is %v, which is %v, %v", lines, list, again, err)
		}
		if list.Rights(nil) != everybody || list.Rights([]Principal{"user:nobody in particular"}) != everybody || everybody&^AllRights != 0 {
			t.Errorf("%v gives strangers %v", list, list.Rights(nil))
		}
	})
}
