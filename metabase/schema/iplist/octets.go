// SPDX-License-Identifier: Apache-2.0

package iplist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
)

// IIS keeps a list as little-endian words, where an offset has its top bit set:
//
//	 0  offsets of four sections: denied addresses, granted addresses,
//	    denied names, granted names
//	16  1: only what is listed is granted; 0: all but what is denied
//	20  where the header ends and the data begins
//	24  the sections of addresses: the number of groups, then for each group six
//	    words: its addresses, the address family (2), the items of its data (the
//	    mask and the addresses), the octets of an item (4), 0, the offset of its
//	    data
//	..  the sections of names: the number of names, then for each its octets and
//	    the offset of its data
//	..  the data: of each group its mask, then its addresses, in network order;
//	    the names, each with zeros up to the next word
//
// A group holds the networks of one size. A section without entries is 0, 0; but
// where only the listed are granted, that of granted addresses has a group. How IIS
// keeps names, and how it keeps what is denied, is not documented: lists with them
// have this form here.
const (
	offsetBit  = 1 << 31
	fixed      = 24 // octets before the sections
	emptyWords = 2  // words of an empty section
	groupWords = 6  // words that describe a group
	family     = 2
	itemSize   = 4
	maxSize    = 256 << 10
	maxGroups  = 33
)

// A section is the groups of addresses or the names of one section.
type section struct {
	groups []group
	names  []string
}

type group struct {
	ones  int
	addrs []netip.Addr
}

// words is the size of the section in the header.
func (s section) words() int {
	switch {
	case len(s.groups) > 0:
		return 1 + groupWords*len(s.groups)
	case len(s.names) > 0:
		return 1 + 2*len(s.names)
	}
	return emptyWords
}

// Encode writes a list. One of single addresses that are granted is the same as
// from scripts of IIS, octet for octet.
func (l List) Encode() ([]byte, error) {
	denied, derr := grouped(l.Deny)
	granted, gerr := grouped(l.Grant)
	if err := errors.Join(derr, gerr); err != nil {
		return nil, err
	}
	only := uint32(0)
	if !l.GrantByDefault {
		only = 1
		if len(granted) == 0 {
			granted = []group{{ones: 32}}
		}
	}
	out := encode(only, [4]section{{groups: denied}, {groups: granted}, {names: l.DenyNames}, {names: l.GrantNames}})
	if len(out) > maxSize {
		return nil, fmt.Errorf("the list has %d octets; allowed are %d", len(out), maxSize)
	}
	return out, nil
}

// grouped puts single addresses first, then the smaller networks before the larger.
func grouped(nets []netip.Prefix) (groups []group, err error) {
	sizes := map[int][]netip.Addr{}
	for _, n := range nets {
		if !n.Addr().Is4() {
			return nil, fmt.Errorf("%s is not IPv4; this list is for IPv4 only", n)
		}
		sizes[n.Bits()] = append(sizes[n.Bits()], n.Masked().Addr())
	}
	for ones := 32; ones >= 0; ones-- {
		if len(sizes[ones]) > 0 {
			groups = append(groups, group{ones, sizes[ones]})
		}
	}
	return groups, nil
}

