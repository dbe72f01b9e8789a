// SPDX-License-Identifier: Apache-2.0

package kv_test

import (
	"testing"

	"restante/internal/kv"
	"restante/internal/kv/kvtest"
)

func TestMem(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.DB { return kv.NewMem() })
}

func TestPrefix(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.DB {
		inner := kv.NewMem()
		if err := inner.Commit(t.Context(), kv.Put([]byte("o"), nil), kv.Put([]byte("q"), nil), kv.Put([]byte("p"), nil)); err != nil {
			t.Fatal(err)
		}
		return part{kv.Prefix(kv.Prefix(inner, "p"), "/"), inner}
	})
}

// A part closes with the whole: Close of a Prefix does nothing.
type part struct {
	kv.DB
	whole kv.DB
}

func (p part) Close() error { return p.whole.Close() }

func TestMemNodes(t *testing.T) {
	nodes := kv.NewMemNodes(2)
	a, b := nodes[0], kv.Prefix(nodes[1], "x/")
	changed, other := b.Changed([]byte("k")), b.Changed([]byte("z"))
	commit := func(db kv.DB, ops ...kv.Op) {
		t.Helper()
		if err := db.Commit(t.Context(), ops...); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, notes int) {
		t.Helper()
		if len(changed) != notes || len(other) != 0 {
			t.Errorf("%s: %d notes, want %d; %d of another prefix", what, len(changed), notes, len(other))
		}
	}
	commit(b, kv.Put([]byte("k1"), nil))
	want("its own commit", 0)
	commit(a, kv.Put([]byte("k1"), nil))
	commit(a, kv.Put([]byte("x/y"), nil))
	commit(a, kv.Must([]byte("x/k1"), []byte{}))
	want("commits elsewhere", 0)
	commit(a, kv.Put([]byte("x/k1"), []byte("v")))
	commit(a, kv.Del([]byte("x/k1")))
	want("two commits of the other node", 1)
	if _, ok, err := b.Get([]byte("k1")); ok || err != nil {
		t.Errorf("the key that the other node removed is there: %v, %v", ok, err)
	}
	if err := nodes[1].Close(); err != nil {
		t.Fatal(err)
	}
	commit(a, kv.Put([]byte("a"), nil))
	if kv.NewMem().Changed(nil) != nil {
		t.Error("a DB that no other shares may change")
	}
}
