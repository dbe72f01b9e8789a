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
