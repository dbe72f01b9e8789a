// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// IIS keeps a list of IPv4 addresses that are granted something as
// little-endian words, where an offset has its top bit set:
//
//	 0  offsets of four sections: denied addresses, granted addresses,
//	    denied names, granted names
//	16  1: only what is listed is granted
//	20  where the header ends and the data begins
//	24  denied addresses: 0, 0
//	32  granted addresses: the number of groups, then for each group six words:
//	    its addresses, the address family (2), the items of its data (the mask
//	    and the addresses), the octets of an item (4), 0, the offset of its data
//	..  the names: 0, 0, then 0, 0
//	..  the data of each group: its mask, then its addresses, in network order
//
// A group holds the networks of one size.
const (
	listOffset   = 1 << 31
	listFixed    = 24 // octets before the sections
	listEmpty    = 8  // octets of an empty section
	listGroup    = 24 // octets that describe a group
	listFamily   = 2
	listItem     = 4
	maxListBytes = 256 << 10
)

// DecodeIPList reads IIS's binary form. An empty value is an empty list. A value
// that does not have the form is an error of kind [metabase.Invalid]: nothing is
// guessed.
func DecodeIPList(b []byte) ([]netip.Prefix, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b)%4 != 0 || len(b) > maxListBytes || len(b) < listFixed+3*listEmpty+4+listGroup {
		return nil, invalid("an IP list of %d octets does not have the known form", len(b))
	}
	word := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	groups := word(listFixed + listEmpty)
	if groups < 1 || groups > 33 {
		return nil, invalid("an IP list with %d groups of masks does not have the known form", groups)
	}
	header := listHeader(groups)
	end := len(header) * 4
	if end > len(b) {
		return nil, invalid("the IP list ends within its header")
	}
	for i, want := range header {
		if want != listAny && uint32(word(i*4)) != want {
			return nil, invalid("the IP list does not have the known form: word %d is 0x%x", i, uint32(word(i*4)))
		}
	}
	nets, used, err := decodeGroups(b, groups, end)
	if err == nil && used != len(b) {
		err = invalid("the IP list has %d octets more than its groups say", len(b)-used)
	}
	return nets, err
}

// listAny marks a word that depends on the group.
const listAny = 0xdeadbeef

// listHeader is the words that a list of so many groups begins with.
func listHeader(groups int) []uint32 {
	granted := uint32(listFixed + listEmpty)
	denied, names := granted-listEmpty, granted+4+uint32(groups)*listGroup
	h := []uint32{
		listOffset | denied, listOffset | granted, listOffset | names, listOffset | (names + listEmpty),
		1, names + 2*listEmpty, 0, 0, uint32(groups),
	}
	for range groups {
		h = append(h, listAny, listFamily, listAny, listItem, 0, listAny)
	}
	return append(h, 0, 0, 0, 0)
}

func decodeGroups(b []byte, groups, at int) (nets []netip.Prefix, end int, err error) {
	for g := range groups {
		desc := b[listFixed+listEmpty+4+g*listGroup:]
		count, items := binary.LittleEndian.Uint32(desc), binary.LittleEndian.Uint32(desc[8:])
		offset := binary.LittleEndian.Uint32(desc[20:])
		size := (uint64(count) + 1) * listItem
		if uint64(items) != uint64(count)+1 || offset != listOffset|uint32(at) || uint64(at)+size > uint64(len(b)) {
			return nil, 0, invalid("the counts of group %d of the IP list do not add up", g+1)
		}
		data := b[at : at+int(size)]
		at += int(size)
		ones := bits.LeadingZeros32(^binary.BigEndian.Uint32(data))
		if !slices.Equal(data[:4], mask4(ones)) {
			return nil, 0, invalid("the mask of group %d of the IP list has gaps", g+1)
		}
		for item := range slices.Chunk(data[4:], listItem) {
			nets = append(nets, netip.PrefixFrom(netip.AddrFrom4([4]byte(item)), ones).Masked())
		}
	}
	return nets, at, nil
}

func mask4(ones int) []byte {
	return binary.BigEndian.AppendUint32(nil, ^uint32(1<<(32-ones)-1))
}