func encode(only uint32, sections [4]section) []byte {
	var header []uint32
	at := fixed / 4
	for _, s := range sections {
		header = append(header, offsetBit|uint32(at*4))
		at += s.words()
	}
	end := at * 4
	header = append(header, only, uint32(end))
	var data []byte
	for _, s := range sections {
		header = append(header, uint32(max(len(s.groups), len(s.names))))
		for _, g := range s.groups {
			n := uint32(len(g.addrs))
			header = append(header, n, family, n+1, itemSize, 0, offsetBit|uint32(end+len(data)))
			data = append(data, mask4(g.ones)...)
			for _, a := range g.addrs {
				data = append(data, a.AsSlice()...)
			}
		}
		for _, name := range s.names {
			header = append(header, uint32(len(name)), offsetBit|uint32(end+len(data)))
			data = append(data, name...)
			data = append(data, make([]byte, -len(data)&3)...)
		}
		if len(s.groups) == 0 && len(s.names) == 0 {
			header = append(header, 0)
		}
	}
	var out []byte
	for _, w := range header {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	return append(out, data...)
}

func mask4(ones int) []byte {
	return binary.BigEndian.AppendUint32(nil, ^uint32(1<<(32-ones)-1))
}

// Decode reads a list. What does not have the form is an error: nothing is
// guessed.
func Decode(b []byte) (List, error) {
	if len(b)%4 != 0 || len(b) > maxSize || len(b) < fixed+4*emptyWords*4 {
		return List{}, fmt.Errorf("an IP list of %d octets does not have the known form", len(b))
	}
	r := reader{b: b, at: fixed}
	var sections [4]section
	for i := range sections {
		var err error
		if sections[i], err = r.section(i >= 2); err != nil {
			return List{}, err
		}
	}
	l := List{
		GrantByDefault: r.word(16) == 0,
		Deny:           networks(sections[0].groups), Grant: networks(sections[1].groups),
		DenyNames: sections[2].names, GrantNames: sections[3].names,
	}
	// Whatever else has to be so is compared with what is written for these
	// sections.
	again := encode(uint32(r.word(16)), sections)
	for i := 0; i < len(again) && i < len(b); i += 4 {
		if got := r.word(i); got != int(binary.LittleEndian.Uint32(again[i:])) {
			return List{}, fmt.Errorf("the IP list does not have the known form: word %d is 0x%x", i/4, got)
		}
	}
	switch only := r.word(16); {
	case len(again) != len(b):
		return List{}, fmt.Errorf("the IP list has %d octets; its counts make %d", len(b), len(again))
	case only > 1:
		return List{}, fmt.Errorf("the IP list does not have the known form: word 4 is 0x%x", only)
	case only == 1 && len(sections[1].groups) == 0:
		return List{}, errors.New("the IP list does not have the known form: it has no granted addresses, not even none")
	}
	if err := l.check(); err != nil {
		return List{}, err
	}
	return l, nil
}

// A reader goes over the header; what it reads from the data is bounded by b.
type reader struct {
	b  []byte
	at int
}

func (r *reader) word(at int) int { return int(binary.LittleEndian.Uint32(r.b[at:])) }

func (r *reader) has(at, n int) bool { return at >= 0 && n >= 0 && at <= len(r.b) && n <= len(r.b)-at }

func (r *reader) section(names bool) (s section, err error) {
	if !r.has(r.at, emptyWords*4) {
		return s, errors.New("the IP list ends within its header")
	}
	count, width := r.word(r.at), groupWords*4
	if names {
		width = 8
	} else if count > maxGroups {
		return s, fmt.Errorf("an IP list with %d groups of masks does not have the known form", count)
	}
	if count == 0 {
		r.at += emptyWords * 4
		return s, nil
	}
	if count > len(r.b) || !r.has(r.at, 4+count*width) {
		return s, errors.New("the IP list ends within its header")
	}
	for i := range count {
		at := r.at + 4 + i*width
		if names {
			size, offset := r.word(at), r.word(at+4)&^offsetBit
			if size == 0 || !r.has(offset, size) {
				return s, fmt.Errorf("name %d of the IP list is outside of it", i+1)
			}
			s.names = append(s.names, string(r.b[offset:offset+size]))
			continue
		}
		g, err := r.group(at, i+1)
		if err != nil {
			return s, err
		}
		s.groups = append(s.groups, g)
	}
	r.at += 4 + count*width
	return s, nil
}

func (r *reader) group(at, number int) (g group, err error) {
	count, offset := r.word(at), r.word(at+20)&^offsetBit
	if count > len(r.b) || !r.has(offset, (count+1)*itemSize) {
		return g, fmt.Errorf("the counts of group %d of the IP list do not add up", number)
	}
	data := r.b[offset : offset+(count+1)*itemSize]
	g.ones = bits.LeadingZeros32(^binary.BigEndian.Uint32(data))
	if !slices.Equal(data[:itemSize], mask4(g.ones)) {
		return g, fmt.Errorf("the mask of group %d of the IP list has gaps", number)
	}
	for item := range slices.Chunk(data[itemSize:], itemSize) {
		g.addrs = append(g.addrs, netip.AddrFrom4([4]byte(item)))
	}
	return g, nil
}

func networks(groups []group) (nets []netip.Prefix) {
	for _, g := range groups {
		for _, a := range g.addrs {
			nets = append(nets, netip.PrefixFrom(a, g.ones).Masked())
		}
	}
	return nets
}

// check holds that names are such as the text form has.
func (l List) check() error {
	for _, name := range slices.Concat(l.DenyNames, l.GrantNames) {
		if canon, ok := hostName(name); !ok || canon != name {
			return fmt.Errorf("%q in the IP list is no name of a host", clip(name))
		}
	}
	return nil
}
