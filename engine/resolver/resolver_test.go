// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"restante/engine/mail"
	"restante/engine/resolver/dnstest"
	"restante/internal/deptest"
)

const zone = `
two.test.       MX 20 far.test.
two.test.       MX 10 Near.Test.
near.test.      A 192.0.2.1
near.test.      AAAA 2001:db8::1
far.test.       A 192.0.2.2
plain.test.     A 192.0.2.3
null.test.      MX 0 .
null.test.      A 192.0.2.3
mixed.test.     MX 0 .
mixed.test.     MX 5 far.test.
empty.test.     TXT "no address"
nohost.test.    MX 10 gone.test.
half.test.      MX 10 gone.test.
half.test.      MX 20 far.test.
ailing.test.    MX 10 sick.test.
sick.test.      A 192.0.2.9
limping.test.   MX 10 sick.test.
limping.test.   MX 20 far.test.
alias.test.     CNAME two.test.
astray.test.    CNAME nowhere.test.
round.test.     CNAME round2.test.
round2.test.    CNAME round.test.
mxalias.test.   MX 10 alias2.test.
alias2.test.    CNAME far.test.
six.test.       AAAA 2001:db8::6
literal.test.   MX 10 192.0.2.77.
relay.test.     MX 10 near.test.
relay.test.     MX 20 us.test.
relay.test.     MX 20 far.test.
relay.test.     MX 30 plain.test.
us.test.        A 192.0.2.100
ours.test.      MX 10 us.test.
ours.test.      MX 20 far.test.
loop4.test.     A 127.0.0.5
loop6.test.     AAAA ::1
mapped.test.    AAAA ::ffff:127.0.0.1
any4.test.      A 0.0.0.0
net0.test.      A 0.1.2.3
any6.test.      AAAA ::
multi4.test.    A 224.0.0.5
multi6.test.    AAAA ff02::1
all.test.       A 255.255.255.255
class-e.test.   A 240.0.0.1
mxself.test.    MX 10 loop4.test.
mxself.test.    MX 20 127.0.0.1.
mxpart.test.    MX 10 loop4.test.
mxpart.test.    MX 20 some.test.
some.test.      A 127.0.0.1
some.test.      A 192.0.2.7
some.test.      AAAA ::1
many.test.      MX 10 near.test.
many.test.      MX 10 far.test.
many.test.      MX 10 plain.test.
`

func flat(hosts []Host) string {
	var out []string
	for _, h := range hosts {
		line := h.Name
		for _, a := range h.Addrs {
			line += " " + a.String()
		}
		out = append(out, line)
	}
	return strings.Join(out, ", ")
}

