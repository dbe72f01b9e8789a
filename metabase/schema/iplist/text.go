// SPDX-License-Identifier: Apache-2.0

package iplist

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// beginning is the first four octets of the binary form, as an address.
const beginning = "24.0.0.128"

// The words of the text form beside addresses and names.
const (
	all  = "all"   // GrantByDefault
	none = "none"  // alone: nobody is granted
	deny = "deny:" // before what is denied
	kept = "kept:" // before what is of the half that does not decide
)

// Format writes a list as Parse reads it.
func (l List) Format() []string {
	words := []string{}
	if l.GrantByDefault {
		words = append(words, all)
	}
	granted, denied := "", kept
	if l.GrantByDefault {
		granted, denied = kept, deny
	}
	for _, n := range l.Grant {
		words = append(words, granted+PrefixText(n))
	}
	if len(words) > 0 && words[0] == beginning {
		words[0] += "/32"
	}
	for _, name := range l.GrantNames {
		words = append(words, granted+name)
	}
	for _, n := range l.Deny {
		words = append(words, denied+PrefixText(n))
	}
	for _, name := range l.DenyNames {
		words = append(words, denied+name)
	}
	if len(words) == 0 {
		return []string{none}
	}
	return words
}

// Parse reads the text form: ADDR, ADDR/BITS, "ADDR, MASK", a name of a host or
// *.domain for each that is granted; or the word all, and deny: before each that
// is not; or none; and kept: before each that Format marks so. It also reads the octets, in hexadecimal digits or as the numbers that
// scripts have. The error has one error per bad word.
func Parse(words []string) (List, error) {
	b, ok, err := octets(words)
	switch {
	case err != nil:
		return List{}, err
	case ok && len(b) == itemSize:
		return List{}, fmt.Errorf("%s is how IIS's binary form begins; the address alone is written %[1]s/32", beginning)
	case ok:
		return Decode(b)
	}
	var l, rest List // rest has what is kept, as if it were granted
	if len(words) == 1 && strings.EqualFold(words[0], none) {
		return l, nil
	}
	var bad []error
	for _, word := range words {
		for _, entry := range entries(word) {
			if err := l.add(entry, &rest); err != nil {
				bad = append(bad, err)
			}
		}
	}
	if len(bad) == 0 {
		bad = l.contradictions()
	}
	if l.GrantByDefault {
		l.Grant, l.GrantNames = rest.Grant, rest.GrantNames
	} else {
		l.Deny, l.DenyNames = rest.Grant, rest.GrantNames
	}
	return l, errors.Join(bad...)
}

// add adds what an entry names, to rest what is kept.
func (l *List) add(entry string, rest *List) error {
	if strings.EqualFold(entry, all) {
		l.GrantByDefault = true
		return nil
	}
	nets, names := &l.Grant, &l.GrantNames
	if of, ok := cutPrefix(entry, deny); ok {
		entry, nets, names = of, &l.Deny, &l.DenyNames
	} else if of, ok := cutPrefix(entry, kept); ok {
		entry, nets, names = of, &rest.Grant, &rest.GrantNames
	}
	n, err := ParseEntry(entry)
	name, named := hostName(entry)
	switch {
	case err == nil:
		*nets = appendNew(*nets, n)
	case named:
		*names = appendNew(*names, name)
	default:
		return err
	}
	return nil
}

// cutPrefix is strings.CutPrefix in any case, of what has more than the prefix.
func cutPrefix(s, prefix string) (rest string, ok bool) {
	if len(s) > len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

func appendNew[T comparable](list []T, one T) []T {
	if slices.Contains(list, one) {
		return list
	}
	return append(list, one)
}

// entries splits a word, but for ADSI's form "ADDR, MASK", which is one.
func entries(word string) []string {
	one, denied := cutPrefix(word, deny)
	if !denied {
		one, _ = cutPrefix(word, kept)
	}
	if isMasked(one) {
		return []string{word}
	}
	return strings.FieldsFunc(word, func(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) })
}

// contradictions refuses what would be kept without effect.
func (l List) contradictions() (bad []error) {
	if l.GrantByDefault {
		for _, n := range l.Grant {
			bad = append(bad, fmt.Errorf("%s adds nothing to all; say deny:ADDR for who is kept out, or leave out all", PrefixText(n)))
		}
		for _, name := range l.GrantNames {
			bad = append(bad, fmt.Errorf("%s adds nothing to all; say deny:NAME for who is kept out, or leave out all", name))
		}
		return bad
	}
	if len(l.Deny)+len(l.DenyNames) > 0 {
		bad = append(bad, errors.New("deny: takes away nothing without the word all: only what is listed is granted"))
	}
	return bad
}

// ParseEntry reads "ADDR", "ADDR/BITS" or "ADDR, MASK" of IPv4.
func ParseEntry(s string) (netip.Prefix, error) {
	if isMasked(s) {
		return parseMasked(s)
	}
	n, err := ParsePrefix(s)
	if err == nil {
		err = CheckHost(n)
	}
	if err == nil && !n.Addr().Is4() {
		err = fmt.Errorf("%q: this list is for IPv4; IPv6 has a list of its own, such as RelayIpv6List", clip(s))
	}
	return n, err
}

