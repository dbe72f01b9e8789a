// SPDX-License-Identifier: Apache-2.0

package adsitree

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"restante/admin/api"
	adsi "restante/adsi-compat"
	"restante/metabase"
)

// A transaction shows each key as the service does after the same changes, whatever
// they are, and commits to that.
func TestATransactionReadsItsChanges(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 15 {
		conn, store := fixture(t)
		paths := []metabase.Path{p1, p1.Join("Domain"), "/LM/SMTPSVC"}
		for _, name := range []string{"a", "b", "c", "a/x", "b/x", "a/x/y"} {
			paths = append(paths, p1.Join("Domain")+metabase.Path("/"+name))
		}
		tx, want := New(conn("user:boss"), api.Terms{}), NewDryRun(conn("user:boss"), api.Terms{})
		if err := tx.Begin(); err != nil {
			t.Fatal(err)
		}
		any := func() metabase.Path { return paths[rnd.IntN(len(paths))] }
		for range 12 {
			var op metabase.Op
			switch p := any(); rnd.IntN(8) {
			case 0, 1, 2:
				op = metabase.AddKey{Path: p, Class: "IIsSmtpDomain"}
			case 3, 4:
				attr := metabase.Attr(0)
				if rnd.IntN(2) == 0 {
					attr = metabase.Inherit
				}
				op = metabase.Set{Path: p, Property: metabase.Property{ID: metabase.ID(61600 + rnd.IntN(2)), Attr: attr, Value: metabase.DWord(rnd.Uint32())}}
			case 5:
				op = metabase.Unset{Path: p, ID: metabase.ID(61600 + rnd.IntN(2))}
			case 6:
				if p == p1 || p == p1.Parent() {
					continue
				}
				op = metabase.Remove{Path: p, Recursive: true}
			case 7:
				if from, to := any(), paths[3+rnd.IntN(len(paths)-3)]; rnd.IntN(2) == 0 {
					op = metabase.Copy{From: from, To: to}
				} else if from != p1 && from != p1.Parent() {
					op = metabase.Move{From: from, To: to}
				} else {
					continue
				}
			}
			if rnd.IntN(2) == 0 {
				_, _ = tx.Key(t.Context(), any()) // read before or not
			}
			if set, ok := op.(metabase.Unset); ok {
				k, err := want.Key(t.Context(), set.Path)
				if err != nil || !slices.ContainsFunc(k.Stored, func(p metabase.Property) bool { return p.ID == set.ID }) {
					continue
				}
			}
			if err := want.Apply(t.Context(), 0, op); err != nil {
				continue // the service would refuse it
			}
			if err := tx.Apply(t.Context(), 0, op); err != nil {
				t.Fatalf("%+v: %v", op, err)
			}
			for _, p := range paths {
				compareKeys(t, tx, want, p, op)
			}
			if t.Failed() {
				return
			}
		}
		expected := map[metabase.Path]adsi.Key{}
		for _, p := range paths {
			expected[p], _ = want.Key(t.Context(), p)
		}
		before := store.Snapshot().Rev()
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rev := store.Snapshot().Rev(); rev > before+1 {
			t.Errorf("revisions %d to %d", before, rev)
		}
		for _, p := range paths {
			if got, err := tx.Key(t.Context(), p); err != nil || plain(got) != plain(expected[p]) {
				t.Errorf("committed %s: %s, %v; want %s", p, plain(got), err, plain(expected[p]))
			}
		}
		if t.Failed() {
			return
		}
	}
}

func compareKeys(t *testing.T, tx, want *Tree, p metabase.Path, op metabase.Op) {
	t.Helper()
	a, err := tx.Key(t.Context(), p)
	b, err2 := want.Key(t.Context(), p)
	if plain(a) != plain(b) || !reflect.DeepEqual(err, err2) {
		t.Errorf("after %+v: %s: %s, %v\nthe service: %s, %v", op, p, plain(a), err, plain(b), err2)
	}
}

// plain is what a script sees of a key.
func plain(k adsi.Key) string {
	text := fmt.Sprint(k.Class, k.Exists)
	for _, list := range [][]metabase.Property{k.Stored, k.Inherited} {
		var items []string
		for _, p := range list {
			if p.ID == metabase.KeyType || p.ID >= 61600 && p.ID <= 61601 {
				items = append(items, fmt.Sprint(p.ID, p.Attr, p.Value))
			}
		}
		slices.Sort(items)
		text += fmt.Sprint(items)
	}
	return text
}

