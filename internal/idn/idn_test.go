// SPDX-License-Identifier: Apache-2.0

package idn

import (
	"strings"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a name is converted in the same way for all callers"})
}

func TestToASCII(t *testing.T) {
	tests := []struct{ in, want string }{
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.Example", "xn--bcher-kva.example"},
		{"bu\u0308cher.example", "xn--bcher-kva.example"}, // decomposed
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"straße.example", "xn--strae-oqa.example"},
		{"例え.テスト", "xn--r8jz45g.xn--zckzah"},
		{"例え。テスト", "xn--r8jz45g.xn--zckzah"},
		{"boo\u212a.test", "book.test"}, // a Kelvin sign is a k
		{"مثال.إختبار", "xn--mgbh0fb.xn--kgbechtv"},

		{"b\xfccher.example", ""},
		{"a\u0301\u202e.example", ""},
		{"-ü.example", ""},
		{"ü_x.example", ""},
		{"\u05d0a\u05d0b1.example", ""}, // against the rule for both directions
		{strings.Repeat("ü.", 600) + "example", ""},
	}
	for _, tt := range tests {
		got, err := ToASCII(tt.in)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("ToASCII(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestToUnicode(t *testing.T) {
	for in, want := range map[string]string{
		"xn--bcher-kva.example": "bücher.example",
		"plain.example":         "plain.example",
		"xn--zzzzzz.example":    "xn--zzzzzz.example",
		"a.xn--bcher-kva":       "a.bücher",
	} {
		if got := ToUnicode(in); got != want {
			t.Errorf("ToUnicode(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, pair := range [][2]string{{"Jörg", "jo\u0308rg"}, {"JO\u0308RG", "jörg"}, {"Info", "iNFO"}, {"ΑΒΓ", "αβγ"}} {
		if Fold(pair[0]) != Fold(pair[1]) {
			t.Errorf("%q and %q are told apart: %q, %q", pair[0], pair[1], Fold(pair[0]), Fold(pair[1]))
		}
	}
	if Fold("jörg") == Fold("jorg") {
		t.Error("an umlaut does not count")
	}
}

func TestEmbed(t *testing.T) {
	for in, want := range map[string]string{"a+b@c": "a+b@c", "jörg@b.test": `j\x{F6}rg@b.test`, "猫\U0001f600": `\x{732B}\x{1F600}`, "\xe4": "\xe4"} {
		if got := Embed(in); got != want {
			t.Errorf("Embed(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzToASCII: the form in which names are compared is stable, and ASCII.
func FuzzToASCII(f *testing.F) {
	for _, s := range []string{"bücher.example", "例え。テスト", "xn--bcher-kva.example", "a\u0301.b", "مثال.إختبار"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ToASCII(s)
		if err != nil {
			return
		}
		again, err := ToASCII(a)
		if err != nil || again != a || !IsASCII(a) {
			t.Errorf("%q is %q, which is %q, %v", s, a, again, err)
		}
		if back, err := ToASCII(ToUnicode(a)); err != nil || back != a {
			t.Errorf("%q as U-labels is %q, which is %q, %v", a, ToUnicode(a), back, err)
		}
	})
}