func TestHosts(t *testing.T) {
	srv := dnstest.Serve(t, zone)
	srv.Fail("sick.test")
	srv.Fail("broken.test")
	isUs := func(name string, _ []netip.Addr) bool { return name == "us.test" }
	tests := []struct {
		domain mail.Domain
		want   string
		err    error
	}{
		{"two.test", "near.test 192.0.2.1 2001:db8::1, far.test 192.0.2.2", nil},
		{"plain.test", "plain.test 192.0.2.3", nil}, // the implicit MX
		{"six.test", "six.test 2001:db8::6", nil},
		{"alias.test", "near.test 192.0.2.1 2001:db8::1, far.test 192.0.2.2", nil},
		{"mxalias.test", "alias2.test 192.0.2.2", nil},
		{"half.test", "far.test 192.0.2.2", nil},
		{"limping.test", "far.test 192.0.2.2", nil},
		{"mixed.test", "far.test 192.0.2.2", nil},
		{"literal.test", "192.0.2.77 192.0.2.77", nil},
		{"[192.0.2.50]", "192.0.2.50 192.0.2.50", nil},
		{"[IPv6:2001:db8::5]", "2001:db8::5 2001:db8::5", nil},
		{"mxpart.test", "some.test 192.0.2.7", nil},            // only what is another host
		{"relay.test", "near.test 192.0.2.1 2001:db8::1", nil}, // we are a worse MX

		{"nowhere.test", "", NotFound},
		{"astray.test", "", NotFound}, // its alias leads nowhere
		{"null.test", "", NullMX},
		{"empty.test", "", NoAddress},
		{"nohost.test", "", NoAddress},
		{"round.test", "", NoAddress},
		{"ailing.test", "", Temporary},
		{"broken.test", "", Temporary},
		{"localhost", "", Loop},
		{"sub.localhost", "", Loop},
		{"[127.0.0.1]", "", Loop},
		{"[IPv6:::1]", "", Loop},
		{"[IPv6:::ffff:127.0.0.1]", "", Loop},
		{"[IPv6:::ffff:255.255.255.255]", "", Unusable},
		{"[0.0.0.0]", "", Loop},
		{"loop4.test", "", Loop},
		{"loop6.test", "", Loop},
		{"mapped.test", "", Loop},
		{"any4.test", "", Loop},
		{"net0.test", "", Unusable},
		{"any6.test", "", Loop},
		{"multi4.test", "", Unusable},
		{"multi6.test", "", Unusable},
		{"all.test", "", Unusable},
		{"class-e.test", "", Unusable},
		{"mxself.test", "", Loop},
		{"ours.test", "", Loop},
		{"us.test", "", Loop},
	}
	for _, noCache := range []bool{true, false} {
		r := New(Options{NoCache: noCache})
		for _, tt := range tests {
			got, err := r.Hosts(t.Context(), tt.domain, Query{Servers: []string{srv.Addr}, Self: isUs})
			if flat(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Hosts(%s) = %q, %v; want %q, %v", tt.domain, flat(got), err, tt.want, tt.err)
			}
			if IsTemporary(err) != (tt.err == Temporary) {
				t.Errorf("Hosts(%s): IsTemporary(%v) = %v", tt.domain, err, IsTemporary(err))
			}
		}
	}
}

// In a lab, DNS may lead to loopback, and to nothing else that is no host.
func TestLoopbackIsAllowedOnRequestOnly(t *testing.T) {
	srv := dnstest.Serve(t, zone)
	q := Query{Servers: []string{srv.Addr}, Loopback: true}
	for domain, want := range map[mail.Domain]string{
		"loop4.test": "loop4.test 127.0.0.5", "mapped.test": "mapped.test 127.0.0.1", "[127.0.0.1]": "127.0.0.1 127.0.0.1",
		"localhost": "localhost 127.0.0.1 ::1", "any4.test": "", "any6.test": "", "multi4.test": "", "all.test": "",
	} {
		got, err := New(Options{}).Hosts(t.Context(), domain, q)
		if flat(got) != want || (err != nil) != (want == "") {
			t.Errorf("Hosts(%s) = %q, %v; want %q", domain, flat(got), err, want)
		}
	}
}

