// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"restante/internal/idn"
	"restante/metabase"
)

// A Binding is where a site listens: IIS's ip:port:host.
type Binding struct {
	Addr netip.Addr // invalid: all of the machine's addresses
	Port uint16     // 0: any that is free
	Host string     // part of IIS's form; kept, without effect
}

// ParseBinding reads ip:port:host with ip and host left out at will, ADDR:PORT
// and [IPV6]:PORT; * is no address.
func ParseBinding(s string) (b Binding, err error) {
	ip, rest, err := cutAddr(s)
	if err != nil {
		return b, err
	}
	if ip != "" && ip != "*" {
		if b.Addr, err = netip.ParseAddr(ip); err != nil || b.Addr.Zone() != "" {
			return Binding{}, invalid("%q: %q is no IP address; allowed are ip:port:host, ADDR:PORT and [IPV6]:PORT", clip(s), clip(ip))
		}
		b.Addr = b.Addr.Unmap()
	}
	port, host, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Binding{}, invalid("%q: %q is no port from 0 to 65535; allowed are ip:port:host, ADDR:PORT and [IPV6]:PORT", clip(s), clip(port))
	}
	if host != "" && CheckDomain(host) != nil {
		return Binding{}, invalid("%q: %q is no host name", clip(s), clip(host))
	}
	b.Port, b.Host = uint16(n), host
	return b, nil
}

// cutAddr splits "[v6]:rest" and "v4:rest".
func cutAddr(s string) (addr, rest string, err error) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		addr, rest, ok = strings.Cut(inner, "]:")
		if !ok || addr == "" {
			return "", "", invalid("%q: write an IPv6 address in brackets, then a colon and a port", clip(s))
		}
		return addr, rest, nil
	}
	addr, rest, ok := strings.Cut(s, ":")
	if !ok {
		return "", "", invalid("%q has no port; allowed are ip:port:host, ADDR:PORT and [IPV6]:PORT", clip(s))
	}
	return addr, rest, nil
}

// String is IIS's form, with all three parts.
func (b Binding) String() string {
	ip := ""
	if b.Addr.IsValid() {
		ip = b.Addr.String()
		if b.Addr.Is6() {
			ip = "[" + ip + "]"
		}
	}
	return ip + ":" + strconv.Itoa(int(b.Port)) + ":" + b.Host
}

// AddrPort is where to listen; without an address it is the unspecified one of
// IPv6, which is for IPv4 too.
func (b Binding) AddrPort() netip.AddrPort {
	if !b.Addr.IsValid() {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), b.Port)
	}
	return netip.AddrPortFrom(b.Addr, b.Port)
}

// dnsPort is the port of a DNS server by default.
const dnsPort = 53

// ParseEndpoint reads ADDR, ADDR:PORT or [IPV6]:PORT; the default port is that of
// DNS.
func ParseEndpoint(s string) (netip.AddrPort, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Addr().Zone() == "" && ap.Port() != 0 {
		return ap, nil
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil && ip.Zone() == "" {
		return netip.AddrPortFrom(ip, dnsPort), nil
	}
	return netip.AddrPort{}, invalid("%q is no server; allowed are ADDR, ADDR:PORT and [IPV6]:PORT", clip(s))
}

// A Host is a host to be called: a name or an address, with a port or 0.
type Host struct {
	Name   string // of an address: in brackets
	Port   uint16
	Shares bool // the mail with the host before it, instead of following it
	Weight int  // among those that share the mail
}

// String is the form that ParseHosts reads, without the weight.
func (h Host) String() string {
	if h.Port == 0 {
		return h.Name
	}
	return h.Name + ":" + strconv.Itoa(int(h.Port))
}

// ParseHosts reads hosts that are parted by commas or semicolons, each NAME,
// NAME:PORT, [ADDR] or [ADDR]:PORT. An IPv4 address needs no brackets. Hosts that are
// parted by bars share the mail, by the weights that follow asterisks.
func ParseHosts(s string) (hosts []Host, err error) {
	for _, group := range splitHosts(s) {
		shared := strings.Split(group, "|")
		for i, w := range shared {
			w, weight, weighted := strings.Cut(strings.TrimSpace(w), "*")
			h, err := parseHost(w)
			if err != nil {
				return nil, err
			}
			h.Shares, h.Weight = i > 0, 1
			if weighted {
				if h.Weight, err = strconv.Atoi(weight); err != nil || h.Weight < 1 || h.Weight > maxWeight || len(shared) == 1 {
					return nil, invalid("%q: %q is no weight; a weight is a number from 1 to %d, of hosts that share the mail: a.example*3|b.example*1", clip(group), clip(weight), maxWeight)
				}
			}
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 && strings.TrimSpace(s) != "" {
		return nil, invalid("%q names no host", clip(s))
	}
	return hosts, nil
}

// maxWeight is the largest weight of a host.
const maxWeight = 100

// splitHosts parts at commas and semicolons. A blank parts nothing: it is a slip.
func splitHosts(s string) (words []string) {
	for w := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ',' || r == ';' }) {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return words
}

func parseHost(s string) (h Host, err error) {
	bad := func(why string) (Host, error) {
		return Host{}, invalid("%q: %s; allowed are NAME, NAME:PORT, [ADDR] and [ADDR]:PORT, several parted by commas", clip(s), why)
	}
	var name, port string
	var hasPort bool
	if inner, ok := strings.CutPrefix(s, "["); ok {
		addr, rest, ok := strings.Cut(inner, "]")
		ip, err := netip.ParseAddr(strings.TrimPrefix(addr, "IPv6:"))
		if !ok || err != nil || ip.Zone() != "" {
			return bad("no IP address in the brackets")
		}
		if port, hasPort = strings.CutPrefix(rest, ":"); rest != "" && !hasPort {
			return bad("only a colon and a port may follow the brackets")
		}
		if ip.IsUnspecified() || ip.IsMulticast() {
			return bad("that is the address of no host")
		}
		name = "[" + ip.String() + "]"
	} else {
		name, port, hasPort = strings.Cut(s, ":")
		name = strings.TrimSuffix(name, ".")
		last := name[strings.LastIndexByte(name, '.')+1:]
		if ip, err := netip.ParseAddr(name); err == nil {
			if ip.IsUnspecified() || ip.IsMulticast() {
				return bad("that is the address of no host")
			}
			name = "[" + ip.String() + "]"
		} else if err := CheckDomain(name); err != nil {
			return bad(err.Error())
		} else if strings.Trim(last, "0123456789") == "" {
			return bad("neither a name nor an IP address")
		}
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return bad("a port is a number from 1 to 65535")
		}
		h.Port = uint16(n)
	}
	h.Name = name
	return h, nil
}

// Bounds of a ladder of retries.
const (
	maxSteps   = 32
	maxMinutes = 365 * 24 * 60
)

// Minutes reads numbers of minutes that are parted by commas: 1 to 32 of them,
// each from one minute to a year.
func Minutes(s string) (ladder []time.Duration, err error) {
	words := splitWords(s)
	if len(words) == 0 || len(words) > maxSteps {
		return nil, invalid("%q: needs 1 to %d numbers of minutes, parted by commas", clip(s), maxSteps)
	}
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 32)
		if err != nil || n == 0 || n > maxMinutes {
			return nil, invalid("%q is no number of minutes from 1 to %d", clip(w), maxMinutes)
		}
		ladder = append(ladder, time.Duration(n)*time.Minute)
	}
	return ladder, nil
}

