// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"

	"restante/metabase"
	"restante/metabase/schema/iplist"
)

// A Reach says how many addresses may do something, and how many more and fewer than
// before a change. Who may by the names of hosts is not among them.
type Reach struct {
	More, Fewer, All *big.Int
}

// A DomainReach is a Reach for mail to one domain, whose key has relay lists of its
// own.
type DomainReach struct {
	Name string
	Reach
}

// reachOfDomains lists the touched domains with relay lists of their own, before the
// change or after it. One without a key has those of its site.
func reachOfDomains(c metabase.Change, i SiteImpact) (out []DomainReach) {
	seen := map[string]bool{}
	for _, path := range c.Touched {
		name := path.Base()
		if fold := strings.ToLower(name); seen[fold] || !path.Parent().Equal(DomainsPath(i.Number)) || !hasRelayList(c, path) {
			continue
		}
		seen[strings.ToLower(name)] = true
		r := reach(i.old.relayTo(path).clients(), i.new.relayTo(path).clients())
		if r.More.Sign() != 0 || r.Fewer.Sign() != 0 {
			out = append(out, DomainReach{name, r})
		}
	}
	return out
}

func hasRelayList(c metabase.Change, domain metabase.Path) bool {
	for _, snap := range []metabase.Snapshot{c.Old, c.New} {
		for _, id := range []metabase.ID{RelayIpList, RelayIpv6List} {
			if _, ok := snap.Stored(domain, id); ok {
				return true
			}
		}
	}
	return false
}

// relayTo is who may relay to the domain with a key, or may without it.
func (s *Site) relayTo(domain metabase.Path) Relay {
	switch {
	case s == nil:
		return Relay{}
	case s.has(domain):
		return s.domain(domain).Relay
	}
	return s.Relay
}

func nobody() Reach { return Reach{new(big.Int), new(big.Int), new(big.Int)} }

// clients are the addresses that may do something, by family, and the hosts that may
// or may not by name.
type clients struct {
	four, six family
	names     []string
	denied    []string
}

// A family is the addresses of nets, or all others of its kind.
type family struct {
	nets   []netip.Prefix
	others bool
}

func (r Relay) clients() clients {
	c := clients{six: family{nets: r.RelayIpv6List}}
	c.list(r.RelayIpList)
	return c
}

func (a Access) clients() clients {
	c := clients{six: family{nets: a.ConnectionIpv6List}}
	c.list(a.IPSecurity)
	switch list := a.IPSecurity; {
	case list == nil:
		c.four.others = len(a.ConnectionIpv6List) == 0
		c.six.others = c.four.others
	case list.Empty():
		c.four.nets = append(c.four.nets, netip.MustParsePrefix("127.0.0.0/8"))
		c.six.nets = append(slices.Clip(c.six.nets), netip.MustParsePrefix("::1/128"))
	case list.GrantByDefault && len(a.ConnectionIpv6List) == 0:
		c.six.others = true
	}
	return c
}

func (c *clients) list(l *iplist.List) {
	switch {
	case l == nil:
	case l.GrantByDefault:
		c.four, c.denied = family{l.Deny, true}, l.DenyNames
	default:
		c.four.nets, c.names = slices.Clip(l.Grant), l.GrantNames
	}
}

func reach(before, after clients) Reach {
	r := nobody()
	for _, f := range []struct {
		before, after family
		bits          uint
	}{{before.four, after.four, 32}, {before.six, after.six, 128}} {
		was, is, either := f.before.size(f.bits), f.after.size(f.bits), f.before.union(f.after, f.bits)
		r.All.Add(r.All, is)
		r.More.Add(r.More, new(big.Int).Sub(either, was))
		r.Fewer.Add(r.Fewer, new(big.Int).Sub(either, is))
	}
	return r
}

func (f family) size(bits uint) *big.Int {
	n := addresses(f.nets)
	if f.others {
		return n.Sub(power(bits), n)
	}
	return n
}

// union counts the addresses that are in f or g.
func (f family) union(g family, bits uint) *big.Int {
	a, b, both := addresses(f.nets), addresses(g.nets), addresses(slices.Concat(f.nets, g.nets))
	switch {
	case f.others && g.others: // all but what is in both lists
		return a.Add(a, b).Sub(a, both).Sub(power(bits), a)
	case f.others: // all but what is in f's list alone
		return a.Sub(both, b).Sub(power(bits), a)
	case g.others:
		return a.Sub(both, a).Sub(power(bits), a)
	}
	return both
}

func power(bits uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), bits) }

// addresses counts the addresses of the networks, each once.
func addresses(nets []netip.Prefix) *big.Int {
	sum := new(big.Int)
	var kept []netip.Prefix
	nets = slices.Clone(nets)
	// Two networks either lie one in the other or have nothing in common, and
	// in this order the larger comes first.
	slices.SortFunc(nets, func(a, b netip.Prefix) int {
		if d := a.Masked().Addr().Compare(b.Masked().Addr()); d != 0 {
			return d
		}
		return a.Bits() - b.Bits()
	})
	for _, n := range nets {
		if len(kept) > 0 && kept[len(kept)-1].Overlaps(n) {
			continue
		}
		kept = append(kept, n)
		size := big.NewInt(1)
		sum.Add(sum, size.Lsh(size, uint(n.Addr().BitLen()-n.Bits())))
	}
	return sum
}

// names lists the differences between the hosts that may do something by name, or may
// not, before and after.
func names(before, after clients, what string) (out []string) {
	say := func(list, others []string, format string) {
		list = slices.DeleteFunc(slices.Clone(list), func(n string) bool { return slices.Contains(others, n) })
		if len(list) > 0 {
			out = append(out, fmt.Sprintf(format, what, strings.Join(list, ", ")))
		}
	}
	say(after.names, before.names, "lets more hosts %s by name: %s")
	say(before.names, after.names, "lets fewer hosts %s by name: no longer %s")
	say(after.denied, before.denied, "names more hosts that may not %s: %s")
	say(before.denied, after.denied, "names fewer hosts that may not %s: no longer %s")
	return out
}
