// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// maxNames bounds the names of an address that are looked up.
const maxNames = 5

// Names returns the names of an address (RFC 1035 §3.5, RFC 3596 §2.5) that lead
// back to it, in lower case: the owner of the address can give it any name. None and
// no error if there are none. The error is a temporary *Error.
func (r *Resolver) Names(ctx context.Context, addr netip.Addr, q Query) ([]string, error) {
	addr = addr.Unmap().WithZone("")
	src := r.source(q)
	names, err := src.ptr(ctx, addr)
	if err != nil {
		if IsTemporary(err) {
			return nil, err
		}
		return nil, nil
	}
	var out []string
	var later error
	for _, name := range names[:min(len(names), maxNames)] {
		addrs, err := src.addrs(ctx, name)
		switch {
		case slices.Contains(addrs, addr):
			out = append(out, name)
		case IsTemporary(err) && later == nil:
			later = err
		}
	}
	if len(out) == 0 {
		return nil, later
	}
	return out, nil
}

func (s dnsSource) ptr(ctx context.Context, addr netip.Addr) ([]string, error) {
	reverse, err := dns.ReverseAddr(addr.String())
	if err != nil {
		return nil, &Error{Name: addr.String(), Kind: NotFound, Err: err}
	}
	rrs, err := s.ask(ctx, reverse, dns.TypePTR)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.PTR); ok {
			out = append(out, hostName(rr.Ptr))
		}
	}
	return out, nil
}

func (s netSource) ptr(ctx context.Context, addr netip.Addr) ([]string, error) {
	names, err := s.r.LookupAddr(ctx, addr.String())
	if err != nil && len(names) == 0 {
		return nil, asError(addr.String(), err)
	}
	for i := range names {
		names[i] = hostName(names[i])
	}
	return names, nil
}
