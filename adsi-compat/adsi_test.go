// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

// A treeFixture is a tree of two sites, with a domain each, and what was refused.
type treeFixture struct {
	*metabase.Store
	refused []metabase.Refusal
}

func newTreeFixture(t testing.TB) *treeFixture {
	t.Helper()
	w := &treeFixture{}
	db := kv.NewMem()
	t.Cleanup(func() { db.Close() })
	s, err := metabase.Open(t.Context(), db, seal.New(), metabase.Options{
		Checks: []metabase.Check{schema.IIS().Check},
		Audit:  func(_ context.Context, r metabase.Refusal) { w.refused = append(w.refused, r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w.Store = s
	w.apply(t, metabase.AddKey{Path: "/LM", Class: "IIsComputer"}, metabase.AddKey{Path: "/LM/SMTPSVC", Class: "IIsSmtpService"})
	for n := 1; n <= 2; n++ {
		site := metabase.Path(fmt.Sprintf("/LM/SMTPSVC/%d", n))
		w.apply(t, metabase.AddKey{Path: site, Class: "IIsSmtpServer"},
			metabase.AddKey{Path: site.Join("Domain"), Class: "IIsSmtpDomain"},
			metabase.AddKey{Path: site.Join("Domain").Join("held.test"), Class: "IIsSmtpDomain"})
		w.set(t, site.Join("Domain").Join("held.test"), "AuthTurnList", "a", "b")
		w.set(t, site.Join("Domain").Join("held.test"), "RouteUserName", "joe")
		w.set(t, site.Join("Domain").Join("held.test"), "RoutePassword", "secret")
	}
	return w
}

func (w *treeFixture) apply(t testing.TB, ops ...metabase.Op) {
	t.Helper()
	if _, err := w.Store.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
		t.Fatal(err)
	}
}

func (w *treeFixture) set(t testing.TB, p metabase.Path, name string, words ...string) {
	t.Helper()
	prop, err := schema.IIS().Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := prop.Parse(words)
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, metabase.Set{Path: p, Property: prop.Item(v)})
}

// as gives the tree as somebody sees it by scripts.
func (w *treeFixture) as(who ...metabase.Principal) *Directory {
	return New(storeTree{w, who}, schema.IIS())
}

// A storeTree is a store as one caller uses it.
type storeTree struct {
	*treeFixture
	who []metabase.Principal
}

func (s storeTree) view(ctx context.Context, p metabase.Path) (*metabase.View, error) {
	err := s.Allow(ctx, s.who, metabase.FromLua, p, metabase.Read)
	return s.Snapshot().View(s.who), err
}

func (s storeTree) Key(ctx context.Context, p metabase.Path) (Key, error) {
	v, err := s.view(ctx, p)
	if err != nil {
		return Key{}, err
	}
	return ReadKey(v, p), nil
}

func (s storeTree) Children(ctx context.Context, p metabase.Path) (out []Key, err error) {
	v, err := s.view(ctx, p)
	if err != nil {
		return nil, err
	}
	down := ReadKey(v, p).HandsDown()
	for key := range ReadChildren(v, p) {
		key.Inherited = down
		out = append(out, key)
	}
	return out, nil
}

func (s storeTree) DataPaths(ctx context.Context, p metabase.Path, id metabase.ID) ([]metabase.Path, error) {
	v, err := s.view(ctx, p)
	if err != nil {
		return nil, err
	}
	return v.DataPaths(p, id), nil
}

func (s storeTree) Apply(ctx context.Context, rev metabase.Rev, ops ...metabase.Op) error {
	b := metabase.Batch{Actor: s.who[0], Also: s.who[1:], Origin: metabase.FromLua, Ops: ops}
	if rev != 0 {
		b.IfRev = &rev
	}
	_, err := s.Store.Apply(ctx, b)
	return err
}

func (w *treeFixture) bind(t testing.TB, path string) *Object {
	t.Helper()
	o, err := w.as("user:root").GetObject(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// stored is the value as text, with its type.
func (w *treeFixture) stored(p metabase.Path, id metabase.ID) string {
	item, ok := w.Snapshot().Stored(p, id)
	if !ok {
		return ""
	}
	switch v := item.Value; v.Type() {
	case metabase.MultiSZType:
		return fmt.Sprintf("MULTISZ %q", v.Strings())
	case metabase.StringType, metabase.ExpandSZType:
		return fmt.Sprintf("%v %q", v.Type(), v.Str())
	default:
		return fmt.Sprint(v.Type(), " ", v)
	}
}

func code(err error) uint32 {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

const (
	site1 = "IIS://LocalHost/SMTPSVC/1"
	held1 = "IIS://LocalHost/SMTPSVC/1/Domain/held.test"
	held2 = "IIS://LocalHost/SMTPSVC/2/Domain/held.test"
)

// offices gives site 1 to user one, who may neither read site 2 nor know of it.
func twoSites(t *testing.T) *treeFixture {
	w := newTreeFixture(t)
	w.set(t, "/", "AccessList", "user:none read", "group:ops read,write")
	w.set(t, "/LM/SMTPSVC", "AccessList", "user:one read", "user:svc read")
	w.set(t, "/LM/SMTPSVC/1", "AccessList", "user:one read,write")
	w.set(t, "/LM/SMTPSVC/2", "AccessList", "user:two read")
	return w
}

func TestBindingAsksForTheRightToRead(t *testing.T) {
	tests := []struct {
		who  metabase.Principal
		path string
		code uint32
	}{
		{"user:root", held2, 0},
		{"user:one", held1, 0},
		{"user:one", "IIS://LocalHost/SMTPSVC/1/Domain/none.test", CodePathNotFound},
		{"user:one", "IIS://LocalHost/SMTPSVC", 0},
		{"user:one", "IIS://LocalHost", CodeAccessDenied},
		{"user:one", "IIS://LocalHost/SMTPSVC/2", CodeAccessDenied},
		{"user:one", held2, CodeAccessDenied},
		{"user:one", "IIS://LocalHost/SMTPSVC/2/Domain/none.test", CodeAccessDenied}, // the same as one that is there
		{"user:one", "IIS://LocalHost/W3SVC/1", CodeAccessDenied},
		{"user:svc", held1, CodeAccessDenied}, // the nearest list decides alone
		{"user:joe", "IIS://LocalHost/SMTPSVC", CodeAccessDenied},
		{"user:one", "IIS://elsewhere/SMTPSVC", CodeNoHost},
	}
	w := twoSites(t)
	for _, tt := range tests {
		w.refused = nil
		o, err := w.as(tt.who).GetObject(t.Context(), tt.path)
		if code(err) != tt.code || (err == nil) != (o != nil) {
			t.Errorf("%s binds %s: %v, want 0x%X", tt.who, tt.path, err, tt.code)
		}
		if audited := len(w.refused) == 1; audited != (tt.code == CodeAccessDenied) {
			t.Errorf("%s binds %s: the log was told %v", tt.who, tt.path, w.refused)
		} else if audited && (w.refused[0].Actor != tt.who || w.refused[0].Need != metabase.Read || w.refused[0].Origin != metabase.FromLua) {
			t.Errorf("%s binds %s: the log was told %+v", tt.who, tt.path, w.refused[0])
		}
	}
	there, _ := w.as("user:one").GetObject(t.Context(), held2)
	gone, err := w.as("user:one").GetObject(t.Context(), strings.Replace(held2, "held", "none", 1))
	if _, err2 := w.as("user:one").GetObject(t.Context(), held2); there != nil || gone != nil ||
		strings.ReplaceAll(err.Error(), "none", "held") != err2.Error() {
		t.Errorf("one can tell %v from %v", err, err2)
	}
}

// Whatever may not be read is not there for those who look around.
func TestWhatMayNotBeReadIsLeftOut(t *testing.T) {
	w := twoSites(t)
	ctx := t.Context()
	for _, tt := range []struct{ who, children, paths string }{
		{"user:root", "1 2", held1 + " " + held2},
		{"user:one", "1", held1},
		{"user:svc", "", ""},
	} {
		svc, err := w.as(metabase.Principal(tt.who)).GetObject(ctx, "IIS://LocalHost/SMTPSVC")
		if err != nil {
			t.Fatal(err)
		}
		children, err := svc.Children(ctx, "")
		var names []string
		for _, child := range children {
			names = append(names, child.Name())
		}
		if got := strings.Join(names, " "); err != nil || got != tt.children {
			t.Errorf("%s sees children %q, %v; want %q", tt.who, got, err, tt.children)
		}
		paths, err := svc.GetDataPaths(ctx, "AuthTurnList", false)
		if got := strings.Join(paths, " "); err != nil || got != tt.paths {
			t.Errorf("%s sees data paths %q, %v; want %q", tt.who, got, err, tt.paths)
		}
	}
}

// An object that was bound gives nothing more when the right is taken away, but
// what it has read before.
func TestARightThatIsTakenAwayIsMissedAtOnce(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	o, err := w.as("user:joe", "group:staff").GetObject(ctx, held1) // without a list everybody reads
	if err != nil {
		t.Fatal(err)
	}
	if v, err := o.Get(ctx, "RouteUserName"); err != nil || v != "joe" {
		t.Fatalf("RouteUserName %v, %v", v, err)
	}
	w.set(t, "/", "AccessList", "user:joe none")
	calls := map[string]func() error{
		"SetInfo":      func() error { return o.SetInfo(ctx) },
		"GetInfo":      func() error { return o.GetInfo(ctx) },
		"Children":     func() error { _, err := o.Children(ctx, ""); return err },
		"GetDataPaths": func() error { _, err := o.GetDataPaths(ctx, "AuthTurnList", false); return err },
		"GetObject":    func() error { _, err := o.GetObject(ctx, "", "x"); return err },
		"Create":       func() error { _, err := o.Create(ctx, "IIsSmtpDomain", "x.test"); return err },
		"Delete":       func() error { return o.Delete(ctx, "", "x") },
		"CopyHere":     func() error { _, err := o.CopyHere(ctx, "x", "y"); return err },
		"Start":        func() error { return (&Object{dir: o.dir, path: "/LM/SMTPSVC/1", class: "IIsSmtpServer"}).Start(ctx) },
		"Get": func() error { // after a change by the script itself
			o.dir.edits++
			_, err := o.Get(ctx, "RouteUserName")
			return err
		},
		"Status": func() error {
			_, err := (&Object{dir: o.dir, path: "/LM/SMTPSVC/1", class: "IIsSmtpServer"}).Status(ctx)
			return err
		},
	}
	for name, call := range calls {
		w.refused = nil
		if err := call(); code(err) != CodeAccessDenied || len(w.refused) == 0 {
			t.Errorf("%s: %v, and the log was told %v", name, err, w.refused)
		}
	}
	w.set(t, "/", "AccessList", "group:staff read")
	if _, err := o.Get(ctx, "RouteUserName"); err != nil {
		t.Errorf("a group's right: %v", err)
	}
}

func TestRefusalsNameTheProperty(t *testing.T) {
	w := newTreeFixture(t)
	o := w.bind(t, site1)
	o.dir = w.as("user:joe")
	for name, v := range map[string]any{"RelayForAuth": true, "RouteAction": 2.0, "MaxRecipients": 5.0} {
		if err := o.Put(t.Context(), name, v); err != nil {
			t.Fatal(err)
		}
	}
	err := o.SetInfo(t.Context())
	if code(err) != CodeAccessDenied || strings.Contains(err.Error(), "property ") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"RelayForAuth", "RouteAction", "MaxRecipients"} {
		if !strings.Contains(fmt.Sprint(err), "/LM/SMTPSVC/1: "+name+": denied") {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestErrorsHaveTheirCode(t *testing.T) {
	tests := []struct {
		err  error
		want uint32
	}{
		{metabase.NotFound, CodePathNotFound},
		{metabase.Exists, CodeAlreadyExists},
		{&metabase.Error{Op: "read", Kind: metabase.Denied}, CodeAccessDenied},
		{&metabase.Refused{Problems: []metabase.Problem{{Err: metabase.Invalid}}}, CodeInvalid},
		{errors.New("the disk"), CodeFailed},
		{&Error{Code: CodeNotSet}, CodeNotSet}, // stays what it is
	}
	for _, tt := range tests {
		if got := code(newTreeFixture(t).as("").wrap("Op", "on", tt.err)); got != tt.want {
			t.Errorf("%v: 0x%X, want 0x%X", tt.err, got, tt.want)
		}
	}
	if err := newTreeFixture(t).as("").wrap("Op", "on", nil); err != nil {
		t.Errorf("nothing is wrapped as %v", err)
	}
}
