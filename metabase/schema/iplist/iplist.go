// SPDX-License-Identifier: Apache-2.0

// Package iplist has the lists of addresses and host names that IIS keeps in
// IPSecurity and RelayIpList: who is in them, their octets and their text.
package iplist

import (
	"net/netip"
	"slices"
	"strings"
)

// A List says which clients are granted something: to connect, or to relay. Only
// the halves that fit GrantByDefault decide; the others are kept.
type List struct {
	GrantByDefault bool           // all but those of Deny and DenyNames; else those of Grant and GrantNames alone
	Grant, Deny    []netip.Prefix // IPv4
	GrantNames     []string       // in lower case: a host, or *.domain for the hosts below it
	DenyNames      []string
}

// Names gives the names of a client. They are asked for only where they decide.
// Nil: they are not known yet, and a list that depends on them grants.
type Names = func() ([]string, error)

// Grants reports whether a client is granted. One whose names decide and cannot
// be found is not.
func (l List) Grants(client netip.Addr, names Names) bool {
	client = client.Unmap().WithZone("")
	at, named := l.Grant, l.GrantNames
	if l.GrantByDefault {
		at, named = l.Deny, l.DenyNames
	}
	switch {
	case slices.ContainsFunc(at, func(n netip.Prefix) bool { return n.Contains(client) }):
		return !l.GrantByDefault
	case len(named) == 0:
		return l.GrantByDefault
	case names == nil:
		return true
	}
	list, err := names()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(name string) bool { return matches(named, name) }) != l.GrantByDefault
}

// Empty reports whether nobody is granted.
func (l List) Empty() bool {
	return !l.GrantByDefault && len(l.Grant) == 0 && len(l.GrantNames) == 0
}

func matches(patterns []string, name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return slices.ContainsFunc(patterns, func(p string) bool {
		if below, ok := strings.CutPrefix(p, "*"); ok {
			return strings.HasSuffix(name, below) && len(name) > len(below)
		}
		return p == name
	})
}