// Where a connection would end at this machine, at everybody or nowhere, there is no
// host, in whatever form the address comes.
func TestAddressesOfNoHost(t *testing.T) {
	q := Query{Networks: func() (all []netip.Prefix) {
		for _, n := range []string{"192.0.2.77/24", "10.1.2.3/30", "10.9.9.8/31", "172.16.5.5/32", "198.51.100.130/25", "2001:db8::1/64", "127.0.0.1/8"} {
			all = append(all, netip.MustParsePrefix(n))
		}
		return all
	}}
	for text, want := range map[string]bool{
		"192.0.2.255":            false, // the broadcast addresses of our networks
		"192.0.2.0":              false,
		"10.1.2.3":               false,
		"10.1.2.0":               false,
		"198.51.100.255":         false,
		"198.51.100.128":         false,
		"192.0.2.78":             true,
		"10.1.2.2":               true,
		"10.9.9.9":               true, // two hosts: RFC 3021
		"172.16.5.5":             true,
		"198.51.100.127":         true, // of another network, for all we know
		"203.0.113.255":          true,
		"0.1.2.3":                false,
		"240.0.0.1":              false,
		"255.255.255.255":        false,
		"224.0.0.5":              false,
		"127.1.2.3":              false,
		"203.0.113.1":            true, // documentation and private networks: labs have them
		"169.254.3.4":            true,
		"2001:db8::5":            true,
		"::ffff:192.0.2.255":     false,
		"::ffff:240.0.0.1":       false,
		"::192.0.2.255":          false,
		"::127.0.0.1":            false,
		"::203.0.113.1":          true,
		"2002:7f00:1::1":         false, // 6to4
		"2002:c000:2ff::":        false,
		"2002:e000:1::":          false,
		"2002:0:1::":             false,
		"2002:cb00:7101::1":      true,
		"64:ff9b::7f00:1":        false, // NAT64
		"64:ff9b::c000:2ff":      false,
		"64:ff9b::ffff:ffff":     false,
		"64:ff9b::cb00:7101":     true,
		"::":                     false,
		"::1":                    false,
		"ff02::1":                false,
		"fe80::1":                false,
		"fe80::1%eth0":           true, // of the administrator's
		"2001:db8::ffff:ffff":    true,
		"2001:db8:0:1::c000:2ff": true,
	} {
		ip := netip.MustParseAddr(text)
		got := q.usable([]netip.Addr{ip})
		if (len(got) == 1) != want || want && got[0] != ip.Unmap() {
			t.Errorf("%s: %v", text, got)
		}
	}
	q.Loopback = true
	if got := q.usable([]netip.Addr{netip.MustParseAddr("2002:7f00:1::1")}); len(got) != 1 {
		t.Error("loopback is not allowed on request")
	}
}

func TestAddresses(t *testing.T) {
	srv := dnstest.Serve(t, zone)
	srv.Fail("sick.test")
	tests := []struct {
		name, want string
		err        error
	}{
		{"near.test", "near.test 192.0.2.1 2001:db8::1", nil},
		{"Near.Test.", "near.test 192.0.2.1 2001:db8::1", nil},
		{"two.test", "near.test 192.0.2.1 2001:db8::1, far.test 192.0.2.2", nil}, // no address: its MX
		{"192.0.2.8", "192.0.2.8 192.0.2.8", nil},
		{"[192.0.2.8]", "192.0.2.8 192.0.2.8", nil},
		{"[IPv6:::1]", "::1 ::1", nil},
		{"localhost", "localhost 127.0.0.1 ::1", nil},
		{"loop4.test", "loop4.test 127.0.0.5", nil},
		{"[0.0.0.0]", "", Loop},
		{"::", "", Loop},
		{"all.test", "", Unusable},
		{"nowhere.test", "", NotFound},
		{"sick.test", "", Temporary},
		{"not a name", "", NotFound},
		{"", "", NotFound},
	}
	r := New(Options{})
	for _, tt := range tests {
		got, err := r.Addresses(t.Context(), tt.name, Query{Servers: []string{srv.Addr}})
		if flat(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Addresses(%q) = %q, %v; want %q, %v", tt.name, flat(got), err, tt.want, tt.err)
		}
	}
}

func TestEqualPreferencesAreShuffled(t *testing.T) {
	srv := dnstest.Serve(t, zone)
	r := New(Options{})
	first := map[string]bool{}
	for range 200 { // one of three stays away with a chance of 10^-35
		hosts, err := r.Hosts(t.Context(), "many.test", Query{Servers: []string{srv.Addr}})
		if err != nil || len(hosts) != 3 {
			t.Fatalf("Hosts = %q, %v", flat(hosts), err)
		}
		first[hosts[0].Name] = true
	}
	if len(first) != 3 {
		t.Errorf("first were only %v", first)
	}
}

func TestTruncatedAnswerIsAskedForOverTCP(t *testing.T) {
	srv := dnstest.Serve(t, zone)
	srv.Truncate()
	for _, tcp := range []bool{false, true} {
		got, err := New(Options{}).Hosts(t.Context(), "far.test", Query{Servers: []string{srv.Addr}, Transport: map[bool]Transport{true: TCP}[tcp]})
		if flat(got) != "far.test 192.0.2.2" {
			t.Errorf("TCP %v: %q, %v", tcp, flat(got), err)
		}
	}
}

