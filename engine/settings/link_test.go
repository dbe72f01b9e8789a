// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"strings"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// The account's profile comes before the domain's; a wildcard's names share its budget; an
// account of a directory has that of the container.
func TestLinkOf(t *testing.T) {
	tr := newTree(t)
	tr.must(
		metabase.AddKey{Path: "/LM/SMTPSVC/1/Domain/a.test", Class: schema.Domain}, metabase.AddKey{Path: "/LM/SMTPSVC/1/Domain/*.b.test", Class: schema.Domain},
		metabase.AddKey{Path: "/LM/SMTPSVC/User/ann", Class: schema.User}, metabase.AddKey{Path: "/LM/SMTPSVC/User/bob", Class: schema.User},
		metabase.AddKey{Path: "/LM/SMTPSVC/1/Links/own", Class: schema.Link},
		set(t, "/LM/SMTPSVC/1/Links/own", "LinkSizeCeiling", "7"), set(t, "/LM/SMTPSVC/User/ann", "LinkProfile", "own"),
		set(t, "/LM/SMTPSVC/1/Domain/*.b.test", "LinkProfile", "HF"), set(t, "/LM/SMTPSVC/1/User", "LinkProfile", "vsat"),
		set(t, "/LM/SMTPSVC/1/Domain/*.b.test", "RouteAction", "514"), set(t, "/LM/SMTPSVC/1/Domain/*.b.test", "AuthTurnList", "ann"),
	)
	tests := []struct {
		account, domain string
		name, of        string
		ceiling         int64
		silence         time.Duration
	}{
		{"ANN", "a.test", "own", "account ann", 7, time.Minute}, // the site's time
		{"ann", "x.b.test", "own", "account ann", 7, time.Minute},
		{"bob", "x.b.test", "HF", "domain *.b.test", 20480, 5 * time.Minute},
		{"", "y.b.test", "HF", "domain *.b.test", 20480, 5 * time.Minute},
		{"bob", "a.test", "", "", 0, 0},
		{"", "unknown.test", "", "", 0, 0},
		{"carl", "x.b.test", "vsat", "account carl", 26214400, 2 * time.Minute}, // a directory's
	}
	s := tr.site(1)
	for _, tt := range tests {
		l := s.LinkOf(tt.account, mail.Domain(tt.domain))
		if l.Name != tt.name || l.Of != tt.of || l.Missing || l.LinkSizeCeiling != tt.ceiling || l.ReleaseIdleTimeout != tt.silence {
			t.Errorf("%s of %q: %+v", tt.domain, tt.account, l)
		}
	}
	if c, missing := s.CeilingOf("x.b.test"); c != 7 || missing != "" {
		t.Errorf("the ceiling is %d, %q", c, missing)
	}
	tr.must(set(t, "/LM/SMTPSVC/1/Domain/*.b.test", "AuthTurnList", "ann", "bob"))
	if c, _ := tr.site(1).CeilingOf("x.b.test"); c != 20480 {
		t.Errorf("the ceiling of two accounts is %d", c)
	}
	tr.must(metabase.Remove{Path: "/LM/SMTPSVC/1/Links/own"})
	if l := tr.site(1).LinkOf("ann", "a.test"); !l.Missing || l.Name != "own" || l.LinkSizeCeiling != 0 {
		t.Errorf("of a profile that is gone: %+v", l)
	}
	if c, missing := tr.site(1).CeilingOf("x.b.test"); c != 0 || missing != "own" {
		t.Errorf("the ceiling of a profile that is gone is %d, %q", c, missing)
	}
}

func TestLinkProfilesAreChecked(t *testing.T) {
	tr := newTree(t)
	tr.must(metabase.AddKey{Path: "/LM/SMTPSVC/1/Domain/a.test", Class: schema.Domain}, metabase.AddKey{Path: "/LM/SMTPSVC/User/ann", Class: schema.User})
	for _, tt := range []struct {
		at    metabase.Path
		name  string
		value string
		want  string
	}{
		{"/LM/SMTPSVC/1/Domain/a.test", "LinkProfile", "hf", ""},
		{"/LM/SMTPSVC/1/Domain/a.test", "LinkProfile", "", ""},
		{"/LM/SMTPSVC/1/Domain/a.test", "LinkProfile", "hff", `no link profile "hff" below /LM/SMTPSVC/1/Links; did you mean "hf"?`},
		{"/LM/SMTPSVC/1/Domain/a.test", "LinkProfile", "../User", "there is no link profile"},
		{"/LM/SMTPSVC/User/ann", "LinkProfile", "VSAT", ""},
		{"/LM/SMTPSVC/User/ann", "LinkProfile", "none", `no site has a link profile "none": add the key /LM/SMTPSVC/1/Links/none first`},
		{"/LM/SMTPSVC/1/Links/hf", "LinkOrder", "size", ""},
		{"/LM/SMTPSVC/1/Links/hf", "LinkOrder", "large", `"large" is neither priority nor size`},
	} {
		got := strings.Join(tr.problems("user:root", set(t, tt.at, tt.name, tt.value)), " ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s %s %q: %q, want %q", tt.at, tt.name, tt.value, got, tt.want)
		}
	}
}

// A site that an earlier version has made gets the ready profiles once.
func TestUpgradeAddsLinks(t *testing.T) {
	tr := newTree(t)
	tr.must(metabase.Remove{Path: "/LM/SMTPSVC/1/Links", Recursive: true})
	for range 2 {
		ops, err := Upgrade(tr.store.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if len(ops) > 0 {
			tr.must(ops...)
		}
		tr.must(set(t, "/LM/SMTPSVC/1/Links/hf", "LinkSizeCeiling", "5"))
	}
	snap := tr.store.Snapshot()
	if item, _ := snap.Stored("/LM/SMTPSVC/1/Links/hf", LinkSizeCeiling); !snap.Has("/LM/SMTPSVC/1/Links/iridium") || item.Value.DWord() != 5 {
		t.Errorf("after an upgrade: %v", item)
	}
}
