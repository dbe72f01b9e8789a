// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// source selects the servers: the query's, those of the system's resolver file,
// or, without such a file (Windows), the system itself. The file is read each
// time: it is short, and changes when the line is dialled.
func (r *Resolver) source(q Query) source {
	if q.Names == InSystem {
		return hostsSource{r.opts.system}
	}
	s := r.servers(q)
	if q.Names == ThenThere {
		return eitherSource{s, r.opts.system}
	}
	return s
}

// A hostsSource has the system's addresses without MX records.
type hostsSource struct{ source }

func (hostsSource) mx(context.Context, string) ([]mx, error) { return nil, nil }

// An eitherSource asks system for what DNS does not have.
type eitherSource struct {
	source
	system source
}

func (s eitherSource) mx(ctx context.Context, name string) ([]mx, error) {
	records, err := s.source.mx(ctx, name)
	if err != nil {
		if addrs, _ := s.system.addrs(ctx, name); len(addrs) > 0 {
			return nil, nil
		}
	}
	return records, err
}

func (s eitherSource) addrs(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := s.source.addrs(ctx, name)
	if len(addrs) == 0 {
		if more, _ := s.system.addrs(ctx, name); len(more) > 0 {
			return more, nil
		}
	}
	return addrs, err
}

// servers selects the servers of DNS.
func (r *Resolver) servers(q Query) source {
	s := dnsSource{transport: q.Transport, timeout: r.opts.Timeout, rounds: r.opts.Rounds, cache: r.cache}
	if r.opts.NoCache {
		s.cache = nil
	}
	for _, server := range q.Servers {
		s.servers = append(s.servers, serverAddr(server))
	}
	if len(s.servers) > 0 {
		s.validating = q.Secure && (q.Trusted || trusted(s.servers))
		return s
	}
	conf, err := dns.ClientConfigFromFile(r.opts.Conf)
	if err != nil || len(conf.Servers) == 0 {
		return r.opts.system
	}
	for _, server := range conf.Servers {
		s.servers = append(s.servers, net.JoinHostPort(server, conf.Port))
	}
	s.validating = q.Secure && (q.Trusted || trusted(s.servers))
	return s
}

// A netSource asks the operating system.
type netSource struct {
	r *net.Resolver
}

func (s netSource) mx(ctx context.Context, name string) ([]mx, error) {
	records, err := s.r.LookupMX(ctx, name+".")
	if len(records) == 0 && err != nil {
		// The system tells a name without MX from no such name by the
		// addresses only; they are asked for next.
		if e := asError(name, err); e.Kind == Temporary {
			return nil, e
		}
		return nil, nil
	}
	var out []mx
	for _, m := range records {
		out = append(out, mx{m.Pref, hostName(m.Host)})
	}
	return out, nil
}

func (s netSource) addrs(ctx context.Context, name string) ([]netip.Addr, error) {
	addrs, err := s.r.LookupNetIP(ctx, "ip", name+".")
	if err != nil {
		return nil, asError(name, err)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

func asError(name string, err error) *Error {
	var d *net.DNSError
	if errors.As(err, &d) && d.IsNotFound {
		return &Error{Name: name, Kind: NotFound, Err: err}
	}
	return &Error{Name: name, Kind: Temporary, Err: err}
}
