// SPDX-License-Identifier: Apache-2.0

package adsitree

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"restante/admin/admintest"
	"restante/admin/api"
	"restante/admin/tree"
	adsi "restante/adsi-compat"
	"restante/internal/deptest"
	"restante/metabase"
	"restante/metabase/schema"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/adsi-compat/luahost": "objects know no language",
		"/engine":              "what it needs comes by calls",
		"/admin/tree":          "what it needs comes by calls",
		"/admin/rpc":           "a conn may be of any kind",
		"/cmd":                 "imports go down only",
	})
}

const (
	site1 = "IIS://LocalHost/SMTPSVC/1"
	p1    = metabase.Path("/LM/SMTPSVC/1")
)

// fixture is a tree with a conn to it for each caller.
func fixture(t *testing.T) (func(who ...metabase.Principal) api.Conn, *metabase.Store) {
	t.Helper()
	d, store := admintest.New(t, nil)
	tree.Register(d)
	return func(who ...metabase.Principal) api.Conn {
		return d.Direct(api.Caller{Who: who, Origin: metabase.FromLua})
	}, store
}

func apply(t *testing.T, s *metabase.Store, ops ...metabase.Op) {
	t.Helper()
	if _, err := s.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
		t.Fatal(err)
	}
}

// TestErrorsKeepTheirCode checks that a script can tell errors apart that came as
// the answer to a call.
func TestErrorsKeepTheirCode(t *testing.T) {
	conn, store := fixture(t)
	apply(t, store, metabase.Set{Path: p1, Property: metabase.Property{ID: metabase.AccessList, Value: metabase.MultiSZ("user:joe read")}},
		metabase.Set{Path: "/LM/SMTPSVC", Property: metabase.Property{ID: metabase.AccessList, Value: metabase.MultiSZ("user:ann read")}},
		metabase.AddKey{Path: p1.Join("Domain/x.test"), Class: "IIsSmtpDomain"})
	boss, joe := adsi.New(New(conn("user:boss"), api.Terms{}), schema.IIS()), adsi.New(New(conn("user:joe"), api.Terms{}), schema.IIS())
	ctx := t.Context()
	put := func(d *adsi.Directory, name string, v any) error {
		o, err := d.GetObject(ctx, site1)
		if err == nil {
			err = errors.Join(o.Put(ctx, name, v), o.SetInfo(ctx))
		}
		return err
	}
	tests := []struct {
		what string
		err  func() error
		code uint32
	}{
		{"no such key", func() error { _, err := boss.GetObject(ctx, site1+"/none"); return err }, adsi.CodePathNotFound},
		{"hidden", func() error { _, err := joe.GetObject(ctx, "IIS://LocalHost/SMTPSVC/none"); return err }, adsi.CodeAccessDenied},
		{"no right", func() error { return put(joe, "MaxRecipients", 7.0) }, adsi.CodeAccessDenied},
		{"a value that the check refuses", func() error { return put(boss, "ServerBindings", []string{"x"}) }, adsi.CodeInvalid},
		{"octets that are not UTF-8", func() error { return put(boss, "61600", "\xff") }, adsi.CodeInvalid},
		{"taken", func() error {
			o, err := boss.GetObject(ctx, site1+"/Domain")
			if err == nil {
				_, err = o.CopyHere(ctx, "x.test", "hub.example")
			}
			return err
		}, adsi.CodeAlreadyExists},
		{"a copy of nothing", func() error {
			o, err := boss.GetObject(ctx, site1+"/Domain")
			if err == nil {
				_, err = o.CopyHere(ctx, "none.test", "y.test")
			}
			return err
		}, adsi.CodePathNotFound},
	}
	for _, tt := range tests {
		err := tt.err()
		var e *adsi.Error
		if !errors.As(err, &e) || e.Code != tt.code {
			t.Errorf("%s: %v, want 0x%X", tt.what, err, tt.code)
		}
	}
}

