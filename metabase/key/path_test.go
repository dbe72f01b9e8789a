// SPDX-License-Identifier: Apache-2.0

package key

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"restante/metabase/internal/casefold"
)

func TestParsePath(t *testing.T) {
	long := strings.Repeat("n", 255)
	tests := []struct {
		in   string
		want Path
		err  error
	}{
		{"/", "/", nil},
		{"//", "/", nil},
		{`\`, "/", nil},
		{"//LM///SMTPSVC/1/", "/LM/SMTPSVC/1", nil},
		{`\LM\SMTPSVC/1`, "/LM/SMTPSVC/1", nil},
		{"/LM/a b", "/LM/a b", nil}, // a blank is an ordinary character
		{"/LM/*.a.test", "/LM/*.a.test", nil},
		{"/" + long, Path("/" + long), nil},

		{"", "", Invalid},
		{"LM/SMTPSVC", "", Invalid}, // not rooted
		{"/" + long + "n", "", Invalid},
		{"/a/" + long + "n/", "", Invalid},
		{"/a\x00b", "", Invalid},
		{"/a\nb", "", Invalid},
		{"/a\u0085b", "", Invalid}, // a control character beyond ASCII
		{"/a\xffb", "", Invalid},
		{strings.Repeat("/abc", 1025), "", Invalid},
	}
	for _, tt := range tests {
		got, err := ParsePath(tt.in)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("ParsePath(%q) = %q, %v; want %q, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestPathParts(t *testing.T) {
	tests := []struct {
		p, parent Path
		base      string
		elements  []string
	}{
		{"/", "/", "", nil},
		{"/LM", "/", "LM", []string{"LM"}},
		{"/LM/SMTPSVC/1", "/LM/SMTPSVC", "1", []string{"LM", "SMTPSVC", "1"}},
	}
	for _, tt := range tests {
		if got := tt.p.Parent(); got != tt.parent {
			t.Errorf("%q.Parent() = %q, want %q", tt.p, got, tt.parent)
		}
		if got := tt.p.Base(); got != tt.base {
			t.Errorf("%q.Base() = %q, want %q", tt.p, got, tt.base)
		}
		if got := slices.Collect(tt.p.Elements()); !slices.Equal(got, tt.elements) {
			t.Errorf("%q.Elements() = %q, want %q", tt.p, got, tt.elements)
		}
		if got := tt.parent.Join(tt.base); got != tt.p {
			t.Errorf("%q.Join(%q) = %q, want %q", tt.parent, tt.base, got, tt.p)
		}
	}
}

func TestPathWithin(t *testing.T) {
	tests := []struct {
		p, q Path
		want bool
	}{
		{"/", "/", true},
		{"/LM", "/", true},
		{"/", "/LM", false},
		{"/lm/smtpsvc/1", "/LM/SMTPSVC", true},
		{"/LM/SMTPSVC", "/LM/SMTPSVC", true},
		{"/LM/SMTPSVC2", "/LM/SMTPSVC", false},
		{"/LM", "/LM/SMTPSVC", false},
		{"/\u212A/a", "/k", true}, // the Kelvin sign is a k with another length
		{"/k/a", "/\u212A", true},
	}
	for _, tt := range tests {
		if got := tt.p.Within(tt.q); got != tt.want {
			t.Errorf("%q.Within(%q) = %v, want %v", tt.p, tt.q, got, tt.want)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/", "//LM/1/", `\a\b`, "/ſ/K", "/a b/*.c", "x", "/\x00", "/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			if !errors.Is(err, Invalid) {
				t.Errorf("ParsePath(%q): %v is not of kind Invalid", s, err)
			}
			return
		}
		if again, err := ParsePath(string(p)); err != nil || again != p {
			t.Errorf("canonical form of %q is not stable: %q then %q, %v", s, p, again, err)
		}
		if p != Root && p.Parent().Join(p.Base()) != p {
			t.Errorf("%q is not its parent and its base", p)
		}
		other := Path(strings.ToUpper(string(p)))
		if strings.EqualFold(string(p), string(other)) {
			if casefold.Hash(string(p)) != casefold.Hash(string(other)) || casefold.Fold(string(p)) != casefold.Fold(string(other)) {
				t.Errorf("%q and %q are equal without case, their hash or fold is not", p, other)
			}
			if !p.Within(other) || !other.Within(p) {
				t.Errorf("%q and %q are not within each other", p, other)
			}
		}
	})
}

func TestCheckNew(t *testing.T) {
	for _, name := range []string{"Look", "a b", "Grüße", "世界", "\U0001F600"} {
		if err := CheckNew(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{
		"Look ", " a", " ", "  ", "a\u3164", "a\u115f", "a\u1160", "a\u034f", "a\ufe0f", "a\ufe00", "a\u2800", "a\u17b4", "a\uffa0", "a\u180b",
		"a\u00a0", "a\u200b", "a\u202e", "a\U000e0100", "e\u0301",
	} {
		if err := CheckNew(name); KindOf(err) != Invalid {
			t.Errorf("%+q: %v", name, err)
		}
	}
}
