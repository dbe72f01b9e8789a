// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"restante/engine/dane"
	"restante/engine/mail"
)

// TLSA is what DNSSEC says of the certificates of a host.
type TLSA struct {
	Records []dane.Record // none: nothing
	Names   []string      // that a certificate of an issuer may have; the first one is to be asked for
}

// TLSA finds the TLSA records of a host that takes mail at port (RFC 7672 §2.2). Next is
// the domain whose MX records name the host; "" for a host that the administrator named.
// Answers that are not authenticated count for nothing, and without Query.Secure, or
// where one of the servers is not to be trusted, there are no others. With an error it is
// unknown whether there are records, and the host must not be used.
func (r *Resolver) TLSA(ctx context.Context, next mail.Domain, host string, port uint16, q Query) (TLSA, error) {
	s, ok := r.servers(q).(dnsSource)
	_, named := netip.ParseAddr(host)
	if !ok || !s.validating || q.Names == InSystem || named == nil || isLocalhost(host) {
		return TLSA{}, nil
	}
	var names []string
	if next != "" {
		end, err := s.secureMX(ctx, string(next), host)
		if err != nil || end == "" {
			return TLSA{}, err
		}
		names = []string{string(next), end}
	}
	bases, err := s.tlsaBases(ctx, host)
	if err != nil {
		return TLSA{}, err
	}
	for _, base := range bases {
		records, err := s.tlsa(ctx, fmt.Sprintf("_%d._tcp.%s", port, base))
		if err != nil {
			return TLSA{}, err
		}
		if len(records) > 0 {
			all := []string{base}
			for _, name := range append(names, host) {
				if !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
			return TLSA{records, all}, nil
		}
	}
	return TLSA{}, nil
}

// secureMX gives the name whose MX records name the host, at the end of next's aliases;
// "" where the answer is not authenticated or has the host no more.
func (s dnsSource) secureMX(ctx context.Context, next, host string) (string, error) {
	a, err := s.resolve(ctx, next, dns.TypeMX)
	if err != nil || !a.secure {
		return "", err
	}
	named := len(a.rrs) == 0 && host == next // the implicit MX
	for _, rr := range a.rrs {
		m, ok := rr.(*dns.MX)
		named = named || ok && hostName(m.Mx) == host
	}
	if !named {
		return "", nil
	}
	return hostName(a.end), nil
}

// tlsaBases gives the names below which there may be records of a host, best first: the
// end of its aliases, and its own name. A host whose addresses are not authenticated has
// none, but for one whose own name is (RFC 7672 §2.2.2): to ask the servers of unsigned
// zones for TLSA records has had answers that look like an attack.
func (s dnsSource) tlsaBases(ctx context.Context, host string) ([]string, error) {
	end, found, secure := "", false, true
	var failed error
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
		a, err := s.resolve(ctx, host, t)
		if err != nil {
			failed = err
		} else if len(a.rrs) > 0 {
			found, end, secure = true, hostName(a.end), secure && a.secure
		}
	}
	switch {
	case !found:
		return nil, failed
	case secure && end != host:
		return []string{end, host}, nil
	case secure:
		return []string{host}, nil
	case end == host:
		return nil, nil
	}
	alias, err := s.resolve(ctx, host, dns.TypeCNAME)
	if err != nil || !alias.secure || len(alias.rrs) == 0 {
		return nil, err
	}
	return []string{host}, nil
}

func (s dnsSource) tlsa(ctx context.Context, name string) (out []dane.Record, err error) {
	a, err := s.resolve(ctx, name, dns.TypeTLSA)
	switch {
	case errors.Is(err, NotFound), err == nil && !a.secure:
		return nil, nil
	case err != nil:
		return nil, err
	}
	for _, rr := range a.rrs {
		if rr, ok := rr.(*dns.TLSA); ok {
			data, _ := hex.DecodeString(rr.Certificate) // the library has encoded it
			out = append(out, dane.Record{Usage: rr.Usage, Selector: rr.Selector, Matching: rr.MatchingType, Data: data})
		}
	}
	return out, nil
}

// dockers is the name server that Docker has within a container. It passes on what other
// servers say, proof and all.
var dockers = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// trusted reports whether all servers may be believed that they have validated an answer:
// those of this machine, since nobody is between. One that may not be would be asked
// where another one has found an answer to be forged.
func trusted(servers []string) bool {
	return !slices.ContainsFunc(servers, func(server string) bool {
		host, _, _ := net.SplitHostPort(server)
		ip, err := netip.ParseAddr(host)
		return err != nil || !ip.Unmap().IsLoopback() || ip.Unmap() == dockers
	})
}