// CheckHost refuses a single address that can only be a mask: its author meant
// the network before it.
func CheckHost(n netip.Prefix) error {
	if n.IsSingleIP() && n.Addr().Is4() && n.Addr().As4()[0] == 255 {
		return fmt.Errorf("%s is a mask and no address of a client; allowed are ADDR, ADDR/BITS and \"ADDR, MASK\"", n.Addr())
	}
	return nil
}

// isMasked reports whether s has ADSI's form "ADDR, MASK".
func isMasked(s string) bool {
	a, m, ok := strings.Cut(s, ",")
	addr, aerr := netip.ParseAddr(strings.TrimSpace(a))
	mask, merr := netip.ParseAddr(strings.TrimSpace(m))
	return ok && aerr == nil && merr == nil && addr.Is4() && mask.Is4() && (mask == netip.IPv4Unspecified() || mask.As4()[0] == 255 || isMask(mask))
}

func isMask(a netip.Addr) bool {
	raw := a.As4()
	ones := onesOf(a)
	return ones > 0 && slices.Equal(raw[:], mask4(ones))
}

func onesOf(a netip.Addr) int {
	raw := a.As4()
	return bits.LeadingZeros32(^(uint32(raw[0])<<24 | uint32(raw[1])<<16 | uint32(raw[2])<<8 | uint32(raw[3])))
}

// parseMasked refuses a malformed mask: read as an address, it would admit another
// client than was meant.
func parseMasked(s string) (netip.Prefix, error) {
	a, m, _ := strings.Cut(s, ",")
	addr, mask := netip.MustParseAddr(strings.TrimSpace(a)), netip.MustParseAddr(strings.TrimSpace(m))
	switch {
	case mask == netip.IPv4Unspecified():
		return netip.Prefix{}, fmt.Errorf("%q: the mask %s is everybody; that is written 0.0.0.0/0", clip(s), mask)
	case !isMask(mask):
		return netip.Prefix{}, fmt.Errorf("%q: the mask %s has gaps; allowed are ADDR, ADDR/BITS and \"ADDR, MASK\"", clip(s), mask)
	}
	return netip.PrefixFrom(addr, onesOf(mask)).Masked(), nil
}

// ParsePrefix reads an address or ADDR/BITS of either family. A network with bits
// beyond its size is refused: one digit too few would admit a large network.
func ParsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no address and no network; allowed are ADDR and ADDR/BITS", clip(s))
	}
	if n.Addr().Is4In6() && n.Bits() >= 96 { // the callers in it are IPv4
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	if n != n.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its first %d; is it %s or %s?", n, n.Bits(), n.Masked(), n.Addr())
	}
	return n, nil
}

// PrefixText leaves out the size of a single address.
func PrefixText(n netip.Prefix) string {
	if n.IsValid() && n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.String()
}

// ParseName reads a name of a host, or *.domain, and gives it in lower case.
func ParseName(s string) (string, error) {
	name, ok := hostName(s)
	if !ok {
		return "", fmt.Errorf("%q is no name of a host; allowed are NAME and *.DOMAIN", clip(s))
	}
	return name, nil
}

// hostName gives the canonical form of a name: labels of RFC 1123 §2.1, two at
// least, or one after *., the last of which is no number, so that no mistyped
// address is one.
func hostName(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	domain, below := strings.CutPrefix(s, "*.")
	labels := strings.Split(domain, ".")
	if len(s) > 255 || len(labels) < 2 && !below {
		return "", false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
	}
	return s, strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// octets reads the forms in which scripts have the octets of a list: hexadecimal
// digits in one word, a number for each octet, or each four of them as an address.
// What begins so and is no list is an error: its words are not addresses that
// anybody meant.
func octets(words []string) (b []byte, ok bool, err error) {
	list := words
	if len(words) == 1 {
		list = entries(words[0])
	}
	switch {
	case len(list) == 1 && len(list[0]) >= 2*fixed && strings.Trim(list[0], "0123456789abcdefABCDEF") == "":
		b, err = hex.DecodeString(list[0])
		if err != nil {
			return nil, false, errors.New("the hexadecimal form has an odd number of digits")
		}
		return b, true, nil
	case len(list) > 0 && list[0] == beginning:
		for _, word := range list {
			a, err := netip.ParseAddr(word)
			if err != nil || !a.Is4() {
				return nil, false, notOctets(word)
			}
			b = append(b, a.AsSlice()...)
		}
		return b, true, nil
	case len(list) > 3 && slices.Equal(list[:4], []string{"24", "0", "0", "128"}):
		for _, word := range list {
			n, err := strconv.ParseUint(word, 10, 8)
			if err != nil {
				return nil, false, notOctets(word)
			}
			b = append(b, byte(n))
		}
		return b, true, nil
	}
	return nil, false, nil
}

func notOctets(word string) error {
	return fmt.Errorf("the list begins with the octets of IIS's binary form, in which %q is no part: give the addresses alone", clip(word))
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
