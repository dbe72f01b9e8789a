// SPDX-License-Identifier: Apache-2.0

// Package resolver finds the hosts that take mail for a domain, in the order to
// try them: address literals, MX, or the domain's own addresses if it has no MX
// (RFC 5321 §5.1). It also finds that a domain takes no mail (RFC 7505).
//
// It asks the servers that the caller names or, without any, those of the
// system. It does not read the hosts file, but localhost is this machine
// without a query (RFC 6761 §6.3).
package resolver

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"restante/engine/mail"
)

// A Host takes mail: its name, and its addresses in the order to try them.
// The name of an address literal is the address.
type Host struct {
	Name  string
	Addrs []netip.Addr
}

// A Query adjusts one lookup. The zero value asks the system's servers.
type Query struct {
	Servers   []string // host:port or host of each DNS server; none: the system's
	Transport          // to them
	Names              // where hosts are looked up

	// Loopback allows hosts at loopback addresses, for hosts that the
	// administrator named and for labs on one machine.
	Loopback bool

	// Secure asks servers on this machine, and with Trusted all others, which answers
	// DNSSEC has authenticated, for [Resolver.TLSA].
	Secure, Trusted bool

	// Networks are those of this machine: their broadcast addresses are no hosts.
	// Nil: none are known.
	Networks func() []netip.Prefix

	// Self reports whether a host is this one. Mail is never sent to it, nor to hosts
	// of the same or less preference (RFC 5321 §5.1). Nil: none is.
	Self func(name string, addrs []netip.Addr) bool
}

// A Transport is how servers are asked.
type Transport int

// How servers are asked.
const (
	UDPThenTCP Transport = iota // over TCP where the answer does not fit
	UDP
	TCP
)

// Names says where hosts are looked up, by the numbers of IIS. Other numbers: in DNS.
type Names uint16

// Where hosts are looked up.
const (
	InSystem  Names = 2 // by the system, as with its hosts file, and without MX
	ThenThere Names = 3 // in DNS, and there where that has none
)

// Options adjusts New. The zero value is the production setting.
type Options struct {
	Timeout time.Duration // for one server's answer; 0: 3 s
	Rounds  int           // times round the servers before giving up; 0: 2
	Conf    string        // the system's resolver file; "": /etc/resolv.conf
	NoCache bool          // ask each time

	system source // used if there is no resolver file; nil: net.DefaultResolver
}

// A Resolver finds hosts. Its methods may be called concurrently.
type Resolver struct {
	opts  Options
	cache *cache
}

// New makes a resolver. It starts nothing.
func New(opts Options) *Resolver {
	opts.Timeout = cmp.Or(opts.Timeout, 3*time.Second)
	opts.Rounds = cmp.Or(opts.Rounds, 2)
	opts.Conf = cmp.Or(opts.Conf, "/etc/resolv.conf")
	if opts.system == nil {
		opts.system = netSource{net.DefaultResolver}
	}
	return &Resolver{opts: opts, cache: newCache()}
}

// mx is one MX record; an empty host is the null MX.
type mx struct {
	pref uint16
	host string
}

// A source answers the queries that mail needs. An answer without records
// is nil and no error if the name exists; errors are *Error.
type source interface {
	mx(ctx context.Context, name string) ([]mx, error)
	addrs(ctx context.Context, name string) ([]netip.Addr, error)
	ptr(ctx context.Context, addr netip.Addr) ([]string, error)
	txt(ctx context.Context, name string) ([]string, error)
}

// Hosts returns the hosts that take mail for d, best first; hosts of equal
// preference are in random order. The list is never empty if err is nil; an
// error is an *Error.
func (r *Resolver) Hosts(ctx context.Context, d mail.Domain, q Query) ([]Host, error) {
	if ip, ok := d.Literal(); ok {
		return q.only(string(d), Host{Name: ip.String(), Addrs: []netip.Addr{ip.Unmap()}})
	}
	if isLocalhost(string(d)) {
		return q.only(string(d), Host{Name: string(d), Addrs: loopback()})
	}
	src := r.source(q)
	records, err := src.mx(ctx, string(d))
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		// The implicit MX of RFC 5321 §5.1: the domain itself, preference 0.
		return r.resolve(ctx, src, q, string(d), []mx{{0, string(d)}})
	}
	// RFC 7505 §3: "." beside other records means nothing and is passed over.
	named := slices.DeleteFunc(records, func(m mx) bool { return m.host == "" })
	if len(named) == 0 {
		return nil, &Error{Name: string(d), Kind: NullMX}
	}
	rand.Shuffle(len(named), func(i, j int) { named[i], named[j] = named[j], named[i] })
	slices.SortStableFunc(named, func(a, b mx) int { return cmp.Compare(a.pref, b.pref) })
	return r.resolve(ctx, src, q, string(d), named)
}

