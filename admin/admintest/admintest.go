// SPDX-License-Identifier: Apache-2.0

// Package admintest makes an API for tests, over a tree of its own that is set
// up and has every check. The handlers are left to the test.
package admintest

import (
	"context"
	"testing"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/settings"
	"restante/internal/kv"
	"restante/internal/seal"
	"restante/metabase"
	"restante/metabase/schema"
)

// New makes an API over a tree in memory, in which commands to sites come to
// nothing and Admin has all rights. The test's end closes it.
func New(t testing.TB, e admin.Engine) (*admin.API, *metabase.Store) {
	t.Helper()
	db := kv.NewMem()
	t.Cleanup(func() { db.Close() })
	return Over(t, db, e, metabase.Options{
		Acts:   map[metabase.ID]metabase.Act{settings.ServerCommand: nothing, settings.EndSession: nothing},
		Admins: []metabase.Principal{"user:boss"},
	})
}

func nothing(context.Context, metabase.Path, metabase.Value) error { return nil }

// Over is New over db, which stays the caller's, with options of its own.
func Over(t testing.TB, db kv.DB, e admin.Engine, opts metabase.Options) (*admin.API, *metabase.Store) {
	t.Helper()
	opts.Checks = []metabase.Check{schema.IIS().Check, settings.Check}
	store, err := metabase.Open(t.Context(), db, seal.New(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	ops, err := admin.Setup(store.Snapshot(), schema.IIS(), settings.NewSite{Bindings: []string{"127.0.0.1:0"}, Domain: "hub.example"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Apply(t.Context(), metabase.Batch{Ops: ops, Origin: metabase.FromSystem}); err != nil {
		t.Fatal(err)
	}
	return admin.New(store, schema.IIS(), e, admin.Env{Data: t.TempDir(), Version: "test"}), store
}

// Admin is a caller with all rights in the tree that New makes.
func Admin() api.Caller {
	return api.Caller{Who: []metabase.Principal{"user:boss", "uid:0"}, Origin: metabase.FromCLI}
}

// Kind makes a call and gives the kind of its error, "" for none.
func Kind[Q, A any](t testing.TB, c api.Conn, m api.Method[Q, A], q Q) api.Kind {
	t.Helper()
	_, _, err := m.Call(t.Context(), c, q)
	if err == nil {
		return ""
	}
	return api.AsError(err).Kind
}