func TestNextServerIsAskedWhenOneIsSilentOrFails(t *testing.T) {
	silent, failing, good := dnstest.Serve(t, zone), dnstest.Serve(t, zone), dnstest.Serve(t, zone)
	silent.Ignore("far.test")
	failing.Fail("far.test")
	r := New(Options{Timeout: 700 * time.Millisecond})
	got, err := r.Hosts(t.Context(), "far.test", Query{Servers: []string{silent.Addr, failing.Addr, good.Addr}})
	if flat(got) != "far.test 192.0.2.2" {
		t.Errorf("Hosts = %q, %v", flat(got), err)
	}
	if silent.Asked("far.test") == 0 || failing.Asked("far.test") == 0 {
		t.Error("the servers were not asked in order")
	}
}

func TestSilentServersEndInATemporaryError(t *testing.T) {
	srv := dnstest.Serve(t, zone)
	srv.Ignore("far.test")
	_, err := New(Options{Timeout: 500 * time.Millisecond}).Hosts(t.Context(), "far.test", Query{Servers: []string{srv.Addr}})
	if !IsTemporary(err) {
		t.Errorf("err = %v", err)
	}
	if got := srv.Asked("far.test"); got != 2 { // MX only, two rounds
		t.Errorf("asked %d times, want 2", got)
	}
}

func TestContextEndsTheSearch(t *testing.T) {
	srv := dnstest.Serve(t, zone)
	srv.Ignore("far.test")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := New(Options{Timeout: time.Minute}).Hosts(ctx, "far.test", Query{Servers: []string{srv.Addr}})
	if !IsTemporary(err) || time.Since(start) > 30*time.Second {
		t.Errorf("err = %v after %v", err, time.Since(start))
	}
}

func TestSystemServersComeFromTheResolverFile(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "resolv.conf")
	srv := dnstest.Serve(t, zone)
	system := netSource{&net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, srv.Addr)
	}}}
	r := New(Options{Conf: conf, Timeout: 5 * time.Second, Rounds: 1, system: system, NoCache: true})

	// Without a file the system answers.
	tests := []struct {
		domain mail.Domain
		want   string
		err    error
	}{
		{"two.test", "near.test 192.0.2.1 2001:db8::1, far.test 192.0.2.2", nil},
		{"plain.test", "plain.test 192.0.2.3", nil},
		{"null.test", "", NullMX},
		{"nowhere.test", "", NotFound},
	}
	for _, tt := range tests {
		got, err := r.Hosts(t.Context(), tt.domain, Query{})
		if flat(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Hosts(%s) = %q, %v; want %q, %v", tt.domain, flat(got), err, tt.want, tt.err)
		}
	}

	// With one, its servers are asked, and a change is seen at once.
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.253\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := srv.Asked("plain.test")
	if _, err := r.Hosts(t.Context(), "plain.test", Query{}); !IsTemporary(err) {
		t.Errorf("a server where nobody listens: %v", err)
	}
	if srv.Asked("plain.test") != before {
		t.Error("the system was asked although there is a resolver file")
	}
}

