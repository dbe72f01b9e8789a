// SPDX-License-Identifier: Apache-2.0

package hashed

import (
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"/metabase": "both ends have it", "/internal/kv": "both ends have it", "/engine/wire": "it is told, not spoken"})
}

func TestSet(t *testing.T) {
	salt := NewSalt()
	if !IsSalt(salt) || IsSalt("-") || IsSalt(salt+"0") || salt == NewSalt() {
		t.Errorf("salt %q", salt)
	}
	s := New(salt, []Hash{Of(salt, "Joe"), Of(salt, "ann"), Of(salt, "JOE")})
	for local, want := range map[string]bool{"joe": true, "JOE": true, "ann": true, "eve": false, "joe+tag": false, "": false} {
		if s.Has(local) != want {
			t.Errorf("%q is there: %v", local, !want)
		}
	}
	if len(s.Hashes()) != 2 {
		t.Errorf("%d hashes", len(s.Hashes()))
	}
	if other := New(salt, []Hash{Of(salt, "ann"), Of(salt, "joe")}); other.Digest() != s.Digest() {
		t.Error("the digest depends on the order")
	}
	if other := New(salt, []Hash{Of(salt, "ann")}); other.Digest() == s.Digest() {
		t.Error("two lists have one digest")
	}
	h := Of(salt, "joe")
	if again, err := Parse(h.String()); err != nil || again != h || len(h.String()) != 43 {
		t.Errorf("%s: %v", h, err)
	}
	for _, bad := range []string{"", "x", h.String() + "=", h.String()[:42], h.String() + h.String()} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q is a hash", bad)
		}
	}
}
