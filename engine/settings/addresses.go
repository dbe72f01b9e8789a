// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"restante/metabase"
	"restante/metabase/schema"
)

// bindingIDs are where a site's key says where to listen. They are not
// inherited.
var bindingIDs = []metabase.ID{ServerBindings, SecureBindings, AtrnBindings}

// States in which a site has its addresses, by the numbers of ServerState.
const (
	stateStarting = 1
	stateStarted  = 2
	statePaused   = 6
)

// listens says that a site has its addresses, or gets them by itself.
func listens(snap metabase.Snapshot, n int) bool {
	r := newReader(snap, SitePath(n))
	state := r.number(ServerState)
	return r.flag(ServerAutoStart) || state == stateStarting || state == stateStarted || state == statePaused
}

// addressesOf lists the addresses that a site stores, each with its property.
// One of port 0 is no address yet.
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
// one has it, or starts by itself as well: one of the two could not start. Two
// that take turns are possible, where one does not start by itself.
func checkAddresses(c metabase.Change, sites []int) (problems []metabase.Problem) {
	if c.Batch != nil && (c.Batch.Actor == "" || c.Batch.Origin == metabase.FromImport) {
		return nil // what is taken back, or was so elsewhere, does not fail for what a state can show
	}
	fresh := map[int]map[netip.AddrPort]metabase.ID{}
	for _, n := range sites {
		if list := freshAddresses(c, n); len(list) > 0 {
			fresh[n] = list
		}
	}
	if len(fresh) == 0 {
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
			if id, ok := fresh[n][at]; ok {
				problems = append(problems, taken(c, n, id, at, other))
			} else if id, ok := fresh[other][at]; ok {
				problems = append(problems, taken(c, other, id, at, n))
			}
		}
	}
	return problems
}

// freshAddresses are those that a site listens on, or will, and did not before.
func freshAddresses(c metabase.Change, n int) map[netip.AddrPort]metabase.ID {
	now := addressesOf(c.New, n)
	if listens(c.Old, n) {
		for at := range addressesOf(c.Old, n) {
			delete(now, at)
		}
	}
	return now
}

func taken(c metabase.Change, n int, id metabase.ID, at netip.AddrPort, other int) metabase.Problem {
	prop, _ := schema.IIS().ByID(id)
	who := "another site"
	if c.Batch == nil || c.Old.Allows(append([]metabase.Principal{c.Batch.Actor}, c.Batch.Also...), SitePath(other), metabase.Read) {
		who = fmt.Sprintf("site %d", other)
	}
	return metabase.Problem{Path: SitePath(n), ID: id, Property: prop.Name, Err: invalid(
		"%s is an address of %s; name another, or set ServerAutoStart false at one of the two and have them take turns", at, who)}
}
