// SPDX-License-Identifier: Apache-2.0

package dnstest

import (
	"cmp"
	"crypto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Signed signs a zone by DNSSEC, for a validating resolver that is not ours: its text,
// and the record of the key that the resolver has to trust. The records of names in
// forged get a signature that is wrong.
func Signed(t testing.TB, origin, zone string, forged ...string) (text, anchor string) {
	t.Helper()
	origin = dns.Fqdn(origin)
	key := &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: origin, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 300},
		Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string][]dns.RR{} // by name and type
	types := map[string][]uint16{}
	add := func(rr dns.RR) {
		name, kind := dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype
		set := name + " " + dns.TypeToString[kind]
		if sets[set] == nil {
			types[name] = append(types[name], kind)
		}
		sets[set] = append(sets[set], rr)
	}
	p := dns.NewZoneParser(strings.NewReader("@ SOA ns hostmaster 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n"+zone), origin, "")
	p.SetDefaultTTL(300)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		add(rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	add(key)
	var names []string
	for name := range types {
		names = append(names, name)
	}
	slices.SortFunc(names, canonically)
	for i, name := range names {
		bits := append(slices.Clone(types[name]), dns.TypeNSEC, dns.TypeRRSIG)
		slices.Sort(bits)
		add(&dns.NSEC{
			Hdr:        dns.RR_Header{Name: name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300},
			NextDomain: names[(i+1)%len(names)], TypeBitMap: bits,
		})
	}
	var out strings.Builder
	for _, set := range sets {
		name := dns.CanonicalName(set[0].Header().Name)
		sig := &dns.RRSIG{
			Algorithm: key.Algorithm, KeyTag: key.KeyTag(), SignerName: origin,
			Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(24 * time.Hour).Unix()),
		}
		if err := sig.Sign(private.(crypto.Signer), set); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(forged, strings.TrimSuffix(name, ".")) {
			sig.Expiration-- // the signature is for another text
		}
		for _, rr := range append(set, sig) {
			out.WriteString(rr.String() + "\n")
		}
	}
	return out.String(), key.ToDS(dns.SHA256).String()
}

// canonically orders names by their labels from the last (RFC 4034 §6.1).
func canonically(a, b string) int {
	x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(x)
	slices.Reverse(y)
	return cmp.Or(slices.Compare(x, y), cmp.Compare(len(x), len(y)))
}
