// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
)

// secret stands for a value that is not shown.
const secret = "**********"

// native gives an item's value as scripts work with it, see Object.Get.
func native(p schema.Prop, item metabase.Property) any {
	v := item.Value
	switch {
	case (p.Attr|item.Attr)&metabase.Secure != 0:
		return secret
	case p.Syntax == schema.Flag:
		return p.Bit(v).DWord() != 0
	case p.Syntax == schema.Boolean:
		return v.DWord() != 0
	}
	switch v.Type() {
	case metabase.DWordType:
		return v.DWord()
	case metabase.BinaryType:
		return v.Bytes()
	case metabase.MultiSZType:
		return v.Strings()
	}
	return v.Str()
}

// typed gives a property that no table knows the type of what is stored or, for
// the first one, of the script's value.
func typed(p schema.Prop, stored metabase.Type, value any) schema.Prop {
	if p.Type != metabase.AnyType {
		return p
	}
	p.Type = stored
	if stored == metabase.AnyType {
		switch value.(type) {
		case float64, bool:
			p.Type = metabase.DWordType
		case []string:
			p.Type = metabase.MultiSZType
		default:
			p.Type = metabase.StringType
		}
	}
	switch p.Type {
	case metabase.DWordType:
		p.Syntax = schema.Integer
	case metabase.MultiSZType:
		p.Syntax = schema.List
	case metabase.BinaryType:
		p.Syntax = schema.Binary
	default:
		p.Syntax = schema.String
	}
	return p
}

// parse makes p's value of a script's.
func parse(p schema.Prop, value any) (metabase.Value, error) {
	words, err := texts(p, value)
	if err != nil {
		return metabase.Value{}, err
	}
	if p.Type == metabase.ExpandSZType { // only an item that is stored says so
		p.Type = metabase.StringType
		v, err := p.Parse(words)
		return metabase.ExpandSZ(v.Str()), err
	}
	return p.Parse(words)
}

// texts gives a script's value as the words that p reads.
func texts(p schema.Prop, value any) ([]string, error) {
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case []string:
		return v, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}, nil
	case bool:
		if p.Syntax == schema.Integer && p.Name == "" {
			return []string{map[bool]string{true: "1", false: "0"}[v]}, nil
		}
		return []string{strconv.FormatBool(v)}, nil
	case IPList:
		if p.Syntax != schema.IPList {
			return nil, errors.New("takes no list of addresses that are granted and denied")
		}
		return v.words(p)
	}
	return nil, fmt.Errorf("takes no %T", value)
}

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