func TestAnswersAreKeptForTheirTTL(t *testing.T) {
	srv := dnstest.Serve(t, "a.test. 600 A 192.0.2.1\nb.test. 0 A 192.0.2.1\n")
	r := New(Options{})
	q := Query{Servers: []string{srv.Addr}}
	for range 3 {
		for _, d := range []mail.Domain{"a.test", "b.test", "gone.test"} {
			_, _ = r.Hosts(t.Context(), d, q)
		}
	}
	// MX, A and AAAA each; only the record that lives for no time is asked for
	// again. That there is no such name covers all types but is kept by type.
	for name, want := range map[string]int{"a.test": 3, "b.test": 5, "gone.test": 1} {
		if got := srv.Asked(name); got != want {
			t.Errorf("%s was asked %d times, want %d", name, got, want)
		}
	}
	k := cacheKey{srv.Addr, "a.test.", 1, false}
	if r.cache.get(k, time.Now()) == nil || r.cache.get(k, time.Now().Add(601*time.Second)) != nil {
		t.Error("the answer does not live for its TTL")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	srv := dnstest.Serve(t, "a.test. 600 A 192.0.2.1\n")
	s := dnsSource{servers: []string{srv.Addr}, timeout: time.Second, rounds: 1}
	msg, err := s.query(t.Context(), "a.test.", 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxEntries + 10 {
		c.put(cacheKey{qtype: uint16(i)}, msg, time.Now())
	}
	if len(c.entries) != maxEntries {
		t.Errorf("%d entries", len(c.entries))
	}
}

func TestServerAddr(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353",
		"2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]": "[2001:db8::1]:53", "[::1]:54": "[::1]:54",
	} {
		if got := serverAddr(in); got != want {
			t.Errorf("serverAddr(%q) = %q, want %q", in, got, want)
		}
	}
}

// Whatever a server answers, following its aliases ends, at records of the type
// asked for.
func FuzzFollow(f *testing.F) {
	for _, zone := range []string{"a. CNAME b.\nb. A 192.0.2.1", "a. CNAME a.", "a. A 192.0.2.1", "a. CNAME b.\nb. CNAME a."} {
		m := new(dns.Msg)
		for line := range strings.SplitSeq(zone, "\n") {
			rr, err := dns.NewRR(line)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := new(dns.Msg)
		if m.Unpack(raw) != nil {
			return
		}
		end, rrs := follow(m.Answer, "a.", dns.TypeA)
		for _, rr := range rrs {
			if rr.Header().Rrtype != dns.TypeA || dns.CanonicalName(rr.Header().Name) != end {
				t.Errorf("%v at the end %q", rr, end)
			}
		}
		if keep := ttl(m); keep < 0 || keep > maxTTL {
			t.Errorf("kept for %v", keep)
		}
	})
}

func TestErrorNamesTheDomain(t *testing.T) {
	err := &Error{Name: "a.test", Kind: Temporary, Err: os.ErrDeadlineExceeded}
	want := "resolve a.test: no answer from the name servers: i/o timeout"
	if err.Error() != want || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, want %q", err, want)
	}
	kinds := []Kind{Temporary, NotFound, NullMX, NoAddress, Loop}
	if slices.ContainsFunc(kinds, func(k Kind) bool { return errors.Is(err, k) != (k == Temporary) }) {
		t.Error("the kind is not told apart")
	}
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":        "the SMTP packages know nothing of paths",
		"/engine/settings": "settings are given by the caller",
		"/engine/wire":     "the resolver speaks DNS only",
	})
}

// FuzzHosts gives the resolver any answer: the hosts are bounded and have
// addresses, or there is an error that says which; asked again, it says the same.
func FuzzHosts(f *testing.F) {
	for _, zone := range []string{"a.test. MX 10 b.test.\nb.test. A 192.0.2.1", "a.test. MX 0 .", "a.test. CNAME a.test.", "a.test. A 192.0.2.1",
		"a.test. MX 1 a.test.\na.test. MX 1 localhost.\na.test. MX 2 192.0.2.77.", `a.test. MX 1 a\046b\000c.test.`} {
		m := new(dns.Msg)
		for line := range strings.SplitSeq(zone, "\n") {
			rr, err := dns.NewRR(line)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, raw)
	}
	f.Fuzz(func(t *testing.T, mxs, addrs []byte) {
		src := givenAnswers{new(dns.Msg), new(dns.Msg)}
		if src[0].Unpack(mxs) != nil || src[1].Unpack(addrs) != nil {
			return
		}
		r := New(Options{Conf: filepath.Join(t.TempDir(), "none"), system: src})
		hosts, err := r.Hosts(t.Context(), "a.test", Query{})
		var e *Error
		if (err == nil) != (len(hosts) > 0) || len(hosts) > maxHosts || err != nil && !errors.As(err, &e) {
			t.Errorf("%v, %v", hosts, err)
		}
		for _, h := range hosts {
			if len(h.Addrs) == 0 || strings.ContainsFunc(h.Name, func(c rune) bool { return c <= ' ' || c > '~' }) {
				t.Errorf("%+v", h)
			}
		}
		again, err2 := r.Hosts(t.Context(), "a.test", Query{})
		if len(again) != len(hosts) || (err == nil) != (err2 == nil) {
			t.Errorf("%v, %v; then %v, %v", hosts, err, again, err2)
		}
	})
}