// TestValuesOfEachType are the same after the way to the store and back.
func TestValuesOfEachType(t *testing.T) {
	conn, store := fixture(t)
	tr, ctx := New(conn("user:boss"), api.Terms{}), t.Context()
	items := []metabase.Property{
		{ID: 61600, Attr: metabase.Inherit, UserType: 2, Value: metabase.DWord(1<<32 - 1)},
		{ID: 61601, Value: metabase.String("")},
		{ID: 61602, Attr: metabase.Inherit, Value: metabase.ExpandSZ("%x% --y 'z' \u202e")},
		{ID: 61603, UserType: 100, Value: metabase.Binary([]byte{0, 255})},
		{ID: 61604, Value: metabase.MultiSZ()},
		{ID: 61605, Value: metabase.MultiSZ("", "@file", "a\nb")},
		{ID: 61606, Attr: metabase.Secure, Value: metabase.String("secret")},
	}
	var ops []metabase.Op
	for _, item := range items {
		ops = append(ops, metabase.Set{Path: p1, Property: item})
	}
	if err := tr.Apply(ctx, 0, ops...); err != nil {
		t.Fatal(err)
	}
	key, err := tr.Key(ctx, "/lm/smtpsvc/1")
	if err != nil || key.Path != p1 || key.Class != "IIsSmtpServer" || !key.Exists || key.Rev != store.Snapshot().Rev() {
		t.Errorf("%+v, %v", key, err)
	}
	for _, want := range items {
		stored, _ := store.Snapshot().Stored(p1, want.ID)
		i := slices.IndexFunc(key.Stored, func(p metabase.Property) bool { return p.ID == want.ID })
		if i < 0 || !stored.Same(want) {
			t.Fatalf("%v is stored as %v", want, stored)
		}
		if got := key.Stored[i]; !got.Same(want.Redacted()) && !(want.Attr&metabase.Secure != 0 && got.Value.Str() == "") {
			t.Errorf("%v reads as %v", want, got)
		}
	}
	if err := tr.Apply(ctx, key.Rev, metabase.Unset{Path: p1, ID: 61600}); err != nil {
		t.Error(err)
	}
	if err := tr.Apply(ctx, key.Rev, metabase.Unset{Path: p1, ID: 61601}); !errors.Is(err, metabase.Conflict) {
		t.Errorf("on top of an old revision: %v", err)
	}
	list := metabase.Property{ID: 61605, Value: metabase.MultiSZ("for a time")}
	if _, err := store.Apply(ctx, metabase.Batch{Ops: []metabase.Op{metabase.Set{Path: p1, Property: list}}, Confirm: time.Hour}); err != nil {
		t.Fatal(err)
	}
	// The caller tries again at a Conflict: here that would go on until the time ends.
	if err := tr.Apply(ctx, 0, metabase.Amend{Path: p1, Property: list}); err == nil || errors.Is(err, metabase.Conflict) {
		t.Errorf("on top of what is not confirmed: %v", err)
	}
}

