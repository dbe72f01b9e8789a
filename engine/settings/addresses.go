// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"maps"
	"net/netip"
	"slices"

	"restante/metabase"
	"restante/metabase/schema"
)

// bindingIDs are the properties of a site's key that name addresses. They are
// not inherited.
var bindingIDs = []metabase.ID{ServerBindings, SecureBindings, AtrnBindings}

// Values of ServerState of a site that has its addresses.
const (
	stateStarting = 1
	stateStarted  = 2
	statePaused   = 6
)

// listens reports whether a site has its addresses, or gets them when the
// service starts.
func listens(snap metabase.Snapshot, n int) bool {
	r := newReader(snap, SitePath(n))
	state := r.number(ServerState)
	return r.flag(ServerAutoStart) || state == stateStarting || state == stateStarted || state == statePaused
}

// HasAddress reports whether a site's own key names an address to listen on.
func HasAddress(snap metabase.Snapshot, n int) bool {
	return slices.ContainsFunc(bindingIDs, func(id metabase.ID) bool {
		_, ok := snap.Stored(SitePath(n), id)
		return ok
	})
}

// addressesOf lists the addresses that a site stores, each with its property.
// One of port 0 is left out: its port is chosen at the start.
func addressesOf(snap metabase.Snapshot, n int) map[netip.AddrPort]metabase.ID {
	out := map[netip.AddrPort]metabase.ID{}
	for _, id := range bindingIDs {
		item, _ := snap.Stored(SitePath(n), id)
		for _, text := range item.Value.Strings() {
			if b, err := schema.ParseBinding(text); err == nil && b.Port != 0 {
				out[b.AddrPort()] = id
			}
		}
	}
	return out
}

// checkAddresses refuses an address that a change gives to a site while another
// one has it or gets it at the start: one of the two could not start. Two sites
// can have one address by turns if one of them has ServerAutoStart false.
func checkAddresses(c metabase.Change, sites []int) (problems []metabase.Problem) {
	if c.Batch != nil && (c.Batch.Actor == "" || c.Batch.Origin == metabase.FromImport) {
		return nil // an import or a roll-back is not refused for this: the state of the site shows it
	}
	added := map[int]map[netip.AddrPort]metabase.ID{}
	for _, n := range sites {
		if list := addedAddresses(c, n); len(list) > 0 {
			added[n] = list
		}
	}
	if len(added) == 0 {
		return nil
	}
	first := map[netip.AddrPort]int{}
	for _, n := range Numbers(c.New) {
		if !listens(c.New, n) {
			continue
		}
		for _, at := range slices.SortedFunc(maps.Keys(addressesOf(c.New, n)), netip.AddrPort.Compare) {
			other, twice := first[at]
			if !twice {
				first[at] = n
				continue
			}
			if id, ok := added[n][at]; ok {
				problems = append(problems, taken(n, id, at, other))
			} else if id, ok := added[other][at]; ok {
				problems = append(problems, taken(other, id, at, n))
			}
		}
	}
	return problems
}

// addedAddresses are those that a site listens on after the change, or will,
// and did not before.
func addedAddresses(c metabase.Change, n int) map[netip.AddrPort]metabase.ID {
	now := addressesOf(c.New, n)
	if listens(c.Old, n) {
		for at := range addressesOf(c.Old, n) {
			delete(now, at)
		}
	}
	return now
}

func taken(n int, id metabase.ID, at netip.AddrPort, other int) metabase.Problem {
	p := problem(SitePath(n), id, invalid(
		"%s is an address of site %d; name another, or set ServerAutoStart false at one of the two and have them take turns", at, other))
	p.Other = SitePath(other)
	return p
}

// allows reports whether the actor of a change has a right; a change without a
// batch is allowed everything.
func allows(c metabase.Change, p metabase.Path, r metabase.Right) bool {
	return c.Batch == nil || c.Old.Allows(append([]metabase.Principal{c.Batch.Actor}, c.Batch.Also...), p, r)
}
