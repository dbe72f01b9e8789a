// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"strings"
	"testing"
)

func TestUpper(t *testing.T) {
	for c := range byte(0x80) {
		for at := range 8 {
			raw := []byte("aZ[{`@09")
			raw[at] = c
			want := load(strings.ToUpper(string(raw)))
			if got := upper(load(string(raw))); got != want {
				t.Fatalf("upper(%q) = %#x, want %#x", raw, got, want)
			}
		}
	}
}

func TestFold(t *testing.T) {
	tests := []struct {
		a, b string
		same bool
	}{
		{"smtpsvc", "SMTPSVC", true},
		{"customer1.EXAMPLE", "Customer1.example", true},
		{"\u212Aelvin", "kelvin", true}, // the Kelvin sign
		{"ſtop", "STOP", true},          // the long s
		{"Ärger", "ärger", true},
		{"ς", "Σ", true}, // three sigmas
		{"straße", "STRASSE", false},
		{"a", "b", false},
		{"abcdefgh", "abcdefghi", false},
		{"", "", true},
	}
	for _, tt := range tests {
		if (hashFold(tt.a) == hashFold(tt.b)) != tt.same || (fold(tt.a) == fold(tt.b)) != tt.same ||
			equalFold(tt.a, tt.b) != tt.same || (compareFold(tt.a, tt.b) == 0) != tt.same {
			t.Errorf("%q and %q: same hash %v, same fold %v, equal %v", tt.a, tt.b,
				hashFold(tt.a) == hashFold(tt.b), fold(tt.a) == fold(tt.b), equalFold(tt.a, tt.b))
		}
	}
	long := strings.Repeat("é", 300) // longer than the room on the stack
	if hashFold(long) != hashFold(strings.ToUpper(long)) {
		t.Error("a long name has two hashes")
	}
}