// TestChildrenInherit compares children with the keys one by one, over several
// pages.
func TestChildrenInherit(t *testing.T) {
	conn, store := fixture(t)
	ops := []metabase.Op{
		metabase.Set{Path: p1.Join("Domain"), Property: metabase.Property{ID: 61600, Attr: metabase.Inherit, Value: metabase.String("down")}},
		metabase.Set{Path: p1.Join("Domain"), Property: metabase.Property{ID: 61601, Value: metabase.String("not down")}},
		metabase.Set{Path: p1, Property: metabase.Property{ID: 61601, Attr: metabase.Inherit, Value: metabase.String("covered")}},
		metabase.Set{Path: p1, Property: metabase.Property{ID: 61602, Attr: metabase.Inherit, Value: metabase.String("farther down")}},
	}
	for i := range 600 {
		at := p1.Join("Domain").Join(fmt.Sprintf("d%d.test", i))
		ops = append(ops, metabase.AddKey{Path: at, Class: "IIsSmtpDomain"}, metabase.Set{Path: at, Property: metabase.Property{ID: 61603, Value: metabase.DWord(uint32(i))}})
	}
	ops = append(ops, metabase.Set{Path: p1.Join("Domain/d7.test"), Property: metabase.Property{ID: metabase.AccessList, Value: metabase.MultiSZ("user:ann all")}})
	apply(t, store, ops...)
	tr := New(conn("user:joe"), api.Terms{})
	children, err := tr.Children(t.Context(), p1.Join("Domain"))
	if err != nil || len(children) != 600 { // with the default domain, without the hidden one
		t.Fatalf("%d children, %v", len(children), err)
	}
	for _, child := range children {
		key, err := tr.Key(t.Context(), child.Path)
		slices.SortFunc(child.Inherited, func(a, b metabase.Property) int { return int(a.ID) - int(b.ID) })
		if got, want := fmt.Sprint(child), fmt.Sprint(key); err != nil || got != want {
			t.Fatalf("%s, %v; want %s", got, err, want)
		}
	}
	paths, err := tr.DataPaths(t.Context(), "/LM", 61603)
	if err != nil || len(paths) != 599 {
		t.Errorf("%d data paths, %v", len(paths), err)
	}
}

// TestChangesAtTheSameTimeAllStay adds to one list from many scripts.
func TestChangesAtTheSameTimeAllStay(t *testing.T) {
	conn, store := fixture(t)
	held := p1.Join("Domain/held.test")
	apply(t, store, metabase.AddKey{Path: held, Class: "IIsSmtpDomain"})
	var all sync.WaitGroup
	for n := range 8 {
		d := adsi.New(New(conn("user:boss"), api.Terms{}), schema.IIS())
		all.Go(func() {
			o, err := d.GetObject(t.Context(), site1+"/Domain/held.test")
			if err == nil {
				err = errors.Join(o.PutEx(t.Context(), adsi.OpAppend, "AuthTurnList", []string{fmt.Sprint("a", n)}), o.SetInfo(t.Context()))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	item, _ := store.Snapshot().Stored(held, 36966)
	if got := item.Value.Strings(); len(got) != 8 {
		t.Errorf("%q", got)
	}
}

// TestADryRunReadsItsChanges makes changes that build upon each other.
func TestADryRunReadsItsChanges(t *testing.T) {
	conn, store := fixture(t)
	before := store.Snapshot().Rev()
	tr, ctx := NewDryRun(conn("user:boss"), api.Terms{}), t.Context()
	d := adsi.New(tr, schema.IIS())
	domains, err := d.GetObject(ctx, site1+"/Domain")
	if err != nil {
		t.Fatal(err)
	}
	made, err := domains.Create(ctx, "IIsSmtpDomain", "x.test")
	if err == nil {
		err = errors.Join(made.Put(ctx, "RouteAction", 514.0), made.SetInfo(ctx), made.Put(ctx, "AuthTurnList", "joe"), made.SetInfo(ctx))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(made.Put(ctx, "RoutePassword", "x"), made.SetInfo(ctx), made.Put(ctx, "RouteAction", 1<<33)); err == nil {
		t.Error("a wrong value is taken")
	}
	moved, err := domains.MoveHere(ctx, "x.test", "y.test")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := moved.Get(ctx, "RouteAction"); v != uint32(514) || err != nil {
		t.Errorf("RouteAction %v, %v", v, err)
	}
	if _, err := d.GetObject(ctx, site1+"/Domain/x.test"); !errors.Is(err, metabase.NotFound) {
		t.Errorf("what was moved: %v", err)
	}
	a, err := tr.Difference(ctx)
	if err != nil || !a.DryRun || len(a.Changes) != 5 || a.Changes[0].Path != p1.Join("Domain/y.test") {
		t.Errorf("%+v, %v", a, err)
	}
	if rev := store.Snapshot().Rev(); rev != before {
		t.Errorf("revision %d, %d before", rev, before)
	}
}
