// SPDX-License-Identifier: Apache-2.0

package mail

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"restante/internal/idn"
)

func TestParseAddress(t *testing.T) {
	tests := []struct {
		in, want string
		ok       bool
	}{
		{"", "", true},
		{"a@b.test", "a@b.test", true},
		{"A.b@B.Test.", "A.b@b.test", true}, // the local part keeps its case
		{`"a b"@b.test`, `"a b"@b.test`, true},
		{`"plain"@b.test`, "plain@b.test", true}, // quotes that nobody needs go
		{`"a\"b\\"@b.test`, `"a\"b\\"@b.test`, true},
		{`"x@y"@b.test`, `"x@y"@b.test`, true},
		{"@relay.test,@other.test:a@b.test", "a@b.test", true}, // RFC 5321 appendix F.2
		{"a@[192.0.2.1]", "a@[192.0.2.1]", true},
		{"a@[ipv6:2001:DB8::1]", "a@[IPv6:2001:db8::1]", true},
		// The final host judges a local part.
		{strings.Repeat("a", 300) + "@b.test", strings.Repeat("a", 300) + "@b.test", true},
		{`"` + strings.Repeat("a ", 100) + `"@b.test`, `"` + strings.Repeat("a ", 100) + `"@b.test`, true},
		{".a@b.test", ".a@b.test", true},
		{"a.@b.test", "a.@b.test", true},
		{"a..b@b.test", "a..b@b.test", true},
		{`"a..b"@b.test`, `"a..b"@b.test`, true},
		{`"\a."@b.test`, `"a."@b.test`, true},
		{"a,b:c;(d)[e]@b.test", `"a,b:c;(d)[e]"@b.test`, true},

		{"a", "", false},
		{`a\b@b.test`, "", false},
		{"@b.test", "", false},
		{"a@", "", false},
		{"a@@b.test", "", false},
		{"a@b..test", "", false},
		{"a@-b.test", "", false},
		{"a@b.t st", "", false},
		{"a>b@b.test", "", false},
		{`"a"b"@b.test`, "", false},
		{`"a\"@b.test`, "", false},
		{`"@b.test`, "", false},
		{"\"a\rb\"@b.test", "", false},
		{"a@[192.0.2.1", "", false},
		{"a@[2001:db8::1]", "", false}, // without its tag
		{"a@[IPv6:192.0.2.1]", "", false},
		{"ä@b.test", "ä@b.test", true},             // RFC 6531 §3.3
		{"a\u0308@b.test", "a\u0308@b.test", true}, // as it came: its own host normalizes it
		{`"ä b"@b.test`, `"ä b"@b.test`, true},
		{"a@bücher.test", "a@xn--bcher-kva.test", true},
		{"a@BÜCHER。Test。", "a@xn--bcher-kva.test", true},
		{"a@boo\u212a.test", "a@book.test", true}, // a Kelvin sign is a k

		{"\xe4@b.test", "", false}, // not UTF-8
		{"a\xc0\xae@b.test", "", false},
		{"a\xed\xa0\x80@b.test", "", false}, // half of a surrogate pair
		{"a\u0085@b.test", "", false},
		{"a\u2028b@b.test", "", false},
		{"a\ufffd@b.test", "", false},
		{"a\ufdd0@b.test", "", false},
		{"\"a\u0085\"@b.test", "", false},
		{"a\x7f@b.test", "", false},
		{"a@\xe4.test", "", false},
		{"a@-ü.test", "", false},
		{"a@" + strings.Repeat("ü", 64) + ".test", "", false},
		{"a@[192.0.2.ä]", "", false},
		{"a@" + strings.Repeat("b.", 128) + "test", "", false},
		{`victim@evil> NOTIFY=NEVER <x@ours.test`, "", false},
	}
	for _, tt := range tests {
		got, err := ParseAddress(tt.in)
		if got.String() != tt.want || (err == nil) != tt.ok {
			t.Errorf("ParseAddress(%q) = %q, %v; want %q, ok %v", tt.in, got, err, tt.want, tt.ok)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b.test", `"x y"@b.test`, `"\""@[1.2.3.4]`, "@r.test:a@b.test", "a@[IPv6:::1]", "jörg@bücher.test", "\"ä b\"@例え.テスト", "a\xe4@b.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		w := a.String()
		if again, err := ParseAddress(w); err != nil || again != a {
			t.Errorf("%q is written %q, which reads back as %q, %v", s, w, again, err)
		}
		if i := strings.IndexFunc(w, func(r rune) bool { return r < ' ' || unicode.IsControl(r) }); i >= 0 || !utf8.ValidString(w) || !a.ASCII() && idn.IsASCII(w) {
			t.Errorf("%q is written %q, which has a control octet", s, w)
		}
		var back Address
		raw, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &back); err != nil || back != a {
			t.Errorf("%q does not survive JSON: %q, %v", s, back, err)
		}
	})
}

// Lists and rights compare names by these two.
func TestOneNameHasOneForm(t *testing.T) {
	for _, s := range []string{"bücher.test", "BÜCHER.test.", "bu\u0308cher.test", "xn--bcher-kva.test", "XN--BCHER-KVA.TEST", "bücher。test"} {
		d, err := ParseDomain(s)
		if d != "xn--bcher-kva.test" || d.Unicode() != "bücher.test" || err != nil {
			t.Errorf("ParseDomain(%q) = %q (%s), %v", s, d, d.Unicode(), err)
		}
	}
	if a := (Address{Local: "Jörg"}); FoldLocal(a.Local) != FoldLocal("jo\u0308rg") || FoldLocal(a.Local) == "jorg" || a.ASCII() {
		t.Error("local parts are compared wrongly")
	}
}

func TestDomain(t *testing.T) {
	tests := []struct {
		d, parent Domain
		below     bool
	}{
		{"a.test", "a.test", true},
		{"x.a.test", "a.test", true},
		{"xa.test", "a.test", false},
		{"test", "a.test", false},
	}
	for _, tt := range tests {
		if got := tt.d.Below(tt.parent); got != tt.below {
			t.Errorf("%q.Below(%q) = %v", tt.d, tt.parent, got)
		}
	}
	if ip, ok := Domain("[IPv6:2001:db8::1]").Literal(); !ok || ip.String() != "2001:db8::1" {
		t.Errorf("Literal = %v, %v", ip, ok)
	}
	if _, ok := Domain("a.test").Literal(); ok {
		t.Error("a name is taken for a literal")
	}
}

func TestReply(t *testing.T) {
	cause := errors.New("disk gone")
	tests := []struct {
		r              Reply
		status, text   string
		pos, temp, bad bool
	}{
		{Reply{Code: 250, Text: "ok"}, "2.0.0", "250 ok", true, false, false},
		{Reply{Code: 354}, "3.0.0", "354", false, false, false},
		{Reply{Code: 451, Enhanced: "3.0", Text: "later", Cause: cause}, "4.3.0", "451 4.3.0 later", false, true, false},
		{Reply{Code: 550, Enhanced: "7.1", Text: "no\nnever"}, "5.7.1", "550 5.7.1 no / never", false, false, true},
	}
	for _, tt := range tests {
		if tt.r.Status() != tt.status || tt.r.String() != tt.text ||
			tt.r.Positive() != tt.pos || tt.r.Temporary() != tt.temp || tt.r.Permanent() != tt.bad {
			t.Errorf("%#v: status %q, text %q", tt.r, tt.r.Status(), tt.r.String())
		}
	}
	if !errors.Is(tests[2].r, cause) {
		t.Error("the cause is lost")
	}
}

func TestOutcomeOf(t *testing.T) {
	for code, want := range map[int]Status{250: Delivered, 421: Deferred, 550: Failed, 999: Failed} {
		if got := OutcomeOf(Address{}, Reply{Code: code}, "h").Status; got != want {
			t.Errorf("code %d: %v, want %v", code, got, want)
		}
	}
}

func TestMessageID(t *testing.T) {
	var ids []string
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 1000 {
		id := NewMessageID(at.Add(time.Duration(i) * time.Microsecond))
		if _, err := ParseMessageID(string(id)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(id))
	}
	if !slices.IsSorted(ids) {
		t.Error("ids are not in the order of arrival")
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != 1000 {
		t.Error("an id came twice")
	}
	for _, s := range []string{"", "short", strings.Repeat("z", 20), strings.Repeat("A", 20)} {
		if _, err := ParseMessageID(s); err == nil {
			t.Errorf("ParseMessageID(%q) is accepted", s)
		}
	}
}

func TestParseAddressIn(t *testing.T) {
	tests := []struct {
		in   string
		d    Domain
		want string // "": an error
	}{
		{"root", "hub.test", "root@hub.test"},
		{`"a b"`, "hub.test", `"a b"@hub.test`},
		{"a@x.test", "hub.test", "a@x.test"},
		{"root", "", ""},
		{"a@", "hub.test", ""},
		{"@x.test:root", "hub.test", ""}, // a source route without an address
		{"a b", "hub.test", ""},
	}
	for _, tt := range tests {
		got, err := ParseAddressIn(tt.in, tt.d)
		if got.String() != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("ParseAddressIn(%q, %q) = %q, %v", tt.in, tt.d, got, err)
		}
	}
}
