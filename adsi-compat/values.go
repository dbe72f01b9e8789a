// SPDX-License-Identifier: Apache-2.0

package adsi

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"restante/metabase"
	"restante/metabase/schema"
	"restante/metabase/schema/iplist"
)

// native gives the value as scripts work with it, see Object.Get. What the schema
// says is no secret, and asterisks for it would report one that nobody set.
func (st state) native(p schema.Prop) any {
	if st.set && (p.Attr|st.item.Attr)&metabase.Secure != 0 {
		return metabase.Asterisks
	}
	return native(p, st.item.Value)
}

func native(p schema.Prop, v metabase.Value) any {
	switch {
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
	if list, ok := value.(IPList); ok && p.Syntax == schema.IPList {
		return list.value()
	}
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
		if b, ok := anyNumber(p, v); ok {
			return []string{strconv.FormatBool(b)}, nil
		}
		if p.Syntax == schema.Accounts { // IIS takes several in one string
			return schema.SplitAccounts(v), nil
		}
		return []string{v}, nil
	case []string:
		if p.Syntax == schema.Accounts {
			return schema.CutLogonDomains(v), nil
		}
		return v, nil
	case float64:
		if p.Syntax == schema.Boolean || p.Syntax == schema.Flag {
			return []string{strconv.FormatBool(v != 0)}, nil
		}
		if v < 0 && v >= -1<<31 && p.Type == metabase.DWordType { // ADSI's numbers have a sign
			v += 1 << 32
		}
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}, nil
	case bool:
		if p.Syntax == schema.Integer && p.Name == "" {
			return []string{map[bool]string{true: "1", false: "0"}[v]}, nil
		}
		return []string{strconv.FormatBool(v)}, nil
	case IPList:
		return nil, errors.New("takes no list of addresses that are granted and denied")
	}
	return nil, fmt.Errorf("takes no %T", value)
}

// An IPList is what IPSecurity and RelayIpList are to a script. An entry of
// addresses is "ADDR" or "ADDR, MASK"; ADDR/BITS is taken, too. One of names is a
// host or *.domain. Only the lists that fit GrantByDefault decide; the others are
// kept.
type IPList struct {
	GrantByDefault bool
	IPGrant        []string
	IPDeny         []string
	DomainGrant    []string
	DomainDeny     []string
}

// emptyIsAll says that everybody is let in where no list is set: nothing is kept
// from anybody who is not kept from connecting. To relay, nobody is.
func emptyIsAll(p schema.Prop) bool { return strings.EqualFold(p.Name, "IPSecurity") }

// listIn reads the list as it is stored.
func listIn(p schema.Prop, v metabase.Value) (iplist.List, error) {
	if len(v.Bytes()) == 0 {
		return iplist.List{GrantByDefault: emptyIsAll(p)}, nil
	}
	return iplist.Decode(v.Bytes())
}

// ipListOf reads the list as it is stored, for a script.
func ipListOf(p schema.Prop, v metabase.Value) (IPList, error) {
	l, err := listIn(p, v)
	return IPList{
		GrantByDefault: l.GrantByDefault, IPGrant: masked(l.Grant), IPDeny: masked(l.Deny),
		DomainGrant: slices.Concat([]string{}, l.GrantNames), DomainDeny: slices.Concat([]string{}, l.DenyNames),
	}, err
}

func masked(nets []netip.Prefix) []string {
	out := make([]string, len(nets))
	for i, n := range nets {
		out[i] = n.Addr().String()
		if !n.IsSingleIP() {
			out[i] += ", " + net.IP(net.CIDRMask(n.Bits(), 32)).String()
		}
	}
	return out
}

// value gives the octets of the list, or says what is wrong with an entry.
func (l IPList) value() (metabase.Value, error) {
	list := iplist.List{GrantByDefault: l.GrantByDefault}
	var errs [4]error
	list.Grant, errs[0] = each(l.IPGrant, iplist.ParseEntry)
	list.Deny, errs[1] = each(l.IPDeny, iplist.ParseEntry)
	list.GrantNames, errs[2] = each(l.DomainGrant, iplist.ParseName)
	list.DenyNames, errs[3] = each(l.DomainDeny, iplist.ParseName)
	if err := errors.Join(errs[:]...); err != nil {
		return metabase.Value{}, err
	}
	b, err := list.Encode()
	return metabase.Binary(b), err
}

// each parses every entry and leaves out what comes twice.
func each[T comparable](entries []string, parse func(string) (T, error)) (out []T, err error) {
	for _, entry := range entries {
		one, bad := parse(entry)
		if bad != nil {
			err = errors.Join(err, bad)
		} else if !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return out, err
}

// anyNumber reads a text with a number for a boolean as VBScript does: all but 0
// is true.
func anyNumber(p schema.Prop, s string) (value, ok bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return n != 0, err == nil && (p.Syntax == schema.Boolean || p.Syntax == schema.Flag)
}
