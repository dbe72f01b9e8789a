// SPDX-License-Identifier: Apache-2.0

// Package casefold compares names without case, of any script, and orders them
// with numbers by value. It allocates only in Fold and to order names that are
// not ASCII.
package casefold

import (
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"
)

// foldRune maps runes that differ in case only to the smallest of them, which for
// letters of ASCII is the capital. It agrees with strings.EqualFold.
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

// Fold returns s with every rune folded: names are equal without case if their folds are equal.
func Fold(s string) string { return string(AppendFold(make([]byte, 0, len(s)), s)) }

// AppendFold appends the fold of s.
func AppendFold(b []byte, s string) []byte {
	for _, r := range s {
		b = utf8.AppendRune(b, foldRune(r))
	}
	return b
}

// Equal is strings.EqualFold, quick where the spelling is the same.
func Equal(a, b string) bool { return a == b || strings.EqualFold(a, b) }

// Odd numbers without a pattern, which stir a hash.
const (
	stir0 = 0x9e3779b97f4a7c15
	stir1 = 0xd6e8feb86659fd93
)

// Hash is equal for names that are equal without case. It takes eight
// octets at a time; a name that is not all ASCII is folded first.
func Hash(s string) uint64 {
	h, all := uint64(len(s))^stir0, uint64(0)
	rest := s
	for ; len(rest) >= 8; rest = rest[8:] {
		w := load8(rest)
		all |= w
		h = stir(h, upper(w))
	}
	if rest != "" {
		w := load(rest)
		all |= w
		h = stir(h, upper(w))
	}
	if all&(ones*0x80) != 0 {
		return hashRunes(s)
	}
	return h ^ h>>32
}

func stir(h, w uint64) uint64 {
	hi, lo := bits.Mul64(h^w, stir1)
	return hi ^ lo
}

// ones times an octet is that octet eight times over.
const ones = 0x0101010101010101

// load gives the less than eight octets of s, which is not empty, the first one
// lowest. They are read from both ends; where the two meet they say the same.
func load(s string) uint64 {
	n := len(s)
	if n >= 4 {
		return load4(s) | load4(s[n-4:])<<(8*(n-4))
	}
	return uint64(s[0]) | uint64(s[n/2])<<(8*(n/2)) | uint64(s[n-1])<<(8*(n-1))
}

func load4(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

func load8(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// upper makes capitals of the letters a to z in eight octets of ASCII: the top
// bit of each sum says whether its octet is at least 'a', or above 'z'.
func upper(w uint64) uint64 {
	low := (w + ones*(0x80-'a')) &^ (w + ones*(0x7f-'z')) & (ones * 0x80)
	return w - low>>2
}

// hashRunes is Hash for names that are not all ASCII. Folding makes no name longer,
// so all but very long names fit on the stack.
func hashRunes(s string) uint64 {
	var buf [255 + utf8.UTFMax]byte
	b := AppendFold(buf[:0], s)
	h := uint64(len(b)) ^ stir0
	for ; len(b) > 0; b = b[min(8, len(b)):] {
		var w uint64
		for i := min(8, len(b)) - 1; i >= 0; i-- {
			w = w<<8 | uint64(b[i])
		}
		h = stir(h, w)
	}
	return h ^ h>>32
}

// Compare orders names for people: numbers by value and first, the rest without
// case.
func Compare(a, b string) int {
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
			return strings.Compare(Fold(a), Fold(b))
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
