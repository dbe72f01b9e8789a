// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"restante/metabase"
)

func (o *Object) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Two scripts change one list, or bits of one number, at the same time: each
// finds what it wrote, whichever was first.
func TestScriptsThatRunTogetherLoseNothing(t *testing.T) {
	const scripts = 8
	w := newTreeFixture(t)
	ctx := t.Context()
	w.set(t, "/LM/SMTPSVC/1", "AuthFlags", "0")
	flags := []string{"AuthAnonymous", "AuthBasic", "AuthNTLM"}
	var all sync.WaitGroup
	errs := make(chan error, scripts*4)
	for n := range scripts {
		domain, site := w.bind(t, held1), w.bind(t, site1)
		all.Go(func() {
			for i := range 4 {
				errs <- errors.Join(
					domain.PutEx(ctx, OpAppend, "AuthTurnList", []string{fmt.Sprintf("acct%d-%d", n, i)}),
					site.Put(ctx, flags[n%len(flags)], true), site.SetInfo(ctx), domain.SetInfo(ctx))
			}
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	item, _ := w.Snapshot().Stored("/LM/SMTPSVC/1/Domain/held.test", 36966)
	if got := item.Value.Strings(); len(got) != 2+scripts*4 {
		t.Errorf("%d members of %d: %q", len(got), 2+scripts*4, got)
	}
	if got := w.stored("/LM/SMTPSVC/1", 6000); got != "DWORD 7" {
		t.Errorf("AuthFlags %s", got)
	}
}

// What another wrote between a script's Put and its SetInfo stays, but for the
// very property that was Put.
func TestSetInfoWritesItsEditsOnTopOfTheNewest(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	mine, theirs := w.bind(t, held1), w.bind(t, held1)
	mine.must(t, errors.Join(
		mine.PutEx(ctx, OpAppend, "AuthTurnList", []string{"mine"}), mine.PutEx(ctx, OpDelete, "AuthTurnList", []string{"A"}),
		mine.Put(ctx, "RouteUserName", "mine"),
		theirs.PutEx(ctx, OpAppend, "AuthTurnList", []string{"theirs"}), theirs.Put(ctx, "RouteUserName", "theirs"),
		theirs.Put(ctx, "RouteAction", 2.0), theirs.SetInfo(ctx)))
	if got, err := mine.Get(ctx, "AuthTurnList"); fmt.Sprint(got) != "[b mine]" || err != nil {
		t.Errorf("before SetInfo: %v, %v", got, err)
	}
	mine.must(t, mine.SetInfo(ctx))
	for id, want := range map[metabase.ID]string{36966: `MULTISZ ["b" "theirs" "mine"]`, 36946: "DWORD 2"} {
		if got := w.stored("/LM/SMTPSVC/1/Domain/held.test", id); got != want {
			t.Errorf("%d: %s, want %s", id, got, want)
		}
	}
	if got, _ := mine.Get(ctx, "RouteUserName"); got != "mine" {
		t.Errorf("the last writer's is %v", got)
	}
}

// A busy tree refuses every batch of a script that looked before.
type busy struct {
	Tree
	left   int // refusals still to come
	cancel context.CancelFunc
}

func (b *busy) Apply(ctx context.Context, rev metabase.Rev, ops ...metabase.Op) error {
	if b.left--; b.left >= 0 {
		return &metabase.Error{Op: "apply", Kind: metabase.Conflict}
	}
	if b.cancel != nil {
		b.cancel()
		return &metabase.Error{Op: "apply", Kind: metabase.Conflict}
	}
	return b.Tree.Apply(ctx, rev, ops...)
}

func TestSetInfoGoesOnUntilItHolds(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	o := w.bind(t, held1)
	o.dir.tree = &busy{Tree: o.dir.tree, left: 20}
	o.must(t, errors.Join(o.Put(ctx, "RouteAction", 2.0), o.SetInfo(ctx)))
	if got := w.stored("/LM/SMTPSVC/1/Domain/held.test", 36946); got != "DWORD 2" {
		t.Errorf("RouteAction %s", got)
	}
	ctx, cancel := context.WithCancel(ctx)
	o.dir.tree = &busy{Tree: o.dir.tree, cancel: cancel}
	if err := errors.Join(o.Put(ctx, "RouteAction", 4.0), o.SetInfo(ctx)); !errors.Is(err, metabase.Conflict) {
		t.Errorf("with its context gone: %v", err)
	}
}

// A late tree stores every batch, and says that it has no effect yet.
type late struct{ Tree }

func (l late) Apply(ctx context.Context, rev metabase.Rev, ops ...metabase.Op) error {
	return errors.Join(l.Tree.Apply(ctx, rev, ops...), ErrStored)
}

// What is stored with an error is not written again.
func TestSetInfoOfWhatIsStored(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	domains := w.bind(t, "IIS://LocalHost/SMTPSVC/1/Domain")
	domains.dir.tree = late{domains.dir.tree}
	o, err := domains.Create(ctx, "IIsSmtpDomain", "new.test")
	domains.must(t, err)
	if err := o.SetInfo(ctx); !errors.Is(err, ErrStored) {
		t.Fatalf("SetInfo: %v", err)
	}
	if err := o.SetInfo(ctx); err != nil {
		t.Errorf("SetInfo again: %v", err)
	}
}

// One case of TestEdits.
type editCase struct {
	what  string
	edits func(context.Context, *Object) error
	name  string
	get   any    // before SetInfo
	store string // after it
}

func TestEdits(t *testing.T) {
	put := func(name string, v any) func(context.Context, *Object) error {
		return func(ctx context.Context, o *Object) error { return o.Put(ctx, name, v) }
	}
	ex := func(op int, name string, v any) func(context.Context, *Object) error {
		return func(ctx context.Context, o *Object) error { return o.PutEx(ctx, op, name, v) }
	}
	then := func(list ...func(context.Context, *Object) error) func(context.Context, *Object) error {
		return func(ctx context.Context, o *Object) error {
			for _, f := range list {
				if err := f(ctx, o); err != nil {
					return err
				}
			}
			return nil
		}
	}
	tests := []editCase{
		{"a number", put("RouteAction", 514.0), "RouteAction", uint32(514), "DWORD 514"},
		{"a number as text", put("RouteAction", "0x202"), "RouteAction", uint32(514), "DWORD 514"},
		{"the last of two", then(put("RouteAction", 1.0), put("routeaction", 2.0)), "RouteAction", uint32(2), "DWORD 2"},
		{"one word in a list", put("AuthTurnList", "x"), "AuthTurnList", []string{"x"}, `MULTISZ ["x"]`},
		{"an append", ex(OpAppend, "AuthTurnList", []string{"c"}), "AuthTurnList", []string{"a", "b", "c"}, `MULTISZ ["a" "b" "c"]`},
		{"an append of what is there", ex(OpAppend, "AuthTurnList", []string{"A"}), "AuthTurnList", []string{"b", "A"}, `MULTISZ ["b" "A"]`},
		{"a delete, case ignored", ex(OpDelete, "AuthTurnList", "B"), "AuthTurnList", []string{"a"}, `MULTISZ ["a"]`},
		{"an append after a put", then(put("AuthTurnList", "x"), ex(OpAppend, "AuthTurnList", "y")), "AuthTurnList", []string{"x", "y"}, `MULTISZ ["x" "y"]`},
		{"an append after a clear", then(ex(OpClear, "AuthTurnList", nil), ex(OpAppend, "AuthTurnList", "y")), "AuthTurnList", []string{"y"}, `MULTISZ ["y"]`},
		{"accounts of a domain of Windows, as one text", put("AuthTurnList", `DOM\x, DOM\y`), "AuthTurnList", []string{"x", "y"}, `MULTISZ ["x" "y"]`},
		{"accounts of a domain of Windows, as a list", put("AuthTurnList", []string{`DOM\x`, "y"}), "AuthTurnList", []string{"x", "y"}, `MULTISZ ["x" "y"]`},
		{"an update of them", ex(OpUpdate, "AuthTurnList", []string{`DOM\x`}), "AuthTurnList", []string{"x"}, `MULTISZ ["x"]`},
		{"an append of one", ex(OpAppend, "AuthTurnList", []string{`DOM\c`}), "AuthTurnList", []string{"a", "b", "c"}, `MULTISZ ["a" "b" "c"]`},
		{"a delete of one", ex(OpDelete, "AuthTurnList", []string{`DOM\B`}), "AuthTurnList", []string{"a"}, `MULTISZ ["a"]`},
		{"a clear shows what is above", ex(OpClear, "RouteUserName", nil), "RouteUserName", "from above", ""},
		{"a flag", put("RouteAction", 1.0), "RouteAction", uint32(1), "DWORD 1"},
		{"a secret is not shown", put("RoutePassword", "new"), "RoutePassword", "**********", "STRING **********"},
	}
	for _, tt := range tests {
		w := newTreeFixture(t)
		w.set(t, "/LM/SMTPSVC/1", "RouteUserName", "from above")
		ctx := t.Context()
		o := w.bind(t, held1)
		before := w.Snapshot().Rev()
		if err := tt.edits(ctx, o); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		if got, err := o.Get(ctx, tt.name); err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", tt.get) {
			t.Errorf("%s: Get %#v, %v; want %#v", tt.what, got, err, tt.get)
		}
		if w.Snapshot().Rev() != before {
			t.Errorf("%s: is written before SetInfo", tt.what)
		}
		o.must(t, o.SetInfo(ctx))
		p, _ := o.dir.schema.Lookup(tt.name)
		item, ok := w.Snapshot().Stored(o.path, p.ID)
		if got := w.stored(o.path, p.ID); p.Attr&metabase.Secure == 0 && got != tt.store || ok != (tt.store != "") {
			t.Errorf("%s: stored %s %v, want %s", tt.what, got, item, tt.store)
		}
		if rev := w.Snapshot().Rev(); o.SetInfo(ctx) != nil || w.Snapshot().Rev() != rev {
			t.Errorf("%s: a second SetInfo has something to write", tt.what)
		}
	}
}

func TestFlags(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	w.set(t, "/LM/SMTPSVC", "AuthFlags", "1")
	o := w.bind(t, site1)
	o.must(t, errors.Join(o.Put(ctx, "AuthBasic", true), o.Put(ctx, "AuthNTLM", true), o.Put(ctx, "AuthNTLM", false), o.Put(ctx, "AuthAnonymous", false)))
	w.set(t, "/LM/SMTPSVC", "AuthFlags", "5") // what is inherited changes meanwhile
	o.must(t, o.SetInfo(ctx))
	if got := w.stored("/LM/SMTPSVC/1", 6000); got != "DWORD 2" {
		t.Errorf("AuthFlags %s", got)
	}
	o.must(t, errors.Join(o.Put(ctx, "AuthBasic", true), o.Put(ctx, "AuthFlags", 4.0), o.SetInfo(ctx)))
	if got := w.stored("/LM/SMTPSVC/1", 6000); got != "DWORD 4" {
		t.Errorf("the whole after a bit: AuthFlags %s", got)
	}
}

// A property that no table knows keeps what its item has.
func TestNumbersWithoutAName(t *testing.T) {
	item := func(v metabase.Value) *metabase.Property {
		return &metabase.Property{ID: 61600, Attr: metabase.Inherit | metabase.Reference, UserType: 100, Value: v}
	}
	tests := []struct {
		stored *metabase.Property
		value  any
		want   string // "" for an error
	}{
		{nil, 5.0, "DWORD 5"},
		{nil, -1.0, "DWORD 4294967295"},
		{nil, 4294967296.0, ""},
		{nil, 1.5, ""},
		{nil, true, "DWORD 1"},
		{nil, false, "DWORD 0"},
		{nil, "5", `STRING "5"`},
		{nil, []string{"5"}, `MULTISZ ["5"]`},
		{item(metabase.DWord(1)), "7", "DWORD 7"},
		{item(metabase.DWord(1)), true, "DWORD 1"},
		{item(metabase.DWord(1)), "x", ""},
		{item(metabase.String("x")), 5.0, `STRING "5"`},
		{item(metabase.ExpandSZ("%x%")), "%y%", `EXPANDSZ "%y%"`},
		{item(metabase.MultiSZ("x")), "y", `MULTISZ ["y"]`},
		{item(metabase.Binary([]byte{1})), "ff00", "BINARY ff00"},
		{item(metabase.Binary([]byte{1})), "no digits", ""},
	}
	for _, tt := range tests {
		w := newTreeFixture(t)
		if tt.stored != nil {
			w.apply(t, metabase.Set{Path: "/LM/SMTPSVC/1", Property: *tt.stored})
		}
		o := w.bind(t, site1)
		err := o.Put(t.Context(), "61600", tt.value)
		if tt.want == "" {
			if code(err) != CodeInvalid {
				t.Errorf("%v on %v: %v", tt.value, tt.stored, err)
			}
			continue
		}
		o.must(t, errors.Join(err, o.SetInfo(t.Context())))
		if got := w.stored("/LM/SMTPSVC/1", 61600); got != tt.want {
			t.Errorf("%v on %v: %s, want %s", tt.value, tt.stored, got, tt.want)
		}
		got, _ := w.Snapshot().Stored("/LM/SMTPSVC/1", 61600)
		if tt.stored != nil && (got.Attr != tt.stored.Attr || got.UserType != tt.stored.UserType) {
			t.Errorf("%v on %v: attributes %v, user type %v", tt.value, tt.stored, got.Attr, got.UserType)
		}
	}
}

// A secret without a name is a secret all the same.
func TestASecretWithoutANameIsNotShown(t *testing.T) {
	w := newTreeFixture(t)
	w.apply(t, metabase.Set{Path: "/LM/SMTPSVC", Property: metabase.Property{ID: 61600, Attr: metabase.Inherit | metabase.Secure, Value: metabase.String("pw")}})
	for _, path := range []string{"IIS://LocalHost/SMTPSVC", site1} {
		if v, err := w.bind(t, path).Get(t.Context(), "61600"); err != nil || v != "**********" {
			t.Errorf("%s: %v, %v", path, v, err)
		}
	}
}

// Asterisks for a secret that nobody set would report one that does not exist.
func TestASecretThatIsNotSetIsEmpty(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	get := func(p, name string) string {
		v, err := w.bind(t, p).Get(ctx, name)
		return fmt.Sprintf("%q %v", v, err)
	}
	for _, name := range []string{"RoutePassword", "AnonymousUserPass", "LogOdbcPassword", "AdminACL"} {
		if got := get(site1, name); got != `"" <nil>` {
			t.Errorf("%s: %s", name, got)
		}
	}
	held := w.bind(t, held1)
	held.must(t, held.PutEx(ctx, OpClear, "RoutePassword", nil))
	if got, err := held.Get(ctx, "RoutePassword"); got != "" || err != nil {
		t.Errorf("cleared: %q, %v", got, err)
	}
	w.set(t, "/LM/SMTPSVC/1", "RoutePassword", "secret") // inherited below it
	for _, p := range []string{site1, "IIS://LocalHost/SMTPSVC/1/Domain"} {
		if got := get(p, "RoutePassword"); got != `"**********" <nil>` {
			t.Errorf("%s: %s", p, got)
		}
	}
}

func TestALockOutlastsTheValue(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	o := w.bind(t, site1)
	o.must(t, errors.Join(o.Put(ctx, "MaxRecipients", 50.0), o.SetInfo(ctx)))
	item, _ := w.Snapshot().Stored("/LM/SMTPSVC/1", 36884)
	for _, p := range w.Snapshot().Properties("/LM/SMTPSVC/1") {
		if known, ok := o.dir.schema.ByID(p.ID); ok && known.Name == "MaxRecipients" {
			item = p
		}
	}
	item.Attr |= metabase.Locked
	w.apply(t, metabase.Set{Path: "/LM/SMTPSVC/1", Property: item})
	o.must(t, errors.Join(o.Put(ctx, "MaxRecipients", 60.0), o.SetInfo(ctx)))
	if got, _ := w.Snapshot().Stored("/LM/SMTPSVC/1", item.ID); got.Attr&metabase.Locked == 0 || got.Value.DWord() != 60 {
		t.Errorf("stored %v", got)
	}
}

func TestMistakesOfScripts(t *testing.T) {
	ctx := t.Context()
	tests := []struct {
		what string
		do   func(*Object) error
		code uint32
		text string
	}{
		{"a slip", func(o *Object) error { _, err := o.Get(ctx, "RoutAction"); return err }, CodeUnknownProp, `did you mean "RouteAction"?`},
		{"another class's", func(o *Object) error { return o.Put(ctx, "MaxMessageSize", 1.0) }, CodeUnknownProp, "has no MaxMessageSize"},
		{"not set", func(o *Object) error { _, err := o.Get(ctx, "61600"); return err }, CodeNotSet, "61600 is not set"},
		{"no number", func(o *Object) error { return o.Put(ctx, "RouteAction", "x") }, CodeInvalid, "RouteAction: "},
		{"an append to no list", func(o *Object) error { return o.PutEx(ctx, OpAppend, "RouteAction", "1") }, CodeInvalid, "RouteAction: is not a list"},
		{"an operation", func(o *Object) error { return o.PutEx(ctx, 9, "AuthTurnList", "1") }, CodeInvalid, "operation 9"},
		{"a list of addresses for another", func(o *Object) error { return o.Put(ctx, "RouteAction", IPList{}) }, CodeInvalid, "takes no list of addresses"},
		{"a value of Go", func(o *Object) error { return o.Put(ctx, "RouteAction", 1) }, CodeInvalid, "takes no int"},
		{"another class", func(o *Object) error { return o.Put(ctx, "KeyType", "IIsSmtpServer") }, CodeInvalid, "cannot be changed"},
		{"no class", func(o *Object) error { return o.Put(ctx, "KeyType", "IIsNothing") }, CodeInvalid, "there is no class"},
		{"a class of two words", func(o *Object) error { return o.Put(ctx, "KeyType", []string{"a", "b"}) }, CodeInvalid, "takes one word"},
		{"a filter", func(o *Object) error { return o.SetFilter([]string{"IIsNothing"}) }, CodeInvalid, "there is no class"},
		{"a child without a name", func(o *Object) error { _, err := o.Create(ctx, "IIsSmtpDomain", "/"); return err }, CodeBadName, "the name is empty"},
		{"a child that is there", func(o *Object) error { _, err := o.parent(ctx).Create(ctx, "IIsSmtpDomain", "HELD.test"); return err }, CodeAlreadyExists, "exists already"},
		{"a child of another class", func(o *Object) error { _, err := o.parent(ctx).GetObject(ctx, "IIsSmtpUser", "held.test"); return err }, CodePathNotFound, "of class IIsSmtpDomain"},
		{"a start of what is no site", func(o *Object) error { return o.Start(ctx) }, CodeUnknownProp, "has no ServerCommand"},
	}
	for _, tt := range tests {
		w := newTreeFixture(t)
		rev := w.Snapshot().Rev()
		o := w.bind(t, held1)
		if err := tt.do(o); code(err) != tt.code || !strings.Contains(fmt.Sprint(err), tt.text) {
			t.Errorf("%s: %v, want %q (0x%X)", tt.what, err, tt.text, tt.code)
		}
		// What was refused is not in the cache.
		if err := o.SetInfo(ctx); err != nil || w.Snapshot().Rev() != rev {
			t.Errorf("%s: SetInfo wrote something, %v", tt.what, err)
		}
	}
}

func (o *Object) parent(ctx context.Context) *Object {
	p, err := o.dir.GetObject(ctx, o.Parent())
	if err != nil {
		panic(err)
	}
	return p
}

// SetInfo writes all or nothing, and the cache then still holds it.
func TestARefusedSetInfoKeepsItsEdits(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	d, err := w.bind(t, held1).parent(ctx).Create(ctx, "IIsSmtpDomain", "new.test")
	d.must(t, errors.Join(err, d.Put(ctx, "RouteAction", 2.0)))
	if got, err := d.Get(ctx, "RouteAction"); err != nil || got != uint32(2) {
		t.Errorf("Get before SetInfo: %v, %v", got, err)
	}
	if err := d.GetInfo(ctx); code(err) != CodePathNotFound {
		t.Errorf("GetInfo before SetInfo: %v", err)
	}
	if _, err := d.Children(ctx, ""); code(err) != CodePathNotFound {
		t.Errorf("Children before SetInfo: %v", err)
	}
	w.apply(t, metabase.AddKey{Path: d.path, Class: "IIsSmtpDomain"}) // somebody was quicker
	if err := d.SetInfo(ctx); code(err) != CodeAlreadyExists {
		t.Errorf("SetInfo: %v", err)
	}
	w.apply(t, metabase.Remove{Path: d.path})
	d.must(t, d.SetInfo(ctx))
	if got := w.stored(d.path, 36946); got != "DWORD 2" {
		t.Errorf("RouteAction %s", got)
	}
	w.apply(t, metabase.Remove{Path: d.path})
	if err := d.GetInfo(ctx); code(err) != CodePathNotFound {
		t.Errorf("GetInfo of what is gone: %v", err)
	}
}

// What a new key will inherit is what the one above hands down, not what that
// one has for itself.
func TestANewKeyShowsWhatItWillInherit(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	w.apply(t, metabase.Set{Path: "/LM/SMTPSVC/1/Domain", Property: metabase.Property{ID: 61600, Value: metabase.DWord(1)}},
		metabase.Set{Path: "/LM/SMTPSVC/1", Property: metabase.Property{ID: 61601, Attr: metabase.Inherit, Value: metabase.DWord(2)}})
	d, err := w.bind(t, held1).parent(ctx).Create(ctx, "IIsSmtpDomain", "new.test")
	d.must(t, err)
	if got, err := d.Get(ctx, "61600"); code(err) != CodeNotSet {
		t.Errorf("what stays above: %v, %v", got, err)
	}
	if got, err := d.Get(ctx, "61601"); got != uint32(2) || err != nil {
		t.Errorf("what is handed down: %v, %v", got, err)
	}
}

func TestContainers(t *testing.T) {
	w := newTreeFixture(t)
	ctx := t.Context()
	c := w.bind(t, held1).parent(ctx)
	names := func() string {
		children, err := c.Children(ctx, "")
		c.must(t, err)
		var out []string
		for _, child := range children {
			out = append(out, child.Name())
		}
		return strings.Join(out, " ")
	}
	copied, err := c.CopyHere(ctx, "held.test", "b.test")
	c.must(t, err)
	if got, err := copied.Get(ctx, "AuthTurnList"); err != nil || !slices.Equal(got.([]string), []string{"a", "b"}) || copied.Name() != "b.test" {
		t.Errorf("the copy has %v, %v", got, err)
	}
	if _, err := c.MoveHere(ctx, "b.test", "held.test"); code(err) != CodeAlreadyExists {
		t.Errorf("a move to what is there: %v", err)
	}
	if _, err = c.MoveHere(ctx, "b.test", "c.test"); err != nil || names() != "c.test held.test" {
		t.Errorf("after the move: %s, %v", names(), err)
	}
	if err := c.Delete(ctx, "IIsSmtpUser", "c.test"); code(err) != CodePathNotFound || names() != "c.test held.test" {
		t.Errorf("a delete by another class: %v", err)
	}
	if err := c.Delete(ctx, "IIsObject", "C.TEST"); err != nil || names() != "held.test" {
		t.Errorf("after the delete: %s, %v", names(), err)
	}
	svc := w.bind(t, "IIS://LocalHost/SMTPSVC")
	w.apply(t, metabase.AddKey{Path: "/LM/SMTPSVC/1/Other"})
	site := w.bind(t, site1)
	for _, tt := range []struct {
		o      *Object
		filter []string
		class  string
		want   int
	}{
		{svc, nil, "", 2}, {svc, []string{"iissmtpserver"}, "", 2}, {svc, []string{"IIsSmtpDomain"}, "", 0},
		{site, nil, "", 2}, {site, []string{"IIsSmtpDomain"}, "", 1}, {site, []string{"IIsSmtpDomain"}, "IIsObject", 1},
		{site, []string{"IIsSmtpDomain", "IIsObject"}, "", 2},
	} {
		tt.o.must(t, tt.o.SetFilter(tt.filter))
		if got, err := tt.o.Children(ctx, tt.class); err != nil || len(got) != tt.want {
			t.Errorf("%s by %q, %q: %d children, %v; want %d", tt.o.Name(), tt.filter, tt.class, len(got), err, tt.want)
		}
	}
}