// CheckDomain checks that s is the name of a host or domain: labels of
// letters, digits, hyphens and underscores, parted by dots. RFC 5321 §2.3.5.
func CheckDomain(s string) error {
	if s == "" || len(s) > 253 {
		return invalid("a domain name has 1 to 253 octets")
	}
	if ascii, err := idn.ToASCII(s); err == nil && !idn.IsASCII(s) { // one name, one key
		return invalid("%q is written %q here, in A-labels (RFC 5890)", clip(s), clip(ascii))
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return invalid("%q is no domain name: each label has 1 to 63 octets", clip(s))
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return invalid("%q is no domain name: a label neither begins nor ends with a hyphen", clip(s))
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return invalid("%q is no domain name: only letters, digits and hyphens", clip(s))
			}
		}
	}
	return nil
}

// ParseType reads the name of a data type, in any case, or its number.
func ParseType(s string) (metabase.Type, error) {
	for t := metabase.DWordType; t <= metabase.MultiSZType; t++ {
		if strings.EqualFold(s, t.String()) || s == strconv.Itoa(int(t)) {
			return t, nil
		}
	}
	return 0, invalid("%q is no data type; allowed are DWORD, STRING, BINARY, EXPANDSZ and MULTISZ", clip(s))
}

// ParseAttr reads the text of [metabase.Attr]: names separated by bars, commas or
// blanks, in any case, or a number.
func ParseAttr(s string) (a metabase.Attr, err error) {
	words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("|, \t", r) })
	if len(words) == 0 {
		return 0, invalid("needs attributes; NO_ATTRIBUTES is none of them")
	}
	for _, w := range words {
		bit, err := parseAttrWord(w)
		if err != nil {
			return 0, err
		}
		a |= bit
	}
	return a, nil
}

// attrNames are the bits that have a name.
const attrNames = metabase.Inherit | metabase.Secure | metabase.Reference | metabase.Volatile | metabase.IsInherited |
	metabase.InsertPath | metabase.LocalMachineOnly | metabase.Locked

func parseAttrWord(word string) (metabase.Attr, error) {
	if strings.EqualFold(word, metabase.Attr(0).String()) {
		return 0, nil
	}
	if n, err := ParseNumber(word); err == nil {
		return metabase.Attr(n), nil
	}
	var names []string
	for rest := uint32(attrNames); rest != 0; rest &= rest - 1 {
		bit := metabase.Attr(1) << bits.TrailingZeros32(rest)
		if strings.EqualFold(word, bit.String()) {
			return bit, nil
		}
		names = append(names, bit.String())
	}
	return 0, invalid("there is no attribute %q%s", clip(word), Suggest(word, names))
}

// userTypes are the names of IIS.
var userTypes = map[metabase.UserType]string{
	metabase.UTServer: "IIS_MD_UT_SERVER", metabase.UTFile: "IIS_MD_UT_FILE",
	metabase.UTWAM: "IIS_MD_UT_WAM", metabase.UTApp: "ASP_MD_UT_APP",
}

// UserTypeName is IIS's name for a user type, "" where it has none.
func UserTypeName(u metabase.UserType) string { return userTypes[u] }

// UserTypeText is the number, and IIS's name for it where it has one.
func UserTypeText(u metabase.UserType) string {
	if name := userTypes[u]; name != "" {
		return fmt.Sprintf("%d (%s)", u, name)
	}
	return strconv.FormatUint(uint64(u), 10)
}

// ParseUserType reads a number, or IIS's name for it.
func ParseUserType(s string) (metabase.UserType, error) {
	for u, name := range userTypes {
		if strings.EqualFold(s, name) {
			return u, nil
		}
	}
	n, err := ParseNumber(s)
	if err != nil {
		return 0, invalid("%q is no user type; allowed are a number, IIS_MD_UT_SERVER, IIS_MD_UT_FILE, IIS_MD_UT_WAM and ASP_MD_UT_APP", clip(s))
	}
	return metabase.UserType(n), nil
}