// A transaction conflicts with what others change after its first read, whether that
// read follows a change of its own or not, and with nothing else.
func TestATransactionsFirstRead(t *testing.T) {
	add := api.Line{Words: []string{"add", string(p1.Join("Domain/a.test")), "IIsSmtpDomain"}}
	reads := map[string]func(*Tree) error{
		"a key":      func(tr *Tree) error { _, err := tr.Key(t.Context(), p1); return err },
		"a new key":  func(tr *Tree) error { _, err := tr.Key(t.Context(), p1.Join("Domain/a.test")); return err },
		"children":   func(tr *Tree) error { _, err := tr.Children(t.Context(), p1.Join("Domain")); return err },
		"data paths": func(tr *Tree) error { _, err := tr.DataPaths(t.Context(), "/LM", 1002); return err },
		"an export":  func(tr *Tree) error { _, err := tr.Export(t.Context(), string(p1), false, false); return err },
		"of a module": func(tr *Tree) error {
			_, _, err := api.MbShow.Call(t.Context(), tr, api.ShowRequest{Path: string(p1)})
			return err
		},
	}
	for name, read := range reads {
		for _, changeFirst := range []bool{false, true} {
			for _, another := range []bool{false, true} {
				conn, store := fixture(t)
				tr := New(conn("user:boss"), api.Terms{})
				err := tr.Begin()
				if changeFirst {
					_, err = tr.ApplyLines(t.Context(), []api.Line{add})
				}
				if err == nil && (changeFirst || name != "a new key") {
					err = read(tr)
				}
				if another {
					apply(t, store, metabase.Set{Path: p1, Property: metabase.Property{ID: 61600, Value: metabase.DWord(1)}})
				}
				if !changeFirst && err == nil {
					_, err = tr.ApplyLines(t.Context(), []api.Line{add})
				}
				if err != nil {
					t.Fatal(err)
				}
				conflict := another && (changeFirst || name != "a new key")
				if err := tr.Commit(t.Context()); errors.Is(err, metabase.Conflict) != conflict || err != nil && !conflict {
					t.Errorf("%s, a change first %t, another's change %t: %v", name, changeFirst, another, err)
				}
			}
		}
	}
}

// What is no batch is refused within a transaction, and so leaves nothing when that
// fails.
func TestATransactionTakesOnlyBatches(t *testing.T) {
	conn, store := fixture(t)
	tr, ctx := New(conn("user:boss"), api.Terms{}), t.Context()
	if err := tr.Backup(ctx, "kept", ""); err != nil {
		t.Fatal(err)
	}
	apply(t, store, metabase.Set{Path: p1, Property: metabase.Property{ID: 61600, Value: metabase.DWord(1)}})
	xml, err := tr.Export(ctx, string(p1), false, false)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, store, metabase.Unset{Path: p1, ID: 61600})
	before := store.Snapshot().Rev()
	calls := map[string]func() error{
		"Backup":       func() error { return tr.Backup(ctx, "new", "") },
		"DeleteBackup": func() error { return tr.DeleteBackup(ctx, "kept", adsi.NewestBackup) },
		"Restore":      func() error { return tr.Restore(ctx, "kept", adsi.NewestBackup, "") },
		"Import":       func() error { return tr.Import(ctx, xml, "", true, false) },
		"EndSession":   func() error { return tr.EndSession(ctx, 1, "") },
	}
	if err := tr.Begin(); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls {
		if err := call(); err == nil || !strings.HasSuffix(err.Error(), "is a change of its own: it cannot be in a transaction") {
			t.Errorf("%s: %v", name, err)
		}
	}
	tr.Rollback()
	list, err := tr.Backups(ctx)
	if rev := store.Snapshot().Rev(); err != nil || rev != before || len(list) != 1 || list[0].Name != "kept" {
		t.Errorf("revision %d, was %d; backups %v, %v", rev, before, list, err)
	}
	for _, name := range []string{"Import", "Restore", "DeleteBackup", "Backup"} {
		if err := calls[name](); err != nil {
			t.Errorf("%s after it: %v", name, err)
		}
	}
}
