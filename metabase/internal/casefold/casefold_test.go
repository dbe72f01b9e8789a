// SPDX-License-Identifier: Apache-2.0

package casefold

import (
	"slices"
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
		if (Hash(tt.a) == Hash(tt.b)) != tt.same || (Fold(tt.a) == Fold(tt.b)) != tt.same ||
			Equal(tt.a, tt.b) != tt.same || (compareFold(tt.a, tt.b) == 0) != tt.same {
			t.Errorf("%q and %q: same hash %v, same fold %v, equal %v", tt.a, tt.b,
				Hash(tt.a) == Hash(tt.b), Fold(tt.a) == Fold(tt.b), Equal(tt.a, tt.b))
		}
	}
	long := strings.Repeat("é", 300) // longer than the buffer on the stack
	if Hash(long) != Hash(strings.ToUpper(long)) {
		t.Error("a long name has two hashes")
	}
}

func TestCompare(t *testing.T) {
	all := []string{"1", "2", "02", "10", "User", "a", "B", "b2", "c", "Ä"}
	for i, a := range all {
		for j, b := range all {
			if a == "2" && b == "02" || a == "02" && b == "2" {
				continue // the same number: any order, but one
			}
			if got := Compare(a, b); (got < 0) != (rank(all, i) < rank(all, j)) && a != b {
				t.Errorf("Compare(%q, %q) = %d", a, b, got)
			}
		}
	}
}

// rank is the place in the order a person expects.
func rank(names []string, i int) int {
	order := []string{"1", "02", "2", "10", "a", "B", "b2", "c", "User", "Ä"}
	return slices.Index(order, names[i])
}
