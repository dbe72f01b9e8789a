// SPDX-License-Identifier: Apache-2.0

package iplist

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The header of a list of single addresses as administrators' scripts write
// it, with the number of addresses and the number of items left open.
func scripted(addresses ...string) string {
	n := len(addresses)
	word := func(w uint32) string {
		return hex.EncodeToString([]byte{byte(w), byte(w >> 8), byte(w >> 16), byte(w >> 24)})
	}
	s := "18000080" + "20000080" + "3c000080" + "44000080" + "01000000" + "4c000000" +
		"00000000" + "00000000" + "01000000" + word(uint32(n)) + "02000000" + word(uint32(n+1)) + "04000000" + "00000000" + "4c000080" +
		"00000000" + "00000000" + "00000000" + "00000000" + "ffffffff"
	for _, a := range addresses {
		ip := netip.MustParseAddr(a).As4()
		s += hex.EncodeToString(ip[:])
	}
	return s
}

func prefixes(t *testing.T, texts ...string) (out []netip.Prefix) {
	t.Helper()
	for _, s := range texts {
		p, err := ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestIPListIsWhatScriptsOfIISWrite(t *testing.T) {
	for _, list := range [][]string{nil, {"127.0.0.1"}, {"127.0.0.1", "192.0.2.1", "10.1.2.3"}} {
		want := scripted(list...)
		b, err := List{Grant: prefixes(t, list...)}.Encode()
		if got := hex.EncodeToString(b); err != nil || got != want {
			t.Errorf("Encode of %v\n%s, %v, want\n%s", list, got, err, want)
		}
		if len(b) != 80+4*len(list) {
			t.Errorf("%d octets for %d addresses", len(b), len(list))
		}
		l, err := Decode(b)
		if err != nil || l.GrantByDefault || !slices.Equal(l.Grant, prefixes(t, list...)) {
			t.Errorf("Decode = %v, %v, want %v", l, err, list)
		}
		// The command line and imports take the octets as well, in the forms that
		// scripts have.
		var numbers, dotted []string
		for i, octet := range b {
			numbers = append(numbers, strconv.Itoa(int(octet)))
			if i%4 == 3 {
				dotted = append(dotted, strings.Join(numbers[i-3:], "."))
			}
		}
		for _, words := range [][]string{{strings.ToUpper(want)}, numbers, dotted, {strings.Join(dotted, ",")}} {
			l, err := Parse(words)
			again, eerr := l.Encode()
			if err != nil || eerr != nil || !slices.Equal(again, b) {
				t.Errorf("Parse(%.60q) = %v, %v, %v", words, l, err, eerr)
			}
		}
	}
}

func TestIPListWithNetworks(t *testing.T) {
	want := prefixes(t, "192.0.2.1", "192.0.2.9", "198.51.100.0/24", "10.0.0.0/8", "0.0.0.0/0")
	b, err := List{Grant: prefixes(t, "10.0.0.0/8", "192.0.2.1", "0.0.0.0/0", "198.51.100.0/24", "192.0.2.9")}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil || !slices.Equal(got.Grant, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := (List{Grant: prefixes(t, "::1")}).Encode(); err == nil {
		t.Error("IPv6 is encoded")
	}
}

// lists are of every kind.
func lists(t *testing.T) []List {
	a, b := prefixes(t, "127.0.0.1", "10.0.0.0/8"), prefixes(t, "192.0.2.1", "192.0.2.7", "198.51.100.0/24")
	return []List{
		{}, {Grant: a}, {GrantByDefault: true}, {GrantByDefault: true, Deny: b},
		{Grant: a, Deny: b, GrantNames: []string{"host.example", "*.example.org"}, DenyNames: []string{"a.bcd.example"}},
		{GrantByDefault: true, DenyNames: []string{"*.example.org"}}, {GrantNames: []string{"mail.example"}},
	}
}

// What does not fit the form is refused, and never taken for a grant.
func TestDamaged(t *testing.T) {
	for _, l := range lists(t) {
		good, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Decode(good); err != nil || !slices.Equal(back.Format(), l.Format()) {
			t.Errorf("%v comes back as %v, %v", l, back, err)
		}
		for n := range len(good) {
			if l, err := Decode(good[:n]); err == nil {
				t.Errorf("the first %d octets are taken for %v", n, l)
			}
		}
		if l, err := Decode(append(slices.Clone(good), 0, 0, 0, 0)); err == nil {
			t.Errorf("with a word behind it is taken for %v", l)
		}
		// Every word of the header counts.
		for at := 0; at < int(binary.LittleEndian.Uint32(good[20:])); at += 4 {
			bad := slices.Clone(good)
			bad[at] ^= 0x40
			if l, err := Decode(bad); err == nil {
				t.Errorf("with word %d changed it is taken for %v", at/4, l)
			}
		}
	}
	gaps, err := List{Grant: prefixes(t, "127.0.0.1")}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	gaps[76] = 0x0f // the mask 15.255.255.255
	if l, err := Decode(gaps); err == nil {
		t.Errorf("a mask with gaps is taken for %v", l)
	}
	for _, name := range []string{"Host.Example", "a b.example", "10.0.0.1", "*", "\n.example"} {
		for _, l := range []List{{GrantNames: []string{"host.example", name}}, {GrantByDefault: true, DenyNames: []string{name}}} {
			b, err := l.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if l, err := Decode(b); err == nil || !strings.Contains(err.Error(), "no name of a host") {
				t.Errorf("%q is taken for a name: %v, %v", name, l, err)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		words string // split at |
		want  string // by Format, or a part of the error
	}{
		{"", "none"},
		{"None", "none"},
		{"none 10.0.0.1", "is no address"},
		{"10.0.0.1|192.0.2.0, 255.255.255.0", "10.0.0.1 192.0.2.0/24"},
		{"10.0.0.1, 10.0.0.2;10.0.0.1", "10.0.0.1 10.0.0.2"},
		{"All", "all"},
		{"all|deny:10.0.0.0/8 DENY:192.0.2.9|deny:198.51.100.0, 255.255.255.0|deny:*.Example.org.", "all deny:10.0.0.0/8 deny:192.0.2.9 deny:198.51.100.0/24 deny:*.example.org"},
		{"mail.Example|*.example.org", "mail.example *.example.org"},
		{"all 10.0.0.1", "adds nothing to all"},
		{"all mail.example", "adds nothing to all"},
		{"deny:10.0.0.1", "without the word all"},
		{"10.0.0.1 deny:mail.example", "without the word all"},
		{"10.0.0.1|kept:10.2.2.2|kept:*.Example|kept:192.0.2.0, 255.255.255.0", "10.0.0.1 kept:10.2.2.2 kept:192.0.2.0/24 kept:*.example"},
		{"kept:10.2.2.2 all", "all kept:10.2.2.2"},
		{"kept:10.2.2.2", "kept:10.2.2.2"},
		{"kept:x", "is no address"},
		{"10.1.0.0;255.255.0.0", "255.255.0.0 is a mask"},
		{"10.1.0.0|255.255.0.0", "255.255.0.0 is a mask"},
		{"all|deny:255.255.255.0", "255.255.255.0 is a mask"},
		{"255.255.255.255", "is a mask"},
		{"10.0.0.300", "is no address"},
		{"10.0.0", "is no address"},
		{"mail", "is no address"},
		{"deny:", "is no address"},
		{"*.", "is no address"},
		{"a..example", "is no address"},
		{"-a.example", "is no address"},
		{"::1", "IPv6 has a list of its own"},
		{"24.0.0.128", "24.0.0.128/32"},
		{"24.0.0.128/32", "24.0.0.128/32"},
		{"24.0.0.128|32.0.0.128|60.0.0.128|255.255.255.255|127.0.0.1", "does not have the known form"},
		{"24.0.0.128|10.0.0.0/8", "no part"},
		{"24|0|0|128|32", "does not have the known form"},
		{"24|0|0|128|10.0.0.1", "no part"},
	} {
		l, err := Parse(strings.Split(tt.words, "|"))
		got := strings.Join(l.Format(), " ")
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != tt.want || err != nil && !strings.Contains(got, tt.want) {
			t.Errorf("Parse(%q) = %q, want %q", tt.words, got, tt.want)
		}
		if err == nil {
			if again, err := Parse(l.Format()); err != nil || !slices.Equal(again.Format(), l.Format()) {
				t.Errorf("Parse(%q) = %q, %v", l.Format(), again.Format(), err)
			}
		}
	}
}

func TestGrants(t *testing.T) {
	temporary := errors.New("no answer")
	names := func(list ...string) Names { return func() ([]string, error) { return list, nil } }
	failing := func() ([]string, error) { return nil, temporary }
	never := func() ([]string, error) { t.Error("names are asked for"); return nil, nil }
	for _, tt := range []struct {
		list, client string
		names        Names
		want         bool
	}{
		{"", "10.0.0.1", never, false},
		{"10.0.0.0/8", "10.0.0.1", never, true},
		{"10.0.0.0/8", "::ffff:10.0.0.1", never, true},
		{"10.0.0.0/8", "11.0.0.1", never, false},
		{"10.0.0.0/8", "::1", never, false},
		{"all", "11.0.0.1", never, true},
		{"all deny:10.0.0.0/8", "10.0.0.1", never, false},
		{"all deny:10.0.0.0/8", "11.0.0.1", never, true},
		{"all deny:10.0.0.0/8", "::1", never, true},
		{"mail.example", "10.0.0.1", names("MAIL.example."), true},
		{"mail.example", "10.0.0.1", names("x.mail.example"), false},
		{"mail.example", "10.0.0.1", names(), false},
		{"mail.example", "10.0.0.1", failing, false},
		{"mail.example", "10.0.0.1", nil, true},
		{"mail.example 10.0.0.1", "10.0.0.1", never, true},
		{"*.example", "10.0.0.1", names("a.b.example"), true},
		{"*.example", "10.0.0.1", names("example"), false},
		{"*.b.example", "10.0.0.1", names("ab.example"), false},
		{"all deny:*.example", "10.0.0.1", names("other.test", "a.example"), false},
		{"all deny:*.example", "10.0.0.1", names("other.test"), true},
		{"all deny:*.example", "10.0.0.1", names(), true},
		{"all deny:*.example", "10.0.0.1", failing, false},
		{"all deny:*.example", "10.0.0.1", nil, true},
	} {
		l, err := Parse([]string{tt.list})
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Grants(netip.MustParseAddr(tt.client), tt.names); got != tt.want {
			t.Errorf("%q grants %s: %v, want %v", tt.list, tt.client, got, tt.want)
		}
	}
}

func FuzzIPList(f *testing.F) {
	for _, s := range []string{scripted(), scripted("127.0.0.1"), scripted("127.0.0.1", "10.0.0.1")} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, words := range []string{"10.0.0.0/8 127.0.0.1", "all deny:10.0.0.1 deny:*.example.org", "mail.example 192.0.2.1"} {
		l, err := Parse([]string{words})
		if err != nil {
			f.Fatal(err)
		}
		b, err := l.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Decode(b)
		if err != nil {
			return
		}
		again, err := l.Encode()
		if err != nil {
			t.Fatalf("%x is %v, which cannot be written: %v", b, l, err)
		}
		back, err := Decode(again)
		sorted := func(l List) []string { words := l.Format(); slices.Sort(words); return words }
		if err != nil || !slices.Equal(sorted(l), sorted(back)) {
			t.Errorf("%x is %v, but comes back as %v, %v", b, l, back, err)
		}
	})
}

// FuzzText holds that what is read has the form that is written, and that a network
// has its own address in it as a caller has it (an IPv4 caller is never an IPv6
// address).
func FuzzText(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::1", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "0.0.0.0/0", "::/0", "10.0.0.1/8",
		"10.0.0.0/08", "all deny:10.1.1.1, 255.255.255.0", "*.x.example", "24.0.0.128,32.0.0.128"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParsePrefix(s); err == nil {
			again, err := ParsePrefix(PrefixText(n))
			if !n.Contains(n.Addr().Unmap()) || err != nil || again != n {
				t.Errorf("%q is %v, which is %v, %v", s, n, again, err)
			}
		}
		l, err := Parse([]string{s})
		if err != nil {
			return
		}
		again, err := Parse(l.Format())
		if err != nil || !slices.Equal(again.Format(), l.Format()) {
			t.Errorf("%q is %v, which is %v, %v", s, l, again, err)
		}
		if b, err := l.Encode(); err == nil {
			if back, err := Decode(b); err != nil {
				t.Errorf("%q is %x, which is %v, %v", s, b, back, err)
			}
		}
	})
}
