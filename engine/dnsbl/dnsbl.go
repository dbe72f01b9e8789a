// SPDX-License-Identifier: Apache-2.0

// Package dnsbl asks DNS blocklists (RFC 5782) about a client.
//
// A fault is never a listing: a zone that does not answer in time, or whose answer
// is that it does not serve us, counts as one that does not list the client, and
// is not asked for a minute. Answers are as old as DNS lets them be: who asks it has
// the cache.
package dnsbl

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	timeout = 5 * time.Second // for the answers of all zones
	rest    = time.Minute     // of a zone that does not answer
	maxText = 200             // octets of a zone's explanation
)

// DNS finds records, with the errors of [net.Resolver].
type DNS interface {
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// A Checker asks zones. Its methods may be called concurrently. The zero Checker is
// ready.
type Checker struct {
	Log *slog.Logger // nil: none

	mu    sync.Mutex // guards what follows
	tired map[string]time.Time
}

// Listed says in the words of a reply why a client is on one of the zones, the first
// one that lists it; "" where none does.
func (c *Checker) Listed(ctx context.Context, dns DNS, zones []string, client netip.Addr) string {
	client = client.Unmap().WithZone("")
	if !client.IsValid() {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answers := make([]chan bool, len(zones))
	for i, zone := range zones {
		answers[i] = make(chan bool, 1)
		go func() { answers[i] <- c.lists(ctx, dns, zone, client) }() // ends with ctx
	}
	for i, zone := range zones {
		if <-answers[i] {
			return "Client host [" + client.String() + "] blocked using " + zone + explanation(ctx, dns, query(client, zone))
		}
	}
	return ""
}

// lists asks one zone.
func (c *Checker) lists(ctx context.Context, dns DNS, zone string, client netip.Addr) bool {
	if c.rests(zone) {
		return false
	}
	answer, err := dns.LookupIPAddr(ctx, query(client, zone))
	if err != nil {
		if e := (*net.DNSError)(nil); !errors.As(err, &e) || !e.IsNotFound {
			c.tire(zone, err.Error())
		}
		return false
	}
	for _, one := range answer {
		ip, _ := netip.AddrFromSlice(one.IP)
		switch ip = ip.Unmap(); {
		case refusal.Contains(ip), ip == notServed:
			c.tire(zone, "it answers "+ip.String()+": it does not serve the name server that asks")
			return false
		case listing.Contains(ip):
			return true
		}
	}
	return false
}

// RFC 5782 §2.1 has listings in listing. Spamhaus and others answer with addresses of
// refusal, URIBL with notServed, where they do not serve the name server that asks.
var (
	listing   = netip.MustParsePrefix("127.0.0.0/8")
	refusal   = netip.MustParsePrefix("127.255.255.0/24")
	notServed = netip.MustParseAddr("127.0.0.1")
)

func (c *Checker) rests(zone string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.tired[zone])
}

func (c *Checker) tire(zone, why string) {
	c.mu.Lock()
	now := time.Now()
	known := now.Before(c.tired[zone])
	if c.tired == nil {
		c.tired = map[string]time.Time{}
	}
	for other, end := range c.tired {
		if now.After(end) {
			delete(c.tired, other)
		}
	}
	c.tired[zone] = now.Add(rest)
	c.mu.Unlock()
	if c.Log != nil && !known {
		c.Log.Warn("a DNS blocklist is not asked for a minute", "zone", zone, "why", why)
	}
}

// query is the name that a zone has for an address (RFC 5782 §2.1, §2.4).
func query(ip netip.Addr, zone string) string {
	var labels []string
	for _, octet := range ip.AsSlice() {
		if ip.Is4() {
			labels = append(labels, strconv.Itoa(int(octet)))
		} else {
			labels = append(labels, strconv.FormatUint(uint64(octet>>4), 16), strconv.FormatUint(uint64(octet&15), 16))
		}
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "." + zone
}

// explanation is what a zone says about its listing, such as where to look it up.
func explanation(ctx context.Context, dns DNS, name string) string {
	texts, err := dns.LookupTXT(ctx, name)
	if err != nil || len(texts) == 0 {
		return ""
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, texts[0])
	return "; " + text[:min(len(text), maxText)]
}
