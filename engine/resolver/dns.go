// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the largest answer by UDP: a larger one would be fragmented.
const udpSize = 1232

// dnsSource asks name servers in order.
type dnsSource struct {
	servers   []string // host:port
	transport Transport
	timeout   time.Duration
	rounds    int
	cache     *cache // nil: none

	validating bool // the servers say truly what DNSSEC has authenticated
}

// An answer has the records at the end of a name's aliases.
type answer struct {
	rrs    []dns.RR
	end    string
	secure bool // DNSSEC has authenticated all of it, or that there is none
}

func (s dnsSource) mx(ctx context.Context, name string) ([]mx, error) {
	rrs, err := s.ask(ctx, name, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	var out []mx
	for _, rr := range rrs {
		if rr, ok := rr.(*dns.MX); ok {
			out = append(out, mx{rr.Preference, hostName(rr.Mx)})
		}
	}
	return out, nil
}

// addrs asks for both families at once. IPv4 comes first: more hosts that send
// mail have a proper name there.
func (s dnsSource) addrs(ctx context.Context, name string) ([]netip.Addr, error) {
	type result struct {
		rrs []dns.RR
		err error
	}
	six := make(chan result, 1)
	go func() { // ends with its query: ask waits no longer than its time-outs
		rrs, err := s.ask(ctx, name, dns.TypeAAAA)
		six <- result{rrs, err}
	}()
	rrs, err := s.ask(ctx, name, dns.TypeA)
	second := <-six
	var out []netip.Addr
	for _, rr := range append(rrs[:len(rrs):len(rrs)], second.rrs...) {
		var ip netip.Addr
		var ok bool
		switch rr := rr.(type) {
		case *dns.A:
			ip, ok = netip.AddrFromSlice(rr.A)
		case *dns.AAAA:
			ip, ok = netip.AddrFromSlice(rr.AAAA)
		}
		if ok {
			out = append(out, ip.Unmap())
		}
	}
	if len(out) > 0 {
		return out, nil // one family is enough
	}
	if err == nil || IsTemporary(second.err) {
		err = second.err
	}
	return nil, err
}

func hostName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// maxChain bounds a chain of aliases.
const maxChain = 8

// ask returns the records of type t at the end of name's aliases. A name
// without such records is no error.
func (s dnsSource) ask(ctx context.Context, name string, t uint16) ([]dns.RR, error) {
	a, err := s.resolve(ctx, name, t)
	return a.rrs, err
}

// resolve is ask with all that is known of the answer.
func (s dnsSource) resolve(ctx context.Context, name string, t uint16) (answer, error) {
	a := answer{end: dns.CanonicalName(name), secure: s.validating}
	for range maxChain {
		msg, err := s.cached(ctx, a.end, t)
		if err != nil {
			return answer{}, &Error{Name: name, Kind: Temporary, Err: err}
		}
		at := a.end
		a.end, a.rrs = follow(msg.Answer, at, t)
		a.secure = a.secure && msg.AuthenticatedData
		switch {
		case len(a.rrs) > 0:
			return a, nil
		case msg.Rcode == dns.RcodeNameError:
			return answer{}, &Error{Name: name, Kind: NotFound}
		case a.end == at:
			return a, nil
		}
		// the server gave the alias alone
	}
	return answer{}, &Error{Name: name, Kind: NoAddress, Err: errors.New("its aliases do not end")}
}

// follow goes along the aliases in answer from name, and returns their end and
// the records of type t there.
func follow(answer []dns.RR, name string, t uint16) (end string, rrs []dns.RR) {
	for range maxChain {
		next := ""
		for _, rr := range answer {
			h := rr.Header()
			if dns.CanonicalName(h.Name) != name || h.Class != dns.ClassINET {
				continue
			}
			if h.Rrtype == t {
				rrs = append(rrs, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				next = dns.CanonicalName(c.Target)
			}
		}
		if len(rrs) > 0 || next == "" {
			return name, rrs
		}
		name = next
	}
	return name, nil
}

func (s dnsSource) cached(ctx context.Context, name string, t uint16) (*dns.Msg, error) {
	key := cacheKey{strings.Join(s.servers, " "), name, t, s.validating}
	if msg := s.cache.get(key, time.Now()); msg != nil {
		return msg, nil
	}
	msg, err := s.query(ctx, name, t)
	if err == nil {
		s.cache.put(key, msg, time.Now())
	}
	return msg, err
}

// query asks the servers in turn until one answers.
func (s dnsSource) query(ctx context.Context, name string, t uint16) (*dns.Msg, error) {
	var last error
	for range s.rounds {
		for _, server := range s.servers {
			msg, err := s.exchange(ctx, server, name, t)
			if err == nil {
				return msg, nil
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			last = fmt.Errorf("server %s: %w", server, err)
		}
	}
	return nil, last
}

// exchange asks one server over UDP, and over TCP if the answer does not fit.
func (s dnsSource) exchange(ctx context.Context, server, name string, t uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, t) // with a random id; the system picks a random port
	q.SetEdns0(udpSize, s.validating)
	q.AuthenticatedData = s.validating // RFC 6840 §5.7
	if s.transport != TCP {
		msg, err := s.send(ctx, "udp", server, q)
		if err == nil && msg.Rcode == dns.RcodeFormatError && msg.IsEdns0() == nil {
			q.Extra = nil // RFC 6891 §7: a server that knows no EDNS
			msg, err = s.send(ctx, "udp", server, q)
		}
		if err == nil && msg.Truncated && s.transport == UDP {
			err = errTruncated
		}
		if err != nil || !msg.Truncated {
			return checked(msg, err)
		}
	}
	return checked(s.send(ctx, "tcp", server, q))
}

var errTruncated = errors.New("the answer is too large for UDP, and TCP is not to be used (SmtpUseTcpDns)")

func (s dnsSource) send(ctx context.Context, network, server string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c := dns.Client{Net: network, Timeout: s.timeout, UDPSize: udpSize}
	msg, _, err := c.ExchangeContext(ctx, q, server)
	if err != nil {
		return nil, err
	}
	if len(msg.Question) != 1 || msg.Question[0].Qtype != q.Question[0].Qtype ||
		dns.CanonicalName(msg.Question[0].Name) != q.Question[0].Name {
		return nil, errors.New("answered another question")
	}
	return msg, nil
}

// checked makes an error of an answer that says nothing about the name.
func checked(msg *dns.Msg, err error) (*dns.Msg, error) {
	if err != nil {
		return nil, err
	}
	switch msg.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
		return msg, nil
	}
	return nil, errors.New("answered " + dns.RcodeToString[msg.Rcode])
}

// serverAddr completes a server's address with the port.
func serverAddr(s string) string {
	if _, _, err := net.SplitHostPort(s); err == nil {
		return s
	}
	return net.JoinHostPort(strings.Trim(s, "[]"), "53")
}