// EncodeIPList writes IIS's binary form of IPv4 networks, single addresses
// first, then the smaller networks before the larger. A list of single addresses
// is the same as from IIS's own scripts, octet for octet.
func EncodeIPList(nets []netip.Prefix) ([]byte, error) {
	sizes := map[int][]netip.Addr{}
	for _, n := range nets {
		if !n.Addr().Is4() {
			return nil, invalid("%s is not IPv4; this list is for IPv4 only", n)
		}
		sizes[n.Bits()] = append(sizes[n.Bits()], n.Masked().Addr())
	}
	var order []int
	for ones := 32; ones >= 0; ones-- {
		// A list without a single address has a group for them nonetheless.
		if len(sizes[ones]) > 0 || len(sizes) == 0 && ones == 32 {
			order = append(order, ones)
		}
	}
	header := listHeader(len(order))
	var data []byte
	for g, ones := range order {
		at := (listFixed + listEmpty + 4 + g*listGroup) / 4
		header[at], header[at+2] = uint32(len(sizes[ones])), uint32(len(sizes[ones])+1)
		header[at+5] = listOffset | uint32(len(header)*4+len(data))
		data = append(data, mask4(ones)...)
		for _, a := range sizes[ones] {
			data = append(data, a.AsSlice()...)
		}
	}
	var out []byte
	for _, w := range header {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	if out = append(out, data...); len(out) > maxListBytes {
		return nil, invalid("the IP list has more than %d networks", maxListBytes/listItem)
	}
	return out, nil
}

// parseIPList reads the text form of an IP list, or the hexadecimal one.
func parseIPList(args []string) ([]byte, error) {
	if len(args) == 1 && len(args[0]) >= 2*listFixed && strings.Trim(args[0], "0123456789abcdefABCDEF") == "" {
		b, err := hex.DecodeString(args[0])
		if err != nil {
			return nil, invalid("the hexadecimal form has an odd number of digits")
		}
		_, err = DecodeIPList(b)
		return b, err
	}
	var nets []netip.Prefix
	var bad []error
	for _, arg := range args {
		n, ok, err := parseMasked(arg)
		switch {
		case err != nil:
			bad = append(bad, err)
			continue
		case ok:
			nets = append(nets, n)
			continue
		}
		for _, w := range splitWords(arg) {
			n, err := ParsePrefix(w)
			if err == nil && !n.Addr().Is4() {
				err = invalid("%q: this list is for IPv4; IPv6 has a list of its own, such as RelayIpv6List", clip(w))
			}
			if err != nil {
				bad = append(bad, err)
			}
			nets = append(nets, n)
		}
	}
	if len(bad) > 0 {
		return nil, joined(bad)
	}
	return EncodeIPList(unique(nets))
}

func unique(nets []netip.Prefix) (out []netip.Prefix) {
	seen := map[netip.Prefix]bool{}
	for _, n := range nets {
		if !seen[n] {
			seen[n] = true
			out = append(out, n)
		}
	}
	return out
}

// parseMasked reads ADSI's form "ADDR, MASK"; ok is false if the second part is
// an address. A malformed mask is refused: read as an address, it would admit
// another client than was meant.
func parseMasked(s string) (n netip.Prefix, ok bool, err error) {
	a, m, ok := strings.Cut(s, ",")
	addr, err := netip.ParseAddr(strings.TrimSpace(a))
	if !ok || err != nil || !addr.Is4() {
		return netip.Prefix{}, false, nil
	}
	mask, err := netip.ParseAddr(strings.TrimSpace(m))
	if err != nil || !mask.Is4() {
		return netip.Prefix{}, false, nil
	}
	raw := mask.As4()
	ones := bits.LeadingZeros32(^binary.BigEndian.Uint32(raw[:]))
	switch {
	case mask == netip.IPv4Unspecified():
		return netip.Prefix{}, false, invalid("%q: the mask %s is everybody; that is written 0.0.0.0/0", clip(s), mask)
	case slices.Equal(raw[:], mask4(ones)) && ones > 0:
		return netip.PrefixFrom(addr, ones).Masked(), true, nil
	case raw[0] == 255:
		return netip.Prefix{}, false, invalid("%q: the mask %s has gaps; allowed are ADDR, ADDR/BITS and \"ADDR, MASK\"", clip(s), mask)
	}
	return netip.Prefix{}, false, nil // two addresses, then
}

// ParsePrefix reads an address or ADDR/BITS. A network with bits beyond its
// size is refused: one digit too few would admit a large network.
func ParsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, invalid("%q is no address and no network; allowed are ADDR and ADDR/BITS", clip(s))
	}
	if n.Addr().Is4In6() && n.Bits() >= 96 { // the callers in it are IPv4
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	if n != n.Masked() {
		return netip.Prefix{}, invalid("%s has bits beyond its first %d; is it %s or %s?", n, n.Bits(), n.Masked(), n.Addr())
	}
	return n, nil
}

// parsePrefix6 is ParsePrefix for IPv6 alone.
func parsePrefix6(s string) (string, error) {
	n, err := ParsePrefix(s)
	if err == nil && !n.Addr().Is6() {
		err = invalid("%q: this list is for IPv6; IPv4 has a list of its own, such as RelayIpList", clip(s))
	}
	return prefixText(n), err
}

// parseNetwork is ParsePrefix for both families.
func parseNetwork(s string) (string, error) {
	n, err := ParsePrefix(s)
	return prefixText(n), err
}

// The words of a list of callers.
const (
	CallerAccounts = "accounts" // the accounts of AuthTurnList
	CallerAny      = "any"      // everybody
)

// parseCaller is ParsePrefix with the words of a list of callers.
func parseCaller(s string) (string, error) {
	for _, word := range []string{CallerAccounts, CallerAny} {
		if strings.EqualFold(s, word) {
			return word, nil
		}
	}
	n, err := ParsePrefix(s)
	if err != nil && !strings.ContainsAny(s, "./:") {
		err = invalid("%q: allowed are accounts, any, ADDR and ADDR/BITS", clip(s))
	}
	return prefixText(n), err
}

// prefixText leaves out the size of a single address.
func prefixText(n netip.Prefix) string {
	if n.IsValid() && n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.String()
}