// Addresses returns the one host called name, such as a smart host. A name
// without an address but with MX records stands for those hosts. Brackets
// around an address are allowed. The host may be at a loopback address.
func (r *Resolver) Addresses(ctx context.Context, name string, q Query) ([]Host, error) {
	q.Loopback = true
	if ip, ok := parseIP(name); ok {
		return q.only(name, Host{Name: ip.String(), Addrs: []netip.Addr{ip.Unmap()}})
	}
	d, err := mail.ParseDomain(name)
	if err != nil {
		return nil, &Error{Name: name, Kind: NotFound, Err: err}
	}
	addrs, err := r.lookup(ctx, r.source(q), string(d))
	if len(addrs) > 0 {
		return q.only(string(d), Host{Name: string(d), Addrs: addrs})
	}
	if err != nil {
		return nil, err
	}
	return r.Hosts(ctx, d, q)
}

func parseIP(name string) (netip.Addr, bool) {
	inner := strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		inner = inner[5:]
	}
	ip, err := netip.ParseAddr(inner)
	return ip, err == nil
}

// maxHosts bounds the hosts of one domain that are looked up.
const maxHosts = 20

// resolve turns records, best first, into hosts with addresses.
func (r *Resolver) resolve(ctx context.Context, src source, q Query, d string, records []mx) ([]Host, error) {
	type found struct {
		pref uint16
		Host
	}
	var hosts []found
	var later, never error
	self, here, unusable := false, false, false
	for _, m := range records[:min(len(records), maxHosts)] {
		addrs, err := r.lookup(ctx, src, m.host)
		if q.Self != nil && q.Self(m.host, addrs) {
			// Hosts of the same preference would hand the mail back.
			hosts = slices.DeleteFunc(hosts, func(h found) bool { return h.pref >= m.pref })
			self = true
			break
		}
		all := len(addrs)
		here = here || q.here(addrs)
		addrs = q.usable(addrs)
		unusable = unusable || len(addrs) < all
		switch {
		case len(addrs) > 0:
			hosts = append(hosts, found{m.pref, Host{Name: m.host, Addrs: addrs}})
		case IsTemporary(err):
			later = cmp.Or(later, err)
		default:
			never = cmp.Or(never, err)
		}
	}
	switch {
	case len(hosts) > 0:
		out := make([]Host, len(hosts))
		for i, h := range hosts {
			out[i] = h.Host
		}
		return out, nil
	case later != nil:
		return nil, later
	case self, here:
		return nil, &Error{Name: d, Kind: Loop}
	case unusable:
		return nil, &Error{Name: d, Kind: Unusable}
	case never != nil && records[0].host == d:
		return nil, never // the domain itself does not exist
	default:
		return nil, &Error{Name: d, Kind: NoAddress, Err: never}
	}
}

// lookup returns the addresses of a host; none and no error if it exists
// without any.
func (r *Resolver) lookup(ctx context.Context, src source, host string) ([]netip.Addr, error) {
	if isLocalhost(host) {
		return loopback(), nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil // wrong in an MX record, and common
	}
	return src.addrs(ctx, host)
}

// only returns h alone, or the error of d if h is this machine or has no usable
// address.
func (q Query) only(d string, h Host) ([]Host, error) {
	if q.Self != nil && q.Self(h.Name, h.Addrs) {
		return nil, &Error{Name: d, Kind: Loop}
	}
	addrs := q.usable(h.Addrs)
	switch {
	case len(addrs) > 0:
		h.Addrs = addrs
		return []Host{h}, nil
	case q.here(h.Addrs):
		return nil, &Error{Name: d, Kind: Loop}
	}
	return nil, &Error{Name: d, Kind: Unusable}
}

// here reports whether one of the addresses means this machine, for every zone.
func (q Query) here(addrs []netip.Addr) bool {
	return slices.ContainsFunc(addrs, func(ip netip.Addr) bool {
		at := Embedded(ip)
		return at.IsUnspecified() || at.IsLoopback() && !q.Loopback
	})
}

