// SPDX-License-Identifier: Apache-2.0

// Package dnstest is a name server for tests: it answers from zone text.
package dnstest

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// A Server answers over UDP and TCP on one loopback port.
type Server struct {
	Addr string // host:port

	mu      sync.Mutex // guards what follows
	records []dns.RR
	rcodes  map[string]int  // by name: answered instead of the records
	silent  map[string]bool // by name: not answered at all
	asked   map[string]int
	cut     bool
	signed  []string // zones whose answers are authenticated
}

// Serve starts a server on a port of its own; it ends with the test. The zone
// is master-file text; names are absolute or below the root. A name of which
// there is no record, and none below it, does not exist.
func Serve(t testing.TB, zone string) *Server {
	t.Helper()
	s := &Server{rcodes: map[string]int{}, silent: map[string]bool{}, asked: map[string]int{}}
	s.Zone(t, zone)
	udp, tcp := listen(t)
	s.Addr = udp.LocalAddr().String()
	var up sync.WaitGroup
	for _, srv := range []*dns.Server{{PacketConn: udp}, {Listener: tcp}} {
		srv.Handler = dns.HandlerFunc(s.answer)
		up.Add(1)
		srv.NotifyStartedFunc = up.Done
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = srv.ActivateAndServe() // ends by Shutdown
		}()
		t.Cleanup(func() {
			_ = srv.Shutdown()
			<-done
		})
	}
	up.Wait()
	return s
}

// listen finds a port that is free for both UDP and TCP.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return udp, tcp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil, nil
}

// Zone replaces all records.
func (s *Server) Zone(t testing.TB, zone string) {
	t.Helper()
	p := dns.NewZoneParser(strings.NewReader(zone), ".", "")
	p.SetDefaultTTL(300)
	var records []dns.RR
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		records = append(records, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = records
}

// Fail makes every question about name end in SERVFAIL.
func (s *Server) Fail(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rcodes[dns.CanonicalName(name)] = dns.RcodeServerFailure
}

// Ignore leaves questions about name without an answer.
func (s *Server) Ignore(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent[dns.CanonicalName(name)] = true
}

// Truncate makes each answer over UDP a truncated one.
func (s *Server) Truncate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
}

// Sign has the answers about names in those zones, and no others, authenticated by
// DNSSEC, as a validating resolver gives them to who asks for that.
func (s *Server) Sign(zones ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed = zones
}

func (s *Server) authenticates(name string, qtype uint16, answer []dns.RR) bool {
	own := func(name string) bool {
		return slices.ContainsFunc(s.signed, func(zone string) bool { return dns.IsSubDomain(dns.CanonicalName(zone), dns.CanonicalName(name)) })
	}
	for _, rr := range answer {
		if c, ok := rr.(*dns.CNAME); !own(rr.Header().Name) || ok && qtype != dns.TypeCNAME && !own(c.Target) {
			return false
		}
	}
	return own(name)
}

// Asked counts the questions about name so far.
func (s *Server) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[dns.CanonicalName(name)]
}

func (s *Server) answer(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, qtype := dns.CanonicalName(q.Question[0].Name), q.Question[0].Qtype
	s.asked[name]++
	if s.silent[name] {
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	_, udp := w.LocalAddr().(*net.UDPAddr)
	switch rcode, ok := s.rcodes[name]; {
	case ok:
		m.Rcode = rcode
	case udp && s.cut:
		m.Truncated = true
	default:
		m.Answer, m.Rcode = s.find(name, qtype)
		m.AuthenticatedData = q.AuthenticatedData && s.authenticates(name, qtype, m.Answer)
	}
	_ = w.WriteMsg(m) // the client is gone, or asks again
}

// find follows aliases as a recursive server does.
func (s *Server) find(name string, qtype uint16) (out []dns.RR, rcode int) {
	for range 8 {
		exists, alias := false, ""
		for _, rr := range s.records {
			own := dns.CanonicalName(rr.Header().Name)
			exists = exists || dns.IsSubDomain(name, own)
			if own != name {
				continue
			}
			if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
				alias = dns.CanonicalName(c.Target)
				out = append(out, rr)
			} else if rr.Header().Rrtype == qtype {
				out = append(out, rr)
			}
		}
		if !exists {
			return out, dns.RcodeNameError
		}
		if alias == "" {
			return out, dns.RcodeSuccess
		}
		name = alias
	}
	return out, dns.RcodeSuccess
}
