// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// An IPList is what IPSecurity and RelayIpList are to a script. An entry is
// "ADDR" or "ADDR, MASK"; ADDR/BITS is taken, too. Only what is granted can be
// listed here: an IPList that says more is refused by Put.
type IPList struct {
	GrantByDefault bool
	IPGrant        []string
	IPDeny         []string
	DomainGrant    []string
	DomainDeny     []string
}

// emptyIsAll says that the list without an entry lets everybody in: nothing is
// kept from anybody who is not kept from connecting. A relay list without one
// lets nobody.
func emptyIsAll(p schema.Prop) bool { return strings.EqualFold(p.Name, "IPSecurity") }

// ipListOf reads the list as it is stored.
func ipListOf(p schema.Prop, v metabase.Value) (IPList, error) {
	nets, err := schema.DecodeIPList(v.Bytes())
	list := IPList{IPGrant: make([]string, len(nets)), GrantByDefault: len(nets) == 0 && emptyIsAll(p)}
	for i, n := range nets {
		list.IPGrant[i] = n.Addr().String()
		if !n.IsSingleIP() {
			list.IPGrant[i] += ", " + net.IP(net.CIDRMask(n.Bits(), 32)).String()
		}
	}
	return list, err
}

// words gives what p's value is made of, or says what cannot be kept.
func (l IPList) words(p schema.Prop) ([]string, error) {
	switch {
	case len(l.DomainGrant)+len(l.DomainDeny) > 0:
		return nil, errors.New("DomainGrant and DomainDeny cannot be kept: only addresses are compared, no names")
	case len(l.IPDeny) > 0:
		return nil, errors.New("IPDeny cannot be kept: set GrantByDefault to false and list in IPGrant who is let in")
	case l.GrantByDefault && len(l.IPGrant) > 0:
		return nil, errors.New("IPGrant means nothing while GrantByDefault is true: set it to false")
	case l.GrantByDefault && !emptyIsAll(p):
		return nil, errors.New("GrantByDefault cannot be true: everybody could relay")
	case !l.GrantByDefault && len(l.IPGrant) == 0 && emptyIsAll(p):
		return nil, errors.New("an empty IPGrant would let everybody in: list who may, or set GrantByDefault to true")
	}
	return l.IPGrant, eachOne(p, l.IPGrant)
}

// eachOne refuses an entry that is more than one network: a mask with gaps would
// be taken for a second address.
func eachOne(p schema.Prop, entries []string) error {
	for _, entry := range entries {
		v, err := p.Parse([]string{entry})
		if err != nil {
			return err
		}
		if nets, err := schema.DecodeIPList(v.Bytes()); err != nil || len(nets) != 1 {
			return fmt.Errorf("%q is not one entry: an address, or an address and its mask", entry)
		}
	}
	return nil
}