// usable returns the addresses at which another host can be: what a stranger's
// zone says must not have us call ourselves or everybody.
func (q Query) usable(addrs []netip.Addr) (out []netip.Addr) {
	for _, ip := range addrs {
		switch at := Embedded(ip); {
		case at.IsUnspecified(), at.IsMulticast(), q.isBroadcast(at):
		case at.Is4() && (at.As4()[0] == 0 || at.As4()[0] >= 240): // RFC 1122 §3.2.1.3: this network; reserved, and broadcast
		case at.Is6() && at.IsLinkLocalUnicast() && at.Zone() == "": // RFC 4007 §6: of which link?
		case at.IsLoopback() && !q.Loopback:
		default:
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// isBroadcast reports whether ip is every host of a network of this machine, in
// the form of today or that of old systems (RFC 1122 §3.3.6). A network of two
// addresses has none (RFC 3021).
func (q Query) isBroadcast(ip netip.Addr) bool {
	return ip.Is4() && q.Networks != nil && slices.ContainsFunc(q.Networks(), func(n netip.Prefix) bool {
		bits := n.Bits()
		if !n.Contains(ip) || bits > 30 {
			return false
		}
		a := ip.As4()
		host := binary.BigEndian.Uint32(a[:]) << bits
		return host == 0 || host == ^uint32(0)<<bits
	})
}

var (
	sixToFour = netip.MustParsePrefix("2002::/16")    // RFC 3056
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	inIPv6    = netip.MustParsePrefix("::/96")        // RFC 4291 §2.5.5.1; :: and ::1 aside
	firstHost = netip.MustParseAddr("::1:0")
)

// Embedded returns the IPv4 address that a connection to ip ends at where ip is a
// form of one, else ip.
func Embedded(ip netip.Addr) netip.Addr {
	b := ip.As16()
	switch {
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case nat64.Contains(ip), inIPv6.Contains(ip) && !ip.Less(firstHost):
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip.Unmap()
}

func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

func loopback() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
}

// A Kind says why there is no host.
type Kind string

const (
	Temporary Kind = "no answer from the name servers" // time-out, SERVFAIL, REFUSED: ask again later
	NotFound  Kind = "no such domain"                  // NXDOMAIN
	NullMX    Kind = "the domain takes no mail"        // RFC 7505
	NoAddress Kind = "no mail host has an address"
	Unusable  Kind = "its mail host has a multicast, broadcast or reserved address only"
	Loop      Kind = "mail for the domain comes back to this host"
)

func (k Kind) Error() string { return string(k) }

// Error is what was asked for, why there is no answer, and the cause or nil.
// errors.Is finds the Kind.
type Error struct {
	Name string
	Kind Kind
	Err  error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("resolve %s: %s: %v", e.Name, e.Kind, e.Err)
	}
	return fmt.Sprintf("resolve %s: %s", e.Name, e.Kind)
}

// Is matches the Kind.
func (e *Error) Is(target error) bool { return target == error(e.Kind) }

func (e *Error) Unwrap() error { return e.Err }

// IsTemporary says that asking again later may help.
func IsTemporary(err error) bool { return errors.Is(err, Temporary) }

// Answers are kept for their TTL, within bounds: a long TTL must not hide a
// change, and many names must not fill the memory.
const (
	maxTTL     = time.Hour
	noneTTL    = time.Minute // "no such name" and "no such records", RFC 2308
	maxEntries = 4096
)

type cacheKey struct {
	servers, name string
	qtype         uint16
	validating    bool
}

type cacheEntry struct {
	msg  *dns.Msg
	till time.Time
}

// A cache keeps answers; a nil cache keeps none.
type cache struct {
	mu      sync.Mutex // guards what follows
	entries map[cacheKey]cacheEntry
}

func newCache() *cache { return &cache{entries: map[cacheKey]cacheEntry{}} }

// get returns the answer to key, or nil. It must not be changed.
func (c *cache) get(key cacheKey, now time.Time) *dns.Msg {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return nil
	}
	if !now.Before(e.till) {
		delete(c.entries, key)
		return nil
	}
	return e.msg
}

func (c *cache) put(key cacheKey, msg *dns.Msg, now time.Time) {
	if c == nil {
		return
	}
	till := now.Add(ttl(msg))
	if !now.Before(till) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxEntries {
		for k := range c.entries { // any will do: the map's order is random
			delete(c.entries, k)
			break
		}
	}
	c.entries[key] = cacheEntry{msg, till}
}

// ttl is how long msg may be kept: as long as its shortest record.
func ttl(msg *dns.Msg) time.Duration {
	keep := maxTTL
	if len(msg.Answer) == 0 || msg.Rcode != dns.RcodeSuccess {
		keep = noneTTL
	}
	for _, rrs := range [][]dns.RR{msg.Answer, msg.Ns} {
		for _, rr := range rrs {
			own := rr.Header().Ttl
			if soa, ok := rr.(*dns.SOA); ok {
				own = min(own, soa.Minttl)
			}
			keep = min(keep, time.Duration(own)*time.Second)
		}
	}
	return keep
}
