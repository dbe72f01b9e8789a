// SPDX-License-Identifier: Apache-2.0

package metabase

import (
	"strings"
	"unicode"
)

// foldRune gives the same rune for all that differ in case only: the smallest
// of them, which for letters of ASCII is the capital. It agrees with
// strings.EqualFold.
func foldRune(r rune) rune {
	if r < 0x80 {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	least := r
	for c := unicode.SimpleFold(r); c != r; c = unicode.SimpleFold(c) {
		least = min(least, c)
	}
	return least
}

// fold is s with every rune folded: equal for names that are one key.
func fold(s string) string { return strings.Map(foldRune, s) }

// equalFold is strings.EqualFold, quick where the spelling is the same.
func equalFold(a, b string) bool { return a == b || strings.EqualFold(a, b) }

// FNV-1a's constants.
const (
	hashStart = 14695981039346656037
	hashPrime = 1099511628211
)

// hashFold is equal for names that are equal without case.
func hashFold(s string) uint64 {
	h := uint64(hashStart)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x80 {
			return hashRunes(h, s[i:])
		}
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		h = (h ^ uint64(c)) * hashPrime
	}
	return mix(h)
}

func hashRunes(h uint64, s string) uint64 {
	for _, r := range s {
		h = (h ^ uint64(foldRune(r))) * hashPrime
	}
	return mix(h)
}

// mix spreads the high bits over all: the map takes six at a time from below.
func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// compareNames orders names for people: numbers by value and before the rest,
// the rest without case.
func compareNames(a, b string) int {
	na, nb := isNumber(a), isNumber(b)
	switch {
	case na && nb:
		ta, tb := strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		if len(ta) != len(tb) {
			return len(ta) - len(tb)
		}
		if c := strings.Compare(ta, tb); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	case na:
		return -1
	case nb:
		return 1
	}
	return compareFold(a, b)
}

func compareFold(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		ca, cb := a[i], b[i]
		if ca >= 0x80 || cb >= 0x80 {
			return strings.Compare(fold(a), fold(b))
		}
		if ca, cb = byte(foldRune(rune(ca))), byte(foldRune(rune(cb))); ca != cb {
			return int(ca) - int(cb)
		}
	}
	return len(a) - len(b)
}

func isNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