// givenAnswers is a source with one answer about MX and one about addresses,
// each for whatever name is asked; no server answers about other names.
type givenAnswers [2]*dns.Msg

func (g givenAnswers) about(name string, types ...uint16) (dnsSource, context.Context) {
	s := dnsSource{cache: newCache(), rounds: 1, servers: []string{"127.0.0.1:1"}}
	for _, t := range types {
		m := g[1]
		if t == dns.TypeMX {
			m = g[0]
		}
		s.cache.entries[cacheKey{s.servers[0], dns.CanonicalName(name), t, false}] = cacheEntry{m, time.Now().Add(time.Hour)}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return s, ctx
}

func (g givenAnswers) mx(_ context.Context, name string) ([]mx, error) {
	s, ctx := g.about(name, dns.TypeMX)
	return s.mx(ctx, name)
}

func (givenAnswers) txt(context.Context, string) ([]string, error) { return nil, nil }

func (g givenAnswers) ptr(context.Context, netip.Addr) ([]string, error) { return nil, nil }

func (g givenAnswers) addrs(_ context.Context, name string) ([]netip.Addr, error) {
	s, ctx := g.about(name, dns.TypeA, dns.TypeAAAA)
	return s.addrs(ctx, name)
}

// Hosts come from DNS, from the system, or from the system where DNS has none; DNS is
// asked as the transport says.
func TestNamesAndTransports(t *testing.T) {
	srv := dnstest.Serve(t, zone)
	system := hostsFile{"far.test": "192.0.2.77", "lan": "192.0.2.78", "silent.test": "192.0.2.79"}
	r := New(Options{system: system, NoCache: true, Timeout: time.Minute, Rounds: 1})
	srv.Fail("silent.test")
	for _, tt := range []struct {
		names Names
		name  mail.Domain
		want  string
		err   error
	}{
		{0, "far.test", "far.test 192.0.2.2", nil},
		{0, "lan", "", NotFound},
		{InSystem, "far.test", "far.test 192.0.2.77", nil},
		{InSystem, "plain.test", "", NotFound},
		{ThenThere, "far.test", "far.test 192.0.2.2", nil},
		{ThenThere, "lan", "lan 192.0.2.78", nil},
		{ThenThere, "silent.test", "silent.test 192.0.2.79", nil},
		{ThenThere, "nowhere.test", "", NotFound},
	} {
		got, err := r.Hosts(t.Context(), tt.name, Query{Servers: []string{srv.Addr}, Names: tt.names})
		if flat(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("names %d: Hosts(%s) = %q, %v; want %q, %v", tt.names, tt.name, flat(got), err, tt.want, tt.err)
		}
	}
	srv.Truncate()
	if got, err := r.Hosts(t.Context(), "far.test", Query{Servers: []string{srv.Addr}, Transport: UDP}); !IsTemporary(err) || !errors.Is(err, errTruncated) {
		t.Errorf("over UDP alone: %v, %v", flat(got), err)
	}
}

// A hostsFile has the system's addresses of names.
type hostsFile map[string]string

func (hostsFile) mx(context.Context, string) ([]mx, error)          { return nil, nil }
func (hostsFile) ptr(context.Context, netip.Addr) ([]string, error) { return nil, nil }
func (hostsFile) txt(context.Context, string) ([]string, error)     { return nil, nil }
func (h hostsFile) addrs(_ context.Context, name string) ([]netip.Addr, error) {
	if a, ok := h[name]; ok {
		return []netip.Addr{netip.MustParseAddr(a)}, nil
	}
	return nil, &Error{Name: name, Kind: NotFound}
}
