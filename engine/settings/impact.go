// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"restante/engine/mail"
	"restante/metabase"
	"restante/metabase/schema"
)

// An Impact tells what a change touches beyond the keys that it names.
type Impact struct {
	Heirs []Heirs      // for each changed property that is inherited, in the order of the change
	Sites []SiteImpact // the sites whose settings may come out otherwise, in order
}

// Heirs counts the keys below Path that take a changed property from there.
type Heirs struct {
	Path     metabase.Path
	ID       metabase.ID
	Property string // "" where the schema has no name for it
	Sites    []int
	Domains  int
	Accounts int
}

// A SiteImpact tells what a change does to one site.
type SiteImpact struct {
	Number     int
	Relay      *big.Int // addresses that may relay and could not before
	RelayAuth  bool     // whoever has signed in may relay and could not before
	OpenDomain []string // touched domains that take mail from anybody and did not before
	old, new   *Site
}

// Reroutes says whether mail for a domain would go another way than before:
// held or not, to other hosts, or otherwise spoken to.
func (i SiteImpact) Reroutes(d mail.Domain) bool {
	if i.old == nil || i.new == nil {
		return i.old != i.new
	}
	before, after := i.old.Route(d), i.new.Route(d)
	before.Why, after.Why = nil, nil
	return !reflect.DeepEqual(before, after)
}

// Assess works out the impact of a change, for those who look before they
// leap. It takes longer than Check: it looks at every key below the changed
// ones.
func Assess(c metabase.Change) Impact {
	var impact Impact
	for _, path := range c.Touched {
		for _, id := range changedIDs(c, path) {
			if h, ok := heirs(c, path, id); ok {
				impact.Heirs = append(impact.Heirs, h)
			}
		}
	}
	numbers := Numbers(c.New)
	for _, n := range Numbers(c.Old) {
		if !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if touches(c, n) {
			impact.Sites = append(impact.Sites, assessSite(c, n))
		}
	}
	return impact
}

// touches says that something at, above or below the site is touched.
func touches(c metabase.Change, n int) bool {
	site := SitePath(n)
	return slices.ContainsFunc(c.Touched, func(p metabase.Path) bool { return p.Within(site) || site.Within(p) })
}

// changedIDs lists the properties of a key whose value or attributes differ.
func changedIDs(c metabase.Change, path metabase.Path) (ids []metabase.ID) {
	for _, item := range c.New.Properties(path) {
		was, ok := c.Old.Stored(path, item.ID)
		if !ok || !was.Value.Equal(item.Value) || was.Attr != item.Attr {
			ids = append(ids, item.ID)
		}
	}
	for _, was := range c.Old.Properties(path) {
		if _, ok := c.New.Stored(path, was.ID); !ok {
			ids = append(ids, was.ID)
		}
	}
	return ids
}

// heirs counts who takes the property from path, before the change or after
// it.
func heirs(c metabase.Change, path metabase.Path, id metabase.ID) (Heirs, bool) {
	prop, _ := schema.IIS().ByID(id)
	h := Heirs{Path: path, ID: id, Property: prop.Name}
	if id == metabase.KeyType {
		return h, false
	}
	for below := range c.New.Walk(path) {
		class := c.New.Class(below)
		if below.Equal(path) || prop.Name != "" && !prop.In(class) || !takes(c, below, path, id) {
			continue
		}
		above := c.New.Class(below.Parent())
		switch {
		case strings.EqualFold(class, schema.Server):
			n, _, _ := siteOf(below)
			h.Sites = append(h.Sites, n)
		case strings.EqualFold(class, schema.Domain) && strings.EqualFold(above, schema.Domain):
			h.Domains++
		case strings.EqualFold(class, schema.User) && strings.EqualFold(above, schema.User):
			h.Accounts++
		}
	}
	slices.Sort(h.Sites)
	return h, len(h.Sites)+h.Domains+h.Accounts > 0
}

func takes(c metabase.Change, below, path metabase.Path, id metabase.ID) bool {
	for _, snap := range []metabase.Snapshot{c.Old, c.New} {
		if _, from, ok := snap.Effective(below, id); ok && from.Equal(path) {
			return true
		}
	}
	return false
}

func assessSite(c metabase.Change, n int) SiteImpact {
	i := SiteImpact{Number: n, Relay: new(big.Int)}
	// Problems are Check's to tell: what could be read counts here.
	i.old, _ = load(c.Old, n)
	i.new, _ = load(c.New, n)
	if i.new == nil {
		return i
	}
	before := Relay{}
	if i.old != nil {
		before = i.old.Relay
	}
	both := slices.Concat(before.Nets, i.new.Relay.Nets)
	i.Relay.Sub(addresses(both), addresses(before.Nets))
	i.RelayAuth = i.new.Relay.ForAuth && !before.ForAuth
	for _, path := range c.Touched {
		if !path.Parent().Equal(DomainsPath(n)) || !c.New.Has(path) {
			continue
		}
		name := mail.Domain(strings.ToLower(path.Base()))
		if i.new.Standing(name) != Foreign && (i.old == nil || i.old.Standing(name) == Foreign) {
			i.OpenDomain = append(i.OpenDomain, path.Base())
		}
	}
	return i
}

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
