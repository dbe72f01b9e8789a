// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// A Lookup asks the servers of one Query for records, with the methods and the
// errors of [net.Resolver]: a name without such records is not found.
type Lookup struct{ src source }

// Lookup makes one.
func (r *Resolver) Lookup(q Query) Lookup { return Lookup{r.source(q)} }

// Usable gives the addresses of a host at which it may be called, as [Resolver.Hosts]
// does, without asking for MX.
func (r *Resolver) Usable(ctx context.Context, host string, q Query) ([]netip.Addr, error) {
	hosts, err := r.resolve(ctx, r.source(q), q, host, []mx{{0, host}})
	if err != nil {
		return nil, err
	}
	return hosts[0].Addrs, nil
}

// LookupTXT gives each TXT record as one text.
func (l Lookup) LookupTXT(ctx context.Context, name string) ([]string, error) {
	out, err := l.src.txt(ctx, relative(name))
	return out, asNetError(name, len(out), err)
}

// LookupMX gives the MX records, in no particular order.
func (l Lookup) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	records, err := l.src.mx(ctx, relative(name))
	var out []*net.MX
	for _, one := range records {
		out = append(out, &net.MX{Host: one.host, Pref: one.pref})
	}
	return out, asNetError(name, len(out), err)
}

// LookupIPAddr gives the addresses of both families.
func (l Lookup) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	addrs, err := l.src.addrs(ctx, relative(host))
	var out []net.IPAddr
	for _, a := range addrs {
		out = append(out, net.IPAddr{IP: a.AsSlice()})
	}
	return out, asNetError(host, len(out), err)
}

// LookupAddr gives the names of an address, whether or not they lead back to it.
func (l Lookup) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: "no address", Name: addr, IsNotFound: true}
	}
	out, err := l.src.ptr(ctx, ip.Unmap())
	return out, asNetError(addr, len(out), err)
}

func relative(name string) string { return strings.TrimSuffix(name, ".") }

func asNetError(name string, found int, err error) error {
	switch {
	case err == nil && found > 0:
		return nil
	case err == nil:
		return &net.DNSError{Err: "no such record", Name: name, IsNotFound: true}
	}
	return &net.DNSError{
		Err: err.Error(), Name: name, IsTemporary: IsTemporary(err), IsNotFound: !IsTemporary(err),
		IsTimeout: errors.Is(err, context.DeadlineExceeded),
	}
}

func (s dnsSource) txt(ctx context.Context, name string) ([]string, error) {
	rrs, err := s.ask(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(rr.Txt, ""))
		}
	}
	return out, nil
}

func (s netSource) txt(ctx context.Context, name string) ([]string, error) {
	out, err := s.r.LookupTXT(ctx, name+".")
	if err != nil {
		return nil, asError(name, err)
	}
	return out, nil
}
