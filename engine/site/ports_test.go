// SPDX-License-Identifier: Apache-2.0

package site

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"restante/engine/site/ports"
)

// sitesOn runs a site on each of the addresses, in one engine.
func sitesOn(t *testing.T, addrs ...netip.AddrPort) (sites []*harness, shared *ports.Set) {
	shared = &ports.Set{}
	for i, at := range addrs {
		set := newSettings(t)
		cfg := set.make(1, at)
		cfg.Wire.Hostname = string(rune('a'+i)) + ".test"
		h := newSite(t, i+1, cfg, set, shared, false)
		h.must(Start)
		sites = append(sites, h)
	}
	return sites, shared
}

// change gives all sites their addresses of one revision, as the engine does.
func change(t *testing.T, shared *ports.Set, sites []*harness, rev uint64, want ...[]netip.AddrPort) {
	t.Helper()
	declared := map[int][]ports.Binding{}
	cfgs := make([]*Config, len(sites))
	for i, h := range sites {
		cfgs[i] = h.make(rev, want[i]...)
		cfgs[i].Wire.Hostname = string(rune('a'+i)) + ".test"
		declared[i+1] = cfgs[i].Bindings
	}
	shared.Declare(declared)
	for i, h := range sites {
		h.Apply(cfgs[i])
	}
	for _, h := range sites {
		h.until(func() bool { return h.Settled(rev) })
	}
}

// wantGreeting dials all addresses and names the sites that greet there, "-" for
// none.
func wantGreeting(t *testing.T, addrs []netip.AddrPort, want string) {
	t.Helper()
	var got []string
	for _, at := range addrs {
		name := "-"
		if rest, ok := strings.CutPrefix(greeting(t, at.String()), "220 "); ok {
			name = rest[:1]
		}
		got = append(got, name)
	}
	if strings.Join(got, " ") != want {
		t.Errorf("the sites at the addresses are %s, want %s", strings.Join(got, " "), want)
	}
}

// Addresses go from site to site in one change, however they are ordered, and
// never through a refusal.
func TestAddressesGoFromSiteToSite(t *testing.T) {
	at := []netip.AddrPort{freePort(t), freePort(t), freePort(t), freePort(t)}
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close()
	busy := blocker.Addr().(*net.TCPAddr).AddrPort()
	for _, tt := range []struct {
		name string
		want [3][]int // indexes of at for each site; 4: busy
		at   string   // who greets at each of at
		fail string   // the sites that keep what they had
	}{
		{"swap", [3][]int{{1}, {0}, {2}}, "b a c -", ""},
		{"ring", [3][]int{{1}, {2}, {0}}, "c a b -", ""},
		{"the other way round", [3][]int{{2}, {0}, {1}}, "b c a -", ""},
		{"one that nobody wants any more", [3][]int{{0, 2}, {1}, {3}}, "a b a c", ""},
		{"one from each", [3][]int{{1, 2}, {0}, {3}}, "b a a c", ""},
		{"both", [3][]int{{0, 1}, {2}, {3}}, "a a b c", ""},
		{"a swap that cannot be", [3][]int{{1, 4}, {0}, {2}}, "a b c -", "ab"},
		{"one that is kept", [3][]int{{1}, {1, 3}, {2}}, "a b c b", "a"},
		{"a ring that cannot be", [3][]int{{1}, {2}, {0, 4}}, "a b c -", "abc"},
		{"a failure beside a swap", [3][]int{{1}, {0}, {4}}, "b a c -", "c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sites, shared := sitesOn(t, at[:3]...)
			all := append(slices.Clone(at), busy)
			var want [][]netip.AddrPort
			for _, list := range tt.want {
				var addrs []netip.AddrPort
				for _, i := range list {
					addrs = append(addrs, all[i])
				}
				want = append(want, addrs)
			}
			change(t, shared, sites, 2, want...)
			failed := ""
			for i, h := range sites {
				st := h.Status()
				if !h.InForce(2) {
					failed += string(rune('a' + i))
				}
				if h.InForce(2) != (st.Why == "") || st.State != Started || h.InForce(2) != (st.Running == 2) {
					t.Errorf("site %d: %+v", i+1, st)
				}
			}
			wantGreeting(t, at, tt.at)
			if failed != tt.fail {
				t.Errorf("not in force at %q, want %q", failed, tt.fail)
			}
			// Back again: nothing is stuck.
			change(t, shared, sites, 3, at[:1], at[1:2], at[2:3])
			wantGreeting(t, at, "a b c -")
			for i, h := range sites {
				if !h.InForce(3) {
					t.Errorf("back again: site %d: %+v", i+1, h.Status())
				}
			}
		})
	}
}

// A refusal is cured for all sites that wait for it, by whichever tries again.
func TestSwapIsMadeUpFor(t *testing.T) {
	at := []netip.AddrPort{freePort(t), freePort(t)}
	blocker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	busy := blocker.Addr().(*net.TCPAddr).AddrPort()
	sites, shared := sitesOn(t, at...)
	change(t, shared, sites, 2, []netip.AddrPort{at[1], busy}, at[:1])
	if why := sites[1].Status().Why; !strings.Contains(why, "the address is taken: site 1 has it") {
		t.Errorf("site 2: %q", why)
	}
	wantGreeting(t, at, "a b")
	blocker.Close()
	for _, h := range sites {
		h.until(func() bool { return h.InForce(2) })
	}
	wantGreeting(t, append(at, busy), "b a a")
}

// All addresses of a port and one of them exclude each other, also where they are
// of two sites.
func TestAllAddressesGoFromSiteToSite(t *testing.T) {
	one, other := freePort(t), freePort(t)
	all := netip.AddrPortFrom(netip.IPv4Unspecified(), one.Port())
	sites, shared := sitesOn(t, one, other)
	change(t, shared, sites, 2, []netip.AddrPort{other}, []netip.AddrPort{all})
	wantGreeting(t, []netip.AddrPort{one, other}, "b a")
	change(t, shared, sites, 3, []netip.AddrPort{one}, []netip.AddrPort{other})
	wantGreeting(t, []netip.AddrPort{one, other}, "a b")
}

// A site that goes gives its address to another one at once.
func TestAddressOfASiteThatGoes(t *testing.T) {
	at := []netip.AddrPort{freePort(t), freePort(t)}
	sites, shared := sitesOn(t, at...)
	next := sites[0].make(2, at...)
	next.Wire.Hostname = "a.test"
	shared.Declare(map[int][]ports.Binding{1: next.Bindings, 2: nil})
	if st := sites[0].settle(next); st.Running != 2 || st.Why != "" {
		t.Errorf("%+v", st)
	}
	sites[1].stop()
	wantGreeting(t, at, "a a")
}
