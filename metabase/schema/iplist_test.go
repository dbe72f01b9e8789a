// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/hex"
	"net/netip"
	"slices"
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
		b, err := EncodeIPList(prefixes(t, list...))
		if got := hex.EncodeToString(b); err != nil || got != want {
			t.Errorf("EncodeIPList(%v)\n%s, %v, want\n%s", list, got, err, want)
		}
		if len(b) != 80+4*len(list) {
			t.Errorf("%d octets for %d addresses", len(b), len(list))
		}
		nets, err := DecodeIPList(b)
		if err != nil || !slices.Equal(nets, prefixes(t, list...)) {
			t.Errorf("DecodeIPList = %v, %v, want %v", nets, err, list)
		}
		// The command line and imports take the hexadecimal form as well.
		p, _ := IIS().Property("RelayIpList")
		if v, err := p.Parse([]string{strings.ToUpper(want)}); err != nil || !slices.Equal(v.Bytes(), b) {
			t.Errorf("Parse of the hexadecimal form: %v", err)
		}
	}
}

func TestIPListWithNetworks(t *testing.T) {
	want := prefixes(t, "192.0.2.1", "192.0.2.9", "198.51.100.0/24", "10.0.0.0/8", "0.0.0.0/0")
	b, err := EncodeIPList(prefixes(t, "10.0.0.0/8", "192.0.2.1", "0.0.0.0/0", "198.51.100.0/24", "192.0.2.9"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeIPList(b)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := EncodeIPList(prefixes(t, "::1")); err == nil {
		t.Error("IPv6 is encoded")
	}
}

// What does not fit the form is refused, and never taken for a grant.
func TestIPListDamaged(t *testing.T) {
	good, err := EncodeIPList(prefixes(t, "127.0.0.1", "10.0.0.0/8"))
	if err != nil {
		t.Fatal(err)
	}
	if nets, err := DecodeIPList(nil); err != nil || len(nets) != 0 {
		t.Errorf("an empty value: %v, %v", nets, err)
	}
	for n := 1; n < len(good); n++ {
		if nets, err := DecodeIPList(good[:n]); err == nil {
			t.Errorf("the first %d octets are taken for %v", n, nets)
		}
	}
	if nets, err := DecodeIPList(append(slices.Clone(good), 0, 0, 0, 0)); err == nil {
		t.Errorf("with a word behind it is taken for %v", nets)
	}
	// Every word of the header counts.
	header := len(listHeader(2)) * 4
	for at := 0; at < header; at += 4 {
		bad := slices.Clone(good)
		bad[at] ^= 0x40
		if nets, err := DecodeIPList(bad); err == nil {
			t.Errorf("with word %d changed it is taken for %v", at/4, nets)
		}
	}
	gaps := slices.Clone(good)
	gaps[header] = 0x0f // the mask 15.255.255.255
	if nets, err := DecodeIPList(gaps); err == nil {
		t.Errorf("a mask with gaps is taken for %v", nets)
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
	two, err := EncodeIPList([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(two)
	f.Fuzz(func(t *testing.T, b []byte) {
		nets, err := DecodeIPList(b)
		if err != nil {
			return
		}
		again, err := EncodeIPList(nets)
		if err != nil {
			t.Fatalf("%x is %v, which cannot be written: %v", b, nets, err)
		}
		back, err := DecodeIPList(again)
		slices.SortFunc(nets, netip.Prefix.Compare)
		slices.SortFunc(back, netip.Prefix.Compare)
		if err != nil || !slices.Equal(nets, back) {
			t.Errorf("%x is %v, but comes back as %v, %v", b, nets, back, err)
		}
	})
}

// FuzzPrefix holds that a network has its own address in it as a caller has it
// (an IPv4 caller is never an IPv6 address), and is written as it is read.
func FuzzPrefix(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::1", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "0.0.0.0/0", "::/0", "10.0.0.1/8", "10.0.0.0/08", "accounts", "ANY"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParsePrefix(s); err == nil {
			again, err := ParsePrefix(prefixText(n))
			if !n.Contains(n.Addr().Unmap()) || err != nil || again != n {
				t.Errorf("%q is %v, which is %v, %v", s, n, again, err)
			}
		}
		for _, parse := range []func(string) (string, error){parsePrefix6, parseCaller} {
			if text, err := parse(s); err == nil {
				if again, err := parse(text); err != nil || again != text {
					t.Errorf("%q is %q, which is %q, %v", s, text, again, err)
				}
			}
		}
		if b, err := parseIPList([]string{s}); err == nil {
			nets, err := DecodeIPList(b)
			if err != nil {
				t.Errorf("%q is %x, which is %v, %v", s, b, nets, err)
			}
		}
	})
}
